"""What `virsh migrate` does, pmigd does: the combinations that are run side by side.

`rows` is the table, `record` says which of it ran where; `tests/support/parity.py` runs it, and
`docs/parity.md` is made from both.
"""
