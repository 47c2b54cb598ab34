"""Take over the listening sockets that systemd opened for this process.

Protocol: sd_listen_fds(3).  The variables are inherited by children, so nothing is touched
unless ``LISTEN_PID`` names this process; a descriptor number from a stale variable could be the
journal.  A descriptor that is not a listening stream socket is an error, not a socket to try.
"""

import fcntl
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FIRST_DESCRIPTOR: Final = 3
_COUNT_MAX: Final = 64
_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


class ListenDescriptorsUnusable(Exception):  # noqa: N818 - it says what is the case
    """systemd passed something that cannot be listened on; the text says what and the remedy."""


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A socket from systemd.

    ``name`` is its FileDescriptorName= ("api" in pmigd.socket), "unknown" without one.  The
    socket is non-blocking and not inherited by children.
    """

    name: str
    socket: socket.socket


def passed_sockets(
    environment: Mapping[str, str], pid: int, *, first_descriptor: int = FIRST_DESCRIPTOR
) -> list[PassedSocket]:
    """Return the passed sockets in systemd's order; [] when none are meant for this process.

    To be called once: the descriptors belong to the returned sockets.  ``first_descriptor`` is
    for tests.  Raises :class:`ListenDescriptorsUnusable`; no descriptor is closed then.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count_text = environment.get("LISTEN_FDS", "")
    if not (count_text.isascii() and count_text.isdigit() and len(count_text) < 5):
        raise ListenDescriptorsUnusable(f"LISTEN_FDS is {count_text[:20]!a}, not a number")
    count = int(count_text)
    if count > _COUNT_MAX:
        raise ListenDescriptorsUnusable(f"systemd passed {count} sockets; at most {_COUNT_MAX}")
    listed = environment.get("LISTEN_FDNAMES", "")
    names = listed.split(":") if listed else ["unknown"] * count
    if len(names) != count:
        raise ListenDescriptorsUnusable(
            f"systemd passed {count} sockets and {len(names)} names for them"
        )
    descriptors = range(first_descriptor, first_descriptor + count)
    for descriptor, name in zip(descriptors, names, strict=True):
        _require_listening(descriptor, name)
    passed = []
    for descriptor, name in zip(descriptors, names, strict=True):
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFD)
        fcntl.fcntl(descriptor, fcntl.F_SETFD, flags | fcntl.FD_CLOEXEC)
        listener = socket.socket(fileno=descriptor)
        listener.setblocking(False)
        passed.append(PassedSocket(name, listener))
    return passed


def _require_listening(descriptor: int, name: str) -> None:
    what = f"the socket {name[:40]!a} (descriptor {descriptor}) from systemd"
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        raise ListenDescriptorsUnusable(f"{what} is not open") from None
    if not stat.S_ISSOCK(mode):
        raise ListenDescriptorsUnusable(f"{what} is not a socket; use ListenStream=")
    # A duplicate, so that looking at it does not take the descriptor over.
    with socket.socket(fileno=os.dup(descriptor)) as probe:
        if probe.family not in _FAMILIES or probe.type != socket.SOCK_STREAM:
            raise ListenDescriptorsUnusable(f"{what} is not a stream socket; use ListenStream=")
        if not probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ListenDescriptorsUnusable(f"{what} does not listen; use Accept=no")
