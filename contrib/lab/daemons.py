"""The daemons of a host: libvirtd and pmigd, started, frozen and killed by pid.

It must never signal a process it did not start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from contrib.lab.deadlines import tail, until
from contrib.lab.problems import LabError
from contrib.lab.unit import shipped
from pmigd.client import Client, UnreachableError
from pmigd.client.link import ANSWER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from contrib.lab.hosts import Host
    from contrib.lab.namespaces import Space


class Daemon:
    """One daemon in one host. Its log outlives restarts and is appended to."""

    def __init__(self, space: Space, name: str, argv: Sequence[str], log: Path) -> None:
        self.name = name
        self.log_path = log
        self._space = space
        self._argv = list(argv)
        self._process: subprocess.Popen[Any] | None = None

    @property
    def alive(self) -> bool:
        """Started and not ended; a frozen daemon is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Pid as seen outside the lab. Raises LabError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"{self.name} does not run")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As subprocess has it: negative for a signal, None while it runs."""
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        """Everything it has written to stdout and stderr, over all its starts."""
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_text(errors="replace")
        return ""

    def log_tail(self, lines: int = 40) -> str:
        """The end of its log, headed by its name."""
        return f"--- end of the log of {self.name}:\n{tail(self.log(), lines)}"

    def _spawn(
        self,
        extra: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        if self.alive:
            raise LabError(f"{self.name} runs already, pid {self.pid}")
        with self.log_path.open("ab") as log:
            self._process = self._space.popen(
                [*before, *self._argv, *extra], env=env, stdout=log, stderr=subprocess.STDOUT
            )

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self, number: signal.Signals = signal.SIGKILL, *, timeout: float = 10.0) -> None:
        """Send a deadly signal and wait for the end."""
        self.send_signal(number)
        self.wait(timeout)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for it to end by itself; its return code."""
        if self._process is None:
            raise LabError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{self.name} did not end within {timeout:g} s\n{self.log_tail()}"
            ) from None

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, then wait; its return code."""
        self.kill(signal.SIGTERM, timeout=timeout)
        return self.wait(timeout)

    terminate = stop

    def freeze(self) -> None:
        """SIGSTOP, and wait until the kernel has really stopped it."""
        self.send_signal(signal.SIGSTOP)
        pid = self.pid

        def stopped() -> bool:
            with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one read, no path arithmetic
                return stat.read().rpartition(")")[2].split()[0] == "T"

        until(stopped, f"freezing {self.name}", timeout=5)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send_signal(signal.SIGCONT)


class Libvirtd(Daemon):
    """libvirtd of a host. Killing it leaves its guests running, as on any host."""

    def __init__(self, host: Host) -> None:
        super().__init__(
            host.space,
            f"libvirtd on {host.name}",
            [*host.root_prefix, "libvirtd", "--listen", "--pid-file", "/run/libvirt/libvirtd.pid"],
            host.path("/var/log/libvirt/libvirtd.log"),
        )

    def start(self, *, wait_ready: bool = True, timeout: float = 60.0) -> None:
        """Start it, and by default wait until it answers (`timeout` in seconds)."""
        self._spawn()
        if wait_ready:
            self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it answers a client."""
        until(self._answers, f"start of {self.name}", timeout=timeout, evidence=self.log_tail)

    def _answers(self) -> bool:
        if not self.alive:
            raise LabError(f"{self.name} ended with {self.returncode}\n{self.log_tail()}")
        # "version" needs the QEMU driver to be up and its capabilities known.
        done = self._space.run(["virsh", "version"], check=False, timeout=30)
        return done.returncode == 0

    def restart(self, timeout: float = 60.0) -> None:
        """Stop, if it runs, and start again."""
        if self.alive:
            self.stop()
        self.start(timeout=timeout)


class Pmigd(Daemon):
    """pmigd of a host, as pmigd.service runs it; not started with the lab unless asked for."""

    config_path = "/etc/pmigd/pmigd.toml"

    def __init__(self, host: Host, argv: Sequence[str] | None = None) -> None:
        self._host = host
        super().__init__(
            host.space,
            f"pmigd on {host.name}",
            argv or [sys.executable, "-m", "pmigd"],
            host.path("/var/log/pmigd.log"),
        )

    @property
    def socket(self) -> str:
        """Path of the API socket, usable from outside the host and short."""
        return str(self._host.path("/run/pmigd/pmigd.sock"))

    def client(self, answer_s: float = ANSWER_S) -> Client:
        """A client of its API; `answer_s` seconds for each answer."""
        return Client(self.socket, answer_s=answer_s)

    def start(
        self,
        config: str | Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        drop_in: str = "",
        wait_ready: bool = True,
        timeout: float = 20.0,
    ) -> None:
        """Start it; `config` (text, or a dict merged into the default) is written first.

        `drop_in` is what `systemctl edit` would add to [Service] of its unit.
        """
        if isinstance(config, str):
            self._host.write_pmigd_config(config)
        elif config is not None:
            self._host.configure_pmigd(config)
        self._spawn(["--config", self.config_path], env, shipped(drop_in).command())
        if wait_ready:
            self.wait_ready(timeout)

    def restart(
        self,
        config: str | Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        drop_in: str = "",
        wait_ready: bool = True,
        timeout: float = 20.0,
    ) -> None:
        """Terminate, if it runs, and start again."""
        if self.alive:
            self.stop()
        self.start(config, env=env, drop_in=drop_in, wait_ready=wait_ready, timeout=timeout)

    def wait_ready(self, timeout: float = 20.0) -> None:
        """Wait until `GET /readyz` says 200."""
        until(self._ready, f"start of {self.name}", timeout=timeout, evidence=self.log_tail)

    def _ready(self) -> bool:
        if not self.alive:
            raise LabError(f"{self.name} ended with {self.returncode}\n{self.log_tail()}")
        try:
            return self.request("GET", "/readyz", timeout=2)[0] == 200
        except UnreachableError:
            return False

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_S,
    ) -> tuple[int, Any]:
        """One request to its API; (status, parsed JSON, or text if it is none).

        Raises UnreachableError.
        """
        content = None if body is None else json.dumps(body).encode()
        reply = self.client(timeout).ask(method, path, content, headers=headers)
        try:
            return reply.status, json.loads(reply.content)
        except ValueError:
            return reply.status, reply.content.decode(errors="replace")
