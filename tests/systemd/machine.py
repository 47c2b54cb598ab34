"""A host with a real systemd and a real libvirtd, pmigd installed as an operator would."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

SOURCE = Path(__file__).resolve().parents[2]
UNITS = SOURCE / "systemd"
CONFIG = "/etc/pmigd/pmigd.toml"
NAME = "hosta"

PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "systemctl": "systemd",
    "journalctl": "systemd",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "useradd": "passwd",
    "libvirtd": "libvirt-daemon",
}
FILES = {
    "/lib/systemd/systemd": "systemd",
    "/lib/systemd/system/dbus.service": "dbus",
    "/lib/systemd/system/libvirtd.service": "libvirt-daemon-system-systemd",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What pip would put into /usr/bin: the interpreter's own path, the entry point, its exit code.
_ENTRY = """#!/usr/lib/pmigd/venv/bin/python -I
import sys
sys.path.insert(0, "/usr/lib/pmigd/site")
from {module} import main
if __name__ == "__main__":
    sys.exit(main())
"""


class MachineError(Exception):
    """The container could not be had, or a command in it did not do what it had to."""


def missing() -> list[str]:
    """What keeps a systemd from being booted here, each with its remedy."""
    found = []
    if os.geteuid() != 0:
        found.append("root (run as uid 0)")
    found += [
        f"program {program} (Debian package {package})"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=PATH) is None
    ]
    found += [
        f"file {path} (Debian package {package})"
        for path, package in FILES.items()
        if not Path(path).exists()
    ]
    return found


def until(
    probe: Callable[[], T],
    what: str,
    *,
    within_s: float,
    evidence: Callable[[], str] = lambda: "",
) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + within_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise MachineError(f"{what}: not within {within_s:g} s\n{evidence()}".rstrip())
        waited = within_s - (deadline - time.monotonic())
        time.sleep(min(max(0.03, waited / 10), 0.2))  # each question is a program inside


def children(pid: int) -> list[int]:
    """The children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything; the parent comes after it.
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def innermost_pid(pid: int) -> list[int]:
    """The process's id in each PID namespace it is in, the outermost first."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


class Machine:
    """The container. As a context manager it is booted at the start and gone at the end."""

    def __init__(self) -> None:
        self._console = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        owner = os.pidfd_open(os.getpid())
        try:
            self._keeper = subprocess.Popen(
                [
                    sys.executable,
                    "-ISB",
                    str(Path(__file__).with_name("keeper.py")),
                    "keep",
                    json.dumps(self._spec()),
                    str(owner),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._console,
                pass_fds=[owner],
                # Ctrl-C is for the tests; the keeper sees them end.
                start_new_session=True,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
                text=True,
            )
        finally:
            os.close(owner)
        try:
            self.leader = until(
                self._find_leader, "systemd starts", within_s=20, evidence=self.console
            )
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _spec() -> dict[str, Any]:
        def text(name: str) -> str:
            return (UNITS / name).read_text()

        return {
            "name": NAME,
            "machine_id": os.urandom(16).hex(),
            "source": str(SOURCE),
            "prefix": sys.prefix,
            "files": {
                "etc/systemd/system/pmigd.service": (text("pmigd.service"), 0o644),
                "etc/systemd/system/pmigd.socket": (text("pmigd.socket"), 0o644),
                "etc/systemd/system/pmigd-metrics.socket": (text("pmigd-metrics.socket"), 0o644),
                "usr/lib/sysusers.d/pmigd.conf": (text("pmigd.sysusers"), 0o644),
                "usr/lib/systemd/catalog/pmigd.catalog": (text("pmigd.catalog"), 0o644),
                "usr/bin/pmigd": (_ENTRY.format(module="pmigd.daemon.main"), 0o755),
                "usr/bin/pmigctl": (_ENTRY.format(module="pmigd.cli.main"), 0o755),
                CONFIG[1:]: ("", 0o644),
            },
        }

    def _find_leader(self) -> int | None:
        out = self._keeper.stdout
        assert out is not None
        if not hasattr(self, "_unshare"):
            ready, _, _ = select.select([out], [], [], 5)
            line = out.readline() if ready else ""
            if not line:
                raise MachineError(f"the container was not started\n{self.console()}")
            self._unshare = int(line)
        if self._keeper.poll() is not None:
            raise MachineError(f"the container ended at once\n{self.console()}")
        for manager in children(self._unshare):
            for pid in children(manager):
                if len(numbers := innermost_pid(pid)) >= 3 and numbers[-1] == 1:
                    with contextlib.suppress(OSError):
                        if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                            return pid
        return None

    def boot(self) -> None:
        """Wait for the boot, then do what an installation does."""

        def state() -> str:
            done = self.run("systemctl", "is-system-running", check=False)
            return done.stdout.strip()

        until(
            lambda: state() in {"running", "degraded"},
            "the boot",
            within_s=30,
            evidence=lambda: f"{state()}\n{self.console()}",
        )
        if state() != "running":
            failed = self.run("systemctl", "--failed", "--no-legend", "--plain").stdout
            raise MachineError(f"units failed at boot:\n{failed}{self.console()}")
        self.run("/usr/lib/pmigd/venv/bin/python", "-m", "compileall", "-q", "/usr/lib/pmigd/site")
        self.run("systemd-sysusers", "/usr/lib/sysusers.d/pmigd.conf")
        self.run("journalctl", "--update-catalog")
        for program in ("pmigd", "pmigctl"):
            self.run(program, "--version")

    @property
    def keeper_pid(self) -> int:
        """The process that cleans up; for tests of that."""
        return self._keeper.pid

    @property
    def root(self) -> Path:
        """The container's root directory as seen from here."""
        return Path(f"/proc/{self.leader}/root")

    def command(self, argv: Sequence[str], *, user: str = "root") -> list[str]:
        """The command that runs another one inside as a user."""
        enter = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wdns=/"]
        clean = ["env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "TERM=dumb", "HOME=/"]
        become = []
        if user != "root":
            become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        return ["nsenter", f"--target={self.leader}", *enter, "--", *clean, *become, *argv]

    def popen(self, *argv: str, user: str = "root") -> subprocess.Popen[str]:
        """Start a command inside."""
        return subprocess.Popen(
            self.command(argv, user=user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *argv: str, user: str = "root", within_s: float = 20, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside. Raises MachineError if it fails (unless told not to) or hangs."""
        try:
            done = subprocess.run(
                self.command(argv, user=user),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            said = "\n".join(str(output) for output in (late.stdout, late.stderr) if output)
            raise MachineError(f"{' '.join(argv)}: not within {within_s:g} s\n{said}") from None
        if check and done.returncode:
            raise MachineError(
                f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def console(self) -> str:
        """The end of what the container wrote while it booted."""
        self._console.seek(0)
        return "\n".join(self._console.read().splitlines()[-40:])

    def close(self) -> None:
        """End everything inside. Safe to call again."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._keeper.wait(15)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait(5)
        self._console.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
