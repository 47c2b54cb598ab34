"""What pmigd needs of the operating system: sockets, systemd, accounts, clock, identifiers.

Each module takes the environment, the process id and the time as parameters, so that it is
tested with the real thing and without patching.
"""
