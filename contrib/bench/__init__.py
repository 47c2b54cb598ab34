"""Paired measurements of pmigd against virsh, on two hosts of the lab.

One module of `contrib.bench.measurements` is one measurement; to add one, write
the module and put it into `contrib.bench.registry`. Nothing here judges: slow
figures are figures.
"""
