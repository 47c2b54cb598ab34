"""Boot a systemd in a container and hold it until its owner is gone.

Usage: keeper.py keep SPEC OWNER, with SPEC a JSON object and OWNER an open pidfd. A plain script of
the standard library.

Everything the container is made of lives in one PID namespace and one mount namespace: files on a
tmpfs, an overlay of the machine's root that is never written to. When the first process of the
namespace ends, the kernel takes all of it away. Only control groups outlive their processes, so
somebody has to remove them: that is why a process outside the namespace stays.

Two independent signs of the owner's end: its pipe closes, and its pidfd becomes readable even if a
forked copy of the owner still holds the pipe. If this process itself is killed, the container goes
with it (parent-death signal) and only empty control groups stay, which the next run removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUP = "pmigd-systemd-test-"
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1

ROOT = Path("/run/root")
WANTED_UNITS = ("libvirtd", "virtlogd", "virtlockd")

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"mount {kind} on {target}: {os.strerror(error)}")


def _remove(*paths: str) -> None:
    for path in paths:
        place = ROOT / path
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place)


def _write(path: str, text: str, mode: int = 0o644) -> None:
    # Never through a symbolic link: it would lead to a file of the machine.
    place = ROOT / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_text(text)
    place.chmod(mode)


def _furnish(spec: dict[str, Any]) -> None:
    """Make the root of a fresh host out of a copy-on-write view of this one."""
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("host", "/run", "tmpfs", data="mode=0755")
    for name in ("root", "upper", "work"):
        Path("/run", name).mkdir()
    _mount("host", str(ROOT), "overlay", data="lowerdir=/,upperdir=/run/upper,workdir=/run/work")
    _remove("etc/pmigd", "var/lib/pmigd", "usr/bin/pmigd", "usr/bin/pmigctl")
    _remove("etc/libvirt/qemu", "var/lib/libvirt/qemu", "var/log/journal", "etc/resolv.conf")
    _write("etc/machine-id", spec["machine_id"] + "\n")
    _write("etc/hostname", spec["name"] + "\n")
    _write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {spec['name']}\n")
    _write("etc/resolv.conf", "")
    _write("etc/fstab", "")
    # Of the machine's own services only libvirt's start, so that the boot is short and quiet.
    units = ROOT / "etc/systemd/system"
    for wants in [*units.glob("*.wants"), *units.glob("*.requires")]:
        for unit in wants.iterdir():
            if not unit.name.startswith(WANTED_UNITS):
                unit.unlink()
    for unit in units.glob("pmigd*"):
        _remove(str(unit.relative_to(ROOT)))
    _remove("etc/systemd/system/default.target")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    package = ROOT / "usr/lib/pmigd"
    shutil.copytree(
        Path(spec["source"]) / "pmigd",
        package / "site/pmigd",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (package / "venv").mkdir()
    for path, (text, mode) in spec["files"].items():
        _write(path, text, mode)


def build(spec: dict[str, Any]) -> None:
    """Become the container manager. Runs as the first process of the namespaces."""
    _furnish(spec)
    prefix = str(spec["prefix"]).replace("\\", "\\\\").replace(":", "\\:")
    os.execvp(
        "systemd-nspawn",
        [
            "systemd-nspawn",
            f"--directory={ROOT}",
            f"--machine={spec['name']}",
            f"--bind-ro={prefix}:/usr/lib/pmigd/venv",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--settings=no",
            "--console=pipe",
            "--",
            "systemd.show_status=yes",
        ],
    )


def _hierarchies() -> list[Path]:
    """The control group hierarchies that systemd keeps services in."""
    top = Path("/sys/fs/cgroup")
    found = [top / name for name in ("systemd", "unified") if (top / name).is_dir()]
    return found or [top]


def _rmdirs(group: Path, deadline: float) -> None:
    """Remove a tree of control groups; those still in use are waited for."""
    while group.is_dir():
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _remove_stale() -> None:
    """Remove what a killed keeper could not."""
    for hierarchy in _hierarchies():
        for group in hierarchy.glob(f"{CGROUP}*"):
            if not Path("/proc", group.name.removeprefix(CGROUP)).exists():
                _rmdirs(group, time.monotonic() + 1)


def keep(spec: dict[str, Any], owner: int) -> None:
    """Start the container, wait for its end or the owner's, leave nothing."""
    me = os.getpid()
    _remove_stale()
    groups = [hierarchy / f"{CGROUP}{me}" for hierarchy in _hierarchies()]
    for group in groups:
        group.mkdir()

    def born() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"]
        python = [sys.executable, "-ISB", __file__]
        with subprocess.Popen(
            [*unshare, *python, "build", json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=born,
        ) as child:
            try:
                print(child.pid, flush=True)
                watched = os.pidfd_open(child.pid)
                poll = select.poll()
                for descriptor in (sys.stdin.fileno(), owner, watched):
                    poll.register(descriptor, select.POLLIN | select.POLLHUP)
                while not poll.poll():
                    pass
            finally:
                child.kill()
    finally:
        deadline = time.monotonic() + 5
        for group in groups:
            _rmdirs(group, deadline)


def main() -> None:
    """Do what the first argument says."""
    what, spec = sys.argv[1], json.loads(sys.argv[2])
    if what == "build":
        build(spec)
    else:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Through the clean-up, not around it.
            signal.signal(number, lambda *_: sys.exit(1))
        keep(spec, int(sys.argv[3]))


if __name__ == "__main__":
    main()
