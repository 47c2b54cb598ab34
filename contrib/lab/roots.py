"""Roots of other Debian suites, so that a host can have another libvirt and QEMU.

A root is a plain directory in the user's cache, made once from Debian's packages and
then only read: hosts lay their own files over it. It must never be seen half made,
whenever its making is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.lab.namespaces import search_path
from contrib.lab.problems import LabError, LabUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# What a host runs inside it; programs of the lab itself run outside.
PACKAGES = (
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-storage",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "iproute2",
    "openssh-client",
    "netcat-openbsd",
)
HYPERVISOR = (
    "apt",
    "systemd-sysv",
    "dbus",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
)
"""A host as its owner has it before pmigd comes: guests can run there, and that is all."""

_STAMP = ".pmigd-lab-root"
_UNREAD = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
_ARCHIVES = "/var/cache/apt/archives"
_APT_S = 120  # a question to apt, on a machine that has much else to do
# How this machine reaches a mirror, and what it believes of one, is its owner's
# choice; mmdebstrap would not ask.
_KEPT_APT_OPTIONS = (
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
)


def _place() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pmigd-lab" / "roots"


def _stamp(packages: Sequence[str] = PACKAGES) -> str:
    return json.dumps({"packages": packages}) + "\n"


def _is_ready(root: Path, packages: Sequence[str] = PACKAGES) -> bool:
    with contextlib.suppress(OSError):
        return (root / _STAMP).read_text() == _stamp(packages)
    return False


def available_roots() -> dict[str, Path]:
    """The roots that are ready, by suite."""
    place = _place()
    if not place.is_dir():
        return {}
    return {path.name: path for path in sorted(place.iterdir()) if _is_ready(path)}


def require(suite: str) -> Path:
    """The directory of a root; LabUnavailable, with the command that makes it, if it is not."""
    root = available_roots().get(suite)
    if root is None:
        raise LabUnavailable(
            [f"a root of Debian {suite} (make it: python -m contrib.lab root {suite})"]
        )
    return root


@contextlib.contextmanager
def _only_one(lock: Path, report: Callable[[str], None]) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("somebody else is making it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt_options() -> list[str]:
    done = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, check=False, timeout=_APT_S
    )
    return [line for line in done.stdout.splitlines() if line.split(" ")[0] in _KEPT_APT_OPTIONS]


def _mirror() -> str:
    """Where this machine has Debian's packages from; LabUnavailable if apt knows of nowhere."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_APT_S,
    )
    mirrors = done.stdout.split()
    if not mirrors:
        raise LabUnavailable(["a mirror of Debian that apt knows (run: apt-get update)"])
    return mirrors[0]


def _command(
    suite: str, packages: Sequence[str], target: Path, archives: Path, scratch: Path
) -> list[str]:
    # What was downloaded outlives a killed attempt. The mount is made in a namespace
    # of the attempt's own, so nothing has to undo it then.
    setup = f'mkdir -p "$1{_ARCHIVES}"; mount --bind "$DIRECTORY" "$1{_ARCHIVES}"'
    return [
        "env",
        f"DIRECTORY={archives}",
        f"TMPDIR={scratch}",
        # All of it dies with this process: nobody would finish the directory.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=essential"),
        *("--skip=download/empty,essential/unlink", f"--include={','.join(packages)}"),
        *(f"--aptopt={option}" for option in _apt_options()),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNREAD),
        f"--setup-hook={setup}",
        f'--customize-hook=umount "$1{_ARCHIVES}"',
        *(suite, str(target), _mirror()),
    ]


def _run(command: list[str], report: Callable[[str], None]) -> None:
    said: list[str] = []
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.rstrip())
                if line.startswith("I: ") and "-hook in shell" not in line:
                    report(line[3:].rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        end = "\n".join(said[-30:])
        raise LabError(f"mmdebstrap failed with {process.returncode}\n{end}")


def _size_mib(directory: Path) -> int:
    blocks = 0
    for top, _, files in os.walk(directory):
        blocks += sum(os.lstat(os.path.join(top, name)).st_blocks for name in files)  # noqa: PTH118 - ten thousands of them
    return blocks * 512 >> 20


def build_root(
    suite: str,
    report: Callable[[str], None] = print,
    *,
    packages: Sequence[str] = PACKAGES,
    name: str = "",
) -> Path:
    """Make the root of a suite unless it is ready; its directory. Takes half a minute.

    One with other `packages` needs a `name` of its own. Safe to kill and to call again, also by
    two at once. `report` gets a line for each step.
    """
    if not re.fullmatch("[a-z][a-z0-9-]*", suite):
        raise ValueError(f"no name of a Debian suite: {suite}")
    place = _place()
    name = name or suite
    root = place / name
    partial, archives, scratch = (place / f"{name}.{part}" for part in ("partial", "debs", "tmp"))
    place.mkdir(parents=True, exist_ok=True)
    with _only_one(place / f"{name}.lock", report):
        if _is_ready(root, packages):
            report(f"{root} is ready")
            return root
        lacking = [] if os.geteuid() == 0 else ["root: a Debian root is made with chroot"]
        if shutil.which("mmdebstrap", path=search_path()) is None:
            lacking.append("program mmdebstrap (Debian package mmdebstrap)")
        if lacking:
            raise LabUnavailable(lacking)
        started = time.monotonic()
        for old in (root, partial, scratch):
            if old.exists():
                report(f"removing {old}, which is incomplete or outdated")
                shutil.rmtree(old)
        archives.mkdir(exist_ok=True)
        scratch.mkdir()
        _run(_command(suite, packages, partial, archives, scratch), report)
        (partial / _STAMP).write_text(_stamp(packages))
        partial.rename(root)
        shutil.rmtree(archives)
        shutil.rmtree(scratch)
        seconds = time.monotonic() - started
        report(f"{root} is ready: {_size_mib(root)} MiB, made in {seconds:.0f} s")
    return root
