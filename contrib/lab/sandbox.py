"""Become what a unit makes of its process, then run a command as that process.

Started inside a host as a plain script (standard library only) with a `unit.Sandbox` and a command.
What it changes is its own mount namespace and its own powers; it has no child and waits for
nothing, so that whoever started it has the command's own pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import stat
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x0002_0000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x8_0000
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38

# Of Linux' capability.h, in its order.
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
# systemd's PrivateDevices has these, and what /dev is full of as directories.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "hugepages")
ASIDE = Path("/run/.lab-dev")
# Not made read-only with the rest: a strict unit may still write to devices and settings.
API = ("/dev", "/proc", "/sys")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode())
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode())
    _check(result, f"mount {kind or 'bind'} on {target}")


def _bind(source: str, target: str) -> None:
    _mount(source, target, flags=MS_BIND | MS_REC)


def _read_only(path: str, *, on: bool) -> None:
    """For a mount and all below it."""
    attributes = (ctypes.c_uint64 * 4)(*((MOUNT_ATTR_RDONLY, 0) if on else (0, MOUNT_ATTR_RDONLY)))
    flags = ctypes.c_uint(AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    numbers = (ctypes.c_long(SYS_MOUNT_SETATTR), ctypes.c_int(AT_FDCWD))
    result = _libc.syscall(*numbers, path.encode(), flags, ctypes.byref(attributes), size)
    _check(result, f"mount_setattr {path}")


def _existing(paths: tuple[str, ...]) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def _files(wanted: dict[str, Any]) -> None:
    """The view of the file system. Later steps undo parts of earlier ones, as in systemd."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _mount("", "/", flags=MS_SLAVE | MS_REC)
    ASIDE.mkdir(exist_ok=True)  # while the host's own /run can still be written to
    for path in _existing((*wanted["read_only"], *wanted["writable"])):
        if not os.path.ismount(path):
            _bind(path, path)
    for path in _existing(wanted["read_only"]):
        _read_only(path, on=True)
        if path == "/":
            for kept in API:
                _read_only(kept, on=False)
    for path in _existing(wanted["writable"]):
        _read_only(path, on=False)
    for path in _existing(wanted["empty"]):
        _mount("tmpfs", path, "tmpfs", data="mode=1777")
    if wanted["small_dev"]:
        _small_dev()
    for path in _existing(wanted["inaccessible"]):
        if Path(path).is_dir():
            _mount("tmpfs", path, "tmpfs", data="mode=0")
        else:
            _bind("/dev/null", path)


def _small_dev() -> None:
    """A /dev with hardly anything in it: what is kept is made ready aside."""
    _mount("tmpfs", str(ASIDE), "tmpfs", data="mode=0755")
    for name in DEVICES:
        source, target = Path("/dev", name), ASIDE / name
        if not source.exists():
            continue
        if stat.S_ISDIR(source.stat().st_mode):
            target.mkdir()
        else:
            target.touch()
        _bind(str(source), str(target))
    _bind(str(ASIDE), "/dev")


def _powers(wanted: dict[str, Any]) -> None:
    """What the process may do; the last step, for the others need the powers that it takes."""
    os.umask(wanted["umask"])
    if wanted["descriptors"] is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted["descriptors"], hard),) * 2)
    if wanted["oom_score_adjust"] is not None:
        # In a container even root may not.
        with contextlib.suppress(PermissionError):
            Path("/proc/self/oom_score_adj").write_text(str(wanted["oom_score_adjust"]))
    if wanted["capabilities"] is not None:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        kept = {CAPABILITIES.index(name.removeprefix("CAP_")) for name in wanted["capabilities"]}
        for number in set(range(last + 1)) - kept:
            _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"dropping capability {number}")
    if wanted["no_new_privileges"]:
        _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def main() -> None:
    """Do it, and run the rest of the arguments."""
    wanted = json.loads(sys.argv[1])
    command = sys.argv[2:]
    for path, mode in wanted["directories"]:
        Path(path).mkdir(exist_ok=True)
        if stat.S_IMODE(Path(path).stat().st_mode) != mode:
            Path(path).chmod(mode)
    _files(wanted)
    _powers(wanted)
    os.execvpe(command[0], command, {**os.environ, **wanted["environment"]})


if __name__ == "__main__":
    main()
