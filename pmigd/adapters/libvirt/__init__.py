"""Everything that speaks to libvirt, and the only package that may.

It translates: plans into flags, job statistics and events into the core's words, errors into
problem codes. It decides nothing about a migration and never repeats a libvirt call.
"""
