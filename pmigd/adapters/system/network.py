"""Whether a host name leads back to this host."""

from __future__ import annotations

import contextlib
import socket
import threading


def leads_here(host: str) -> bool:
    """Whether `host` resolves to an address of this host. Blocks on the resolver.

    The kernel binds a socket only to addresses that are its own. A name that cannot be resolved is
    not this host; that it cannot be reached is found out later.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(is_ours(family, address) for family, _, _, _, address in found)


def is_ours(family: int, address: tuple[object, ...]) -> bool:
    """Whether an address, as getaddrinfo gives it, is this host's."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address[0], 0, *address[2:]))
        return True
    return False


def tcp_listener(host: str, port: int, *, backlog: int) -> socket.socket:
    """A listening TCP socket; ``::`` is every IPv6 address and no IPv4 one. Raises OSError.

    Blocks on the resolver where `host` is a name.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=backlog)


def resolves(host: str, deadline_s: float) -> bool:
    """Whether `host` is an address, or a name that leads to one within the deadline. Blocks."""
    found: list[bool] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.append(bool(socket.getaddrinfo(host, None)))

    thread = threading.Thread(target=look, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline_s)
    return bool(found)
