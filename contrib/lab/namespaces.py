"""Start processes and open sockets inside the namespaces that the anchor holds.

Everything started here is a member of the anchor's PID namespace and therefore
dies with the lab, yet is a direct child of this process: the pid is the one seen
from outside, and its exit status can be waited for.

It must never use a namespace by name, and never leave the calling thread in a
namespace that is not its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
_SYSTEM_DIRS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
SOURCE_ROOT = Path(__file__).resolve().parents[2]

_libc = ctypes.CDLL(None, use_errno=True)

Stream = int | IO[Any] | None


def search_path() -> str:
    """PATH with the system directories that an ordinary user's PATH lacks."""
    known = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join([*known, *(entry for entry in _SYSTEM_DIRS if entry not in known)])


def _setns(fd: int, kind: int) -> None:
    if _libc.setns(fd, kind) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextlib.contextmanager
def _inside(pid: int, entry: str, kind: int) -> Iterator[None]:
    """Put the calling thread, and only it, into a namespace of `pid` for a moment."""
    own = os.open(f"/proc/thread-self/ns/{entry}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(f"/proc/{pid}/ns/{entry}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target, kind)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(own, kind)
    finally:
        os.close(own)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program in the lab: ours, without what would point outside."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("XDG_", "LIBVIRT_", "VIRSH_"))
    }
    paths = [str(SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env |= {
        "PATH": search_path(),
        "HOME": "/run/home",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    return env | dict(extra or {})


@dataclass(frozen=True)
class Space:
    """The namespaces of one host (or of the switch), by the process that holds them."""

    anchor: Anchor
    pid: int

    @property
    def root(self) -> Path:
        """The root directory as seen inside, reachable from outside; short."""
        return Path(f"/proc/{self.pid}/root")

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        text: bool = True,
        cwd: str = "/",
        new_session: bool = True,
    ) -> subprocess.Popen[Any]:
        """Start a program inside. Its pid is valid outside; it dies with the lab."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--net", f"--wdns={cwd}"]
        with self.anchor.pid_namespace():
            process: subprocess.Popen[Any] = subprocess.Popen(
                [*enter, "--", *argv],
                env=environment(env),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=text,
                # Ctrl-C at the terminal is for the lab process alone: it decides
                # what to end and in which order.
                start_new_session=new_session,
            )
        self.anchor.adopt(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - the name subprocess.run has for it
        cwd: str = "/",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside and wait; killed at the deadline (seconds).

        Raises LabError with the output when it fails (unless `check` is false)
        or does not end in time.
        """
        process = self.popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
        )
        with process:
            try:
                out, err = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise LabError(
                    f"{' '.join(argv)} did not end within {timeout} s\n{out}{err}"
                ) from None
            except BaseException:
                process.kill()
                raise
        if check and process.returncode:
            raise LabError(
                f"{' '.join(argv)} failed with {process.returncode}\n{out}{err}".rstrip()
            )
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def socket(
        self,
        family: socket.AddressFamily = socket.AF_INET,
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> socket.socket:
        """A socket that belongs to this network namespace, usable from this process."""
        with _inside(self.pid, "net", CLONE_NEWNET):
            return socket.socket(family, kind)


class Anchor:
    """The process that holds a lab's namespaces, and what was started in them."""

    def __init__(self, spec: Mapping[str, Any], *, label: str, timeout: float = 30.0) -> None:
        self._processes: list[subprocess.Popen[Any]] = []
        self._lock = threading.Lock()
        self._closed = False
        script = Path(__file__).with_name("anchor.py")
        owner = os.pidfd_open(os.getpid())
        try:
            self._unshare = subprocess.Popen(
                [
                    "unshare",
                    "--mount",
                    "--uts",
                    "--net",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "--",
                    # Not isolated mode's business: the script is ours and stdlib only.
                    sys.executable,
                    "-ISB",
                    str(script),
                    json.dumps(spec),
                    str(owner),
                    label,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[owner],
                start_new_session=True,
                env={"PATH": search_path(), "LC_ALL": "C.UTF-8"},
                text=True,
            )
        finally:
            os.close(owner)
        try:
            report = self._report(timeout)
        except BaseException:
            self.close()
            raise
        self.pid: int = report["anchor"]
        self.switch = Space(self, self.pid)
        self.hosts = {name: Space(self, pid) for name, pid in report["hosts"].items()}

    def _report(self, timeout: float) -> dict[str, Any]:
        out = self._unshare.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], timeout)
        line = out.readline() if ready else ""
        if not line:
            self._unshare.kill()
            _, err = self._unshare.communicate()
            why = "said nothing in time" if not ready else err.strip() or "ended at once"
            raise LabError(f"the namespaces of the lab could not be made: {why}")
        report: dict[str, Any] = json.loads(line)
        if "error" in report:
            raise LabError(f"the namespaces of the lab could not be made: {report['error']}")
        return report

    @contextlib.contextmanager
    def pid_namespace(self) -> Iterator[None]:
        """While open, children of the calling thread are born inside the lab."""
        if self._closed:
            raise LabError("the lab is closed")
        with _inside(self.pid, "pid_for_children", CLONE_NEWPID):
            yield

    def adopt(self, process: subprocess.Popen[Any]) -> None:
        """Remember a child: it must be reaped before the namespace can end."""
        with self._lock:
            self._processes = [known for known in self._processes if known.poll() is None]
            self._processes.append(process)

    def pids(self) -> dict[int, int]:
        """Every process of the lab: pid seen inside -> pid seen outside."""
        own = Path(f"/proc/{self.pid}/ns/pid").stat().st_ino
        found: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if (entry / "ns" / "pid").stat().st_ino != own:
                    continue
                for line in (entry / "status").read_text().splitlines():
                    if line.startswith("NSpid:"):
                        found[int(line.split()[-1])] = int(entry.name)
        return found

    def close(self, timeout: float = 20.0) -> None:
        """End everything that lives in the lab. Safe to call again."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        for pipe in (self._unshare.stdin, self._unshare.stdout, self._unshare.stderr):
            if pipe is not None:
                pipe.close()
        # The kernel lets the namespace end only when every member was reaped, and
        # ours are reaped by nobody but us.
        for process in [*self._processes, self._unshare]:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self._processes.clear()
