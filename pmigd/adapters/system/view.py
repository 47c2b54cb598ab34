"""Whether what pmigd sees of a path is what libvirt sees, and then whether it is there.

pmigd's unit, or what an administrator adds to it, may put other files in front of the host's: an
empty /tmp, a /dev with a handful of devices. libvirt's daemon has no such view. So before a look
is believed, both mount tables are asked which file system the path leads to, and where in it; only
where they agree is a missing file surely missing. Nothing is guessed from a directory's name, and
no look at a dead NFS or FUSE server holds up another.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

DEADLINE_S: Final = 1.0
"""For all paths of one look together."""
CONNECT_DEADLINE_S: Final = 0.5

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

_overdue: dict[str, threading.Thread] = {}
"""By mount, the look that hangs there; a second one would only hang beside it."""


class PathState(StrEnum):
    """What a look at a path came to."""

    THERE = "there"
    MISSING = "missing"
    UNSEEN = "unseen"  # nothing can be said of it from here


@dataclass(frozen=True, slots=True)
class Sight:
    """One path. `why` it is unseen; `real` is it without links, `filesystem` the type it is on."""

    state: PathState
    why: str = ""
    real: str = ""
    filesystem: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a mount table: the part `root` of the file system `device` stands at `point`."""

    number: str
    point: str
    device: str
    root: str
    filesystem: str


class Mounts:
    """A process's mount table. Raises ValueError if there is no mount at its root."""

    def __init__(self, mountinfo: str) -> None:
        on: dict[tuple[str, str], Mount] = {}
        numbers: dict[str, tuple[str, Mount]] = {}
        for line in mountinfo.splitlines():
            before, _, after = line.partition(" - ")
            number, parent, device, root, point, *_ = before.split()
            mount = Mount(number, _plain(point), device, _plain(root), after.split()[0])
            on[parent, mount.point] = mount
            numbers[number] = (parent, mount)
        first = [m for parent, m in numbers.values() if m.point == "/" and parent not in numbers]
        if not first:
            raise ValueError("no mount at /")
        self._on = on
        self._root = first[0]

    def mount_of(self, path: str) -> Mount:
        """What an absolute path is on, by the way that the kernel goes: what was covered is not."""
        mount = self._root
        for point in (*reversed(PurePosixPath(path).parents), path):
            while (upper := self._on.get((mount.number, str(point)))) is not None:
                mount = upper
        return mount

    def place(self, path: str) -> tuple[str, str]:
        """The file system that an absolute path leads to, and the path in it."""
        mount = self.mount_of(path)
        within = path.removeprefix(mount.point).lstrip("/")
        return mount.device, f"{mount.root.rstrip('/')}/{within}".rstrip("/")


class MountView:
    """Our mounts beside those of whoever opens the files. None: those are not known."""

    def __init__(self, ours: Mounts, theirs: Mounts | None) -> None:
        self._ours = ours
        self._theirs = theirs

    def look(self, paths: Iterable[str], deadline_s: float = DEADLINE_S) -> dict[str, Sight]:
        """Each of `paths`. Takes no longer than `deadline_s`, whatever hangs."""
        asked = dict.fromkeys(paths)
        found: dict[str, Sight] = {}
        groups: dict[str, list[str]] = {}
        for path in asked:
            if path.startswith("/"):
                groups.setdefault(self._ours.mount_of(path).point, []).append(path)
            else:
                found[path] = Sight(PathState.UNSEEN, "not an absolute path")
        threads = {point: self._start(point, group, found) for point, group in groups.items()}
        until = time.monotonic() + deadline_s
        for point, thread in threads.items():
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                _overdue[point] = thread
        return {path: found.get(path) or self._silent(path) for path in asked}

    def _silent(self, path: str) -> Sight:
        return Sight(PathState.UNSEEN, f"{self._ours.mount_of(path).point} does not answer")

    def _start(self, point: str, group: Sequence[str], found: dict[str, Sight]) -> threading.Thread:
        def look() -> None:
            for path in group:
                found[path] = self._sight(path)

        thread = _overdue.get(point)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=look, name=f"pmigd-look-{point}", daemon=True)
            thread.start()
        return thread

    def _sight(self, path: str) -> Sight:
        real = os.path.realpath(path)
        for name in (os.path.normpath(path), real):
            if not self._same(name):
                return Sight(PathState.UNSEEN, self._why(name))
        filesystem = self._ours.mount_of(real).filesystem
        try:
            os.stat(real)  # noqa: PTH116 - a Path would be made for nothing
        except (FileNotFoundError, NotADirectoryError):
            return Sight(PathState.MISSING, "", real, filesystem)
        except OSError as error:
            return Sight(PathState.UNSEEN, error.strerror or str(error), real, filesystem)
        return Sight(PathState.THERE, "", real, filesystem)

    def _same(self, path: str) -> bool:
        return self._theirs is not None and self._ours.place(path) == self._theirs.place(path)

    def _why(self, path: str) -> str:
        if self._theirs is None:
            return "which files libvirt sees is not known"
        return f"pmigd's {self._ours.mount_of(path).point} is not the one that libvirt sees"


class Reference:
    """The process whose view counts: whoever listens at one of libvirt's `sockets`.

    That is libvirt's daemon, or systemd in its place, which has the same view. It is found by
    connecting once, and again only when it has ended.
    """

    def __init__(self, sockets: Sequence[str]) -> None:
        self._sockets = sockets
        self._process: tuple[int, str] | None = None

    def view(self) -> MountView:
        """Our view beside its own. Raises OSError or ValueError where ours cannot be read."""
        theirs = None
        with contextlib.suppress(OSError, ValueError):
            theirs = _mounts_of(str(self._pid()))
        return MountView(_mounts_of("self"), theirs)

    def _pid(self) -> int:
        if self._process is None or _started(self._process[0]) != self._process[1]:
            self._process = None
            pid = _listener(self._sockets)
            self._process = (pid, _started(pid))
        return self._process[0]


def whole() -> MountView:
    """The view of somebody who sees the same as whoever opens the files."""
    ours = _mounts_of("self")
    return MountView(ours, ours)


def _mounts_of(process: str) -> Mounts:
    return Mounts(Path(f"/proc/{process}/mountinfo").read_text(errors="surrogateescape"))


def _plain(text: str) -> str:
    """A path of the mount table, in which blanks are octal."""
    return _OCTAL.sub(lambda code: chr(int(code[1], 8)), text)


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _listener(sockets: Sequence[str]) -> int:
    """The process that listens at the first of `sockets` that takes a connection."""
    failed: OSError = FileNotFoundError("libvirt has no socket")
    for path in sockets:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(CONNECT_DEADLINE_S)
                client.connect(path)
                raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError as error:
            failed = error
        else:
            return int(_CREDENTIALS.unpack(raw)[0])
    raise failed
