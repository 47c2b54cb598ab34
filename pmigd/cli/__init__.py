"""pmigctl, the command-line client of pmigd.

It speaks the socket API with the standard library alone and decides nothing about migrations: what
is allowed, what is true and what it means come from the daemon. It must start fast enough for
scripts that call it in loops, so nothing here imports a third-party module except ``rich``, and
that only once something is to be drawn on a terminal.
"""
