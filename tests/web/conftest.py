"""Certificates, and a real daemon that has no libvirt: its metrics are all that is asked for."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bcrypt
import pytest

from contrib.lab.deadlines import until
from tests.support.certificates import Authority, Pair

PASSWORD: Final = "open sesame"
_AS_SYSTEMD: Final = """
import fcntl, os, sys
given = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 100) for n in sys.argv[1].split(",")]
for number, descriptor in enumerate(given, start=3):
    os.dup2(descriptor, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
os.environ["LISTEN_FDNAMES"] = ":".join(["metrics"] * len(given))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Put sockets where systemd puts them, and become the command."""


def hashed(password: str, cost: int = 5) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


@dataclass(frozen=True)
class Pki:
    """What the files of the tests name."""

    authority: Authority
    server: Pair
    other: Pair
    scraper: Pair
    stranger: Pair


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    authority = Authority(tmp_path_factory.mktemp("web") / "ca")
    here = ("DNS:localhost", "IP:127.0.0.1", "IP:::1")
    return Pki(
        authority,
        authority.issue("server", *here),
        authority.issue("other", *here, subject="other", days=3),
        authority.issue("scraper", "DNS:prometheus.example.com"),
        authority.issue("stranger", "DNS:stranger.example.com"),
    )


class Daemon:
    """A pmigd with one web configuration file, which a test may write again."""

    def __init__(self, directory: Path) -> None:
        self.web = directory / "web.yml"
        self.config = directory / "pmigd.toml"
        self.program = [sys.executable, "-m", "pmigd.daemon.main"]
        self._log = directory / "log"
        self.ports = (free_port("127.0.0.1"), free_port("::1"))
        (directory / "state").mkdir()
        listen = [f"127.0.0.1:{self.ports[0]}", f"[::1]:{self.ports[1]}"]
        self.config.write_text(
            f'[daemon]\nname = "hosta"\nstate_dir = "{directory}/state"\n'
            f'[libvirt]\nuri = "qemu+unix:///system?socket={directory}/none"\n'
            f'[api]\nsocket = "{directory}/sock"\ngroup = ""\n'
            f'[metrics]\nlisten = {json.dumps(listen)}\nweb_config = "{self.web}"\n'
        )

    def start(self, passed: Sequence[socket.socket] = ()) -> None:
        """Start it as systemd does, with these sockets for the metrics."""
        command = [*self.program, "--config", str(self.config)]
        if passed:
            given = [str(sock.fileno()) for sock in passed]
            command = [sys.executable, "-c", _AS_SYSTEMD, ",".join(given), *command]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": ""},
                pass_fds=[sock.fileno() for sock in passed],
            )
        until(lambda: '"ready"' in self.log(), "the start", timeout=90, evidence=self.log)

    def log(self) -> str:
        return self._log.read_text()

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run pmigd where it must end by itself."""
        command = [sys.executable, "-m", "pmigd.daemon.main", "--config", str(self.config)]
        return subprocess.run([*command, *options], capture_output=True, text=True, timeout=90)

    def write(self, text: str) -> None:
        """Put another file in its place, and wait until the daemon has looked at it."""
        seen = self.log().count("web configuration")
        fresh = self.web.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.web)
        until(
            lambda: self.log().count("web configuration") > seen,
            "a look at the file",
            timeout=5,
            evidence=self.log,
        )

    def reload(self, config: str, said: str = '"configuration reloaded"') -> None:
        """Another configuration, taken up or not."""
        seen = self.log().count(said)
        self.config.write_text(config)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count(said) > seen, said, timeout=10, evidence=self.log)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=10) == 0
        assert "Traceback" not in self.log()


def free_port(address: str) -> int:
    with socket.create_server(
        (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
    ) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("pmigd"))
    daemon.web.write_text("")
    daemon.start()
    yield daemon
    daemon.stop()
