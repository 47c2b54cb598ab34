"""Give entries to systemd's journal as fields, by one datagram an entry.

Never waits and never raises: what journald does not take at once is the caller's again.
Protocol: systemd.io/JOURNAL_NATIVE_PROTOCOL, as of systemd 252. Why no library does this:
docs/decisions/0006-journald-by-hand.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

ADDRESS: Final = Path("/run/systemd/journal/socket")
# journald reads a file that it is given only if nobody can change it any more.
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def leads_to_journald(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether `descriptor` is the stream that systemd connected to its journal.

    The variable alone says nothing: children inherit it, and may write elsewhere.
    """
    with contextlib.suppress(OSError):
        there = os.fstat(descriptor)
        return environment.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
    return False


class Journald:
    """The way to the journal. `unsent` is called for each entry that was not taken."""

    def __init__(self, unsent: Callable[[], None], address: Path = ADDRESS) -> None:
        self._unsent = unsent
        self._address = str(address)

    def send(self, fields: Iterable[tuple[str, str]]) -> bool:
        """Hand over one entry. False when journald is gone or too busy to take it now."""
        entry = _entry(fields)
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                try:
                    sender.sendto(entry, self._address)
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    _send_as_file(sender, self._address, entry)
        except OSError:
            self._unsent()
            return False
        return True


def _send_as_file(sender: socket.socket, address: str, entry: bytes) -> None:
    """What is too big for a datagram goes as a file in memory."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    with os.fdopen(os.memfd_create("pmigd-log", flags), "wb") as file:
        file.write(entry)
        file.flush()
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file.fileno()]))
        sender.sendmsg([], [rights], 0, address)


def _entry(fields: Iterable[tuple[str, str]]) -> bytes:
    parts = []
    for name, text in fields:
        value = text.encode(errors="backslashreplace")
        # With a line feed in it a value would set other fields, so its length is told instead.
        many = len(value).to_bytes(8, "little")
        parts.append(
            b"%s\n%s%s\n" % (name.encode(), many, value)
            if b"\n" in value
            else b"%s=%s\n" % (name.encode(), value)
        )
    return b"".join(parts)
