"""Open pmigd's own UNIX socket where systemd does not pass one.

The socket's file mode is the first gate to root-equivalent actions, so it is never, not for a
moment, wider than asked for.  A socket that another pmigd answers on is left alone; only what is
proven stale, or this process made, is ever removed.
"""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PATH_MAX: Final = 107  # bytes of sun_path less the closing NUL
_OWNER_ONLY: Final = 0o600


class SocketUnusable(Exception):  # noqa: N818 - it says what is the case
    """The socket cannot be opened; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket, non-blocking; ``warnings`` are sentences the operator should read."""

    socket: socket.socket
    path: Path
    warnings: tuple[str, ...]
    _device: int
    _inode: int

    def remove(self) -> None:
        """Remove the socket's file, unless the path is another's by now, and close the socket.

        In this order, and best while the server still listens: an open socket keeps its inode
        number from being given to a successor's, and nobody takes it for stale.
        """
        with contextlib.suppress(OSError):
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == (self._device, self._inode):
                self.path.unlink()
        self.socket.close()


def bind_unix_socket(path: Path, *, mode: int, group: str, backlog: int = 128) -> BoundSocket:
    """Return a new listening socket at the path; raise :class:`SocketUnusable` if there is none.

    ``mode`` is the file mode (0o660), ``group`` the name of its group, "" to leave it.  While the
    group does not exist the socket is for its owner alone (0o600) and a warning says so: that is
    the safe side, and a fresh host has no such group.  The folder is made if only it is missing.
    Blocks for file and socket calls only; sets the process's umask for a moment, so it is called
    before other threads make files.
    """
    if not path.is_absolute() or len(os.fsencode(path)) > _PATH_MAX:
        raise SocketUnusable(f"{path} is not an absolute path of at most {_PATH_MAX} bytes")
    warnings: list[str] = []
    group_id = _group_id(group)
    if group and group_id is None:
        mode = _OWNER_ONLY
        warnings.append(
            f"the group {group} does not exist, so only root can use {path}; "
            f"make it with: groupadd --system {group}"
        )
    with _locked_folder(path.parent):
        _clear_stale(path)
        listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            _bind(listener, path, mode, group_id)
            listener.listen(backlog)
            status = os.lstat(path)
        except OSError as error:
            listener.close()
            raise SocketUnusable(f"cannot open {path}: {error.strerror}") from error
    return BoundSocket(listener, path, tuple(warnings), status.st_dev, status.st_ino)


def _bind(listener: socket.socket, path: Path, mode: int, group_id: int | None) -> None:
    # Made for the owner alone, given to its group, and only then opened to it; before listen()
    # nobody can connect in any case.
    before = os.umask(0o777 & ~_OWNER_ONLY)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(before)
    if group_id is not None:
        os.chown(path, -1, group_id, follow_symlinks=False)
    path.chmod(mode)


def _group_id(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two starting at once do not take each other for stale."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SocketUnusable(f"the folder {folder} cannot be used: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if status.st_uid not in {0, os.geteuid()}:
            raise SocketUnusable(f"the folder {folder} belongs to another user; chown it to root")
        loose = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if loose and not status.st_mode & stat.S_ISVTX:
            # Whoever may write there may put a socket of their own in this one's place.
            raise SocketUnusable(f"the folder {folder} can be written by others; chmod 755 it")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SocketUnusable(
                f"another process is opening a socket in {folder}; is another pmigd starting?"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _clear_stale(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketUnusable(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise SocketUnusable(f"{path} exists and is not a socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        result = probe.connect_ex(os.fspath(path))
    if result in {0, errno.EAGAIN, errno.EINPROGRESS}:  # EAGAIN: alive, and its queue is full
        raise SocketUnusable(f"another pmigd answers on {path}; stop it first")
    if result != errno.ECONNREFUSED:
        raise SocketUnusable(f"cannot tell who owns {path}: {os.strerror(result)}")
    try:
        path.unlink()
    except OSError as error:
        raise SocketUnusable(f"cannot remove the stale {path}: {error.strerror}") from error
