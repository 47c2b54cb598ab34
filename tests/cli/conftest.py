"""The stub daemon, and the real client as a process in a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stub import DEADLINE_S, Stub

ROOT = Path(__file__).parents[2]
PMIGCTL = [sys.executable, "-m", "pmigd.cli"]


@pytest.fixture
def stub() -> Iterator[Stub]:
    # Not tmp_path: a UNIX socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pmigctl-") as folder:
        daemon = Stub(Path(folder) / "s")
        daemon.start()
        yield daemon
        daemon.stop()


def environment(**changes: str) -> dict[str, str]:
    told = ("PMIGD_SOCKET", "NO_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE")
    kept = {k: v for k, v in os.environ.items() if k not in told}
    terminal = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return {**kept, "PYTHONPATH": str(ROOT), **terminal, **changes}


class Running:
    """A pmigctl in a pipe."""

    def __init__(self, arguments: list[str], **env: str) -> None:
        self.process = subprocess.Popen(
            [*PMIGCTL, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**env),
        )

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def until(self, text: str) -> list[str]:
        """Its lines up to the one with ``text``."""
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            line = self.line()
            assert line, f"ended before {text!r}: {lines}"
            lines.append(line)
        return lines

    def end(self) -> tuple[int, str, str]:
        """Exit code, and what is left of its output."""
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err


@pytest.fixture
def start(stub: Stub) -> Iterator[Callable[..., Running]]:
    """Start a client that talks to the stub."""
    running: list[Running] = []

    def begin(*arguments: str, **env: str) -> Running:
        running.append(Running(list(arguments), **{"PMIGD_SOCKET": str(stub.socket), **env}))
        return running[-1]

    yield begin
    for client in running:
        if client.process.poll() is None:
            client.process.kill()
        client.process.communicate()


@pytest.fixture
def run(start: Callable[..., Running]) -> Callable[..., tuple[int, str, str]]:
    """Run a client to its end: exit code, standard output, standard error."""

    def complete(*arguments: str, **env: str) -> tuple[int, str, str]:
        return start(*arguments, **env).end()

    return complete


class Terminal:
    """A pmigctl on a terminal of its own."""

    def __init__(self, arguments: list[str], *, columns: int, **env: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def own_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*PMIGCTL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**env),
            preexec_fn=own_the_terminal,
        )
        os.close(slave)
        self.raw = ""

    @property
    def text(self) -> str:
        """What was written so far, without the control sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> None:
        """Read until ``pattern`` was written after what was waited for before."""
        deadline = time.monotonic() + DEADLINE_S
        begin = getattr(self, "_seen", 0)
        while not (found := re.compile(pattern).search(self.text, begin)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text!r}"
            assert self._read(deadline), f"ended before {pattern!r}: {self.text!r}"
        self._seen = found.end()

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline):
            pass
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more on the terminal: {self.text!r}"
        content = b""
        with suppress(OSError):  # EIO: the client is gone
            content = os.read(self.master, 65536)
        self.raw += content.decode(errors="replace")
        return bool(content)


@pytest.fixture
def terminal(stub: Stub) -> Iterator[Callable[..., Terminal]]:
    """Start a client on a terminal."""
    opened: list[Terminal] = []

    def begin(*arguments: str, columns: int = 100, **env: str) -> Terminal:
        settings: dict[str, Any] = {"PMIGD_SOCKET": str(stub.socket), **env}
        opened.append(Terminal(list(arguments), columns=columns, **settings))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()
