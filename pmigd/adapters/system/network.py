"""Whether a host name leads back to this host."""

from __future__ import annotations

import contextlib
import socket


def leads_here(host: str) -> bool:
    """Whether `host` resolves to an address of this host. Blocks on the resolver.

    The kernel binds a socket only to addresses that are its own. A name that cannot be resolved is
    not this host; that it cannot be reached is found out later.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_is_ours(family, address) for family, _, _, _, address in found)


def _is_ours(family: int, address: tuple[object, ...]) -> bool:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address[0], 0, *address[2:]))
        return True
    return False
