"""Whoever means harm at one of the three doors: the loop stays in time, and others are answered.

A real daemon, and real attackers in processes of their own. How late its loop is, the daemon's own
probe says; how long an answer takes, a client that asks on new connections all the time. The
machine may be busy with other things, so both are held against the same without an attack.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.web.conftest import Daemon, Pki, free_port

ATTACK_S: Final = 2.0
HEALTHY_S: Final = 0.1
LATE_S: Final = 0.05
NOISE: Final = 4.0
"""So many times as late as without an attack is the machine's noise, and no door's fault."""


class Besieged(Daemon):
    """A pmigd with all three doors open."""

    def __init__(self, directory: Path, pki: Pki) -> None:
        super().__init__(directory)
        self.socket = directory / "sock"
        self.peer_port = free_port("127.0.0.1")
        files = {
            "ca": pki.authority.ca,
            "cert": pki.server.cert,
            "key": pki.server.key,
            "client_cert": pki.server.cert,
            "client_key": pki.server.key,
        }
        lines = [f'{key} = "{file}"' for key, file in files.items()]
        self.config.write_text(
            self.config.read_text()
            + f'[api.roles]\nadmin = ["root"]\n[peer]\nlisten = "127.0.0.1:{self.peer_port}"\n'
            + 'allowed_names = ["prometheus.example.com"]\n'
            + "\n".join(lines)
            + "\n"
        )

    def get(self, path: str) -> tuple[float, bytes]:
        """How long an answer on a new connection takes, and what it is."""
        began = time.monotonic()
        with closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.settimeout(30)
            sock.connect(str(self.socket))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            with closing(http.client.HTTPResponse(sock)) as response:
                response.begin()
                body = response.read()
        return time.monotonic() - began, body

    def lags(self) -> dict[float, float]:
        """How often the probe was late by at most so many seconds."""
        text = self.get("/metrics")[1].decode()
        found = re.findall(
            r'^pmigd_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.MULTILINE
        )
        return {float(bound): float(count) for bound, count in found}

    def resident_mib(self) -> float:
        """Memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024


@dataclass
class Seen:
    """What others saw for a while."""

    answers: list[float] = field(default_factory=list)
    lags: dict[float, float] = field(default_factory=dict)
    became: dict[str, int] = field(default_factory=dict)
    grown_mib: float = 0.0

    @property
    def healthy_s(self) -> float:
        """What 95 of 100 answers took at most."""
        return sorted(self.answers)[int(len(self.answers) * 0.95)]

    @property
    def late(self) -> float:
        """Of the probe's looks, how many were more than 50 ms late."""
        return 1 - self.lags[LATE_S] / max(self.lags[float("inf")], 1)


def watch(daemon: Besieged, attack: dict[str, Any] | None) -> Seen:
    """Ask for healthz all the time while somebody attacks, or nobody."""
    seen = Seen()
    before, memory = daemon.lags(), daemon.resident_mib()
    attacker = None
    if attack is not None:
        attacker = subprocess.Popen(
            [sys.executable, "-m", "tests.support.attacker", json.dumps(attack)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    until = time.monotonic() + ATTACK_S + 1
    while time.monotonic() < until or (attacker is not None and attacker.poll() is None):
        seen.answers.append(daemon.get("/healthz")[0])
        seen.grown_mib = max(seen.grown_mib, daemon.resident_mib() - memory)
        time.sleep(0.01)
    if attacker is not None:
        seen.became = json.loads(attacker.communicate()[0])
    seen.lags = {bound: count - before[bound] for bound, count in daemon.lags().items()}
    return seen


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Besieged]:
    daemon = Besieged(tmp_path_factory.mktemp("besieged"), pki)
    daemon.web.write_text("")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def peace(besieged: Besieged) -> Seen:
    """The same while nobody attacks."""
    return watch(besieged, None)


ATTACKS: Final = {
    "compressed zeroes": ("gzip", 250),
    "a megabyte of compressed zeroes": ("one_gzip", 1),
    "chunks of one byte": ("chunks", 8),
    "a million numbers": ("plain", 2),
    "slow heads": ("slow_heads", 200),
    "huge heads": ("huge_heads", 60),
    "requests behind each other": ("pipelined", 4),
    "readers that never read": ("never_read", 60),
}
DOORS: Final = ("metrics", "socket", "peers", "peers, unproven")


def _attack(daemon: Besieged, pki: Pki, door: str, what: str, connections: int) -> dict[str, Any]:
    reads = what in ("pipelined", "never_read")
    attack: dict[str, Any] = {
        "what": what,
        "connections": connections,
        "seconds": ATTACK_S,
        "method": "GET" if reads else "POST",
    }
    match door:
        case "metrics":
            return attack | {
                "where": daemon.ports[0],
                "path": "/-/healthy" if reads else "/metrics",
            }
        case "socket":
            return attack | {
                "where": str(daemon.socket),
                "path": "/healthz" if reads else "/v1/migrations",
            }
        case _:
            proven = door == "peers"
            return attack | {
                "where": daemon.peer_port,
                "path": "/peer/hello" if reads else "/peer/v1/leases",
                "tls": True,
                "pair": (str(pki.scraper.cert), str(pki.scraper.key)) if proven else None,
            }


@pytest.mark.parametrize("what", list(ATTACKS))
@pytest.mark.parametrize("door", DOORS)
def test_the_loop_stays_in_time(
    besieged: Besieged, peace: Seen, pki: Pki, door: str, what: str
) -> None:
    seen = watch(besieged, _attack(besieged, pki, door, *ATTACKS[what]))
    print(
        f"FIGURES {door}: {what}: healthz p95 {seen.healthy_s * 1000:.0f} ms"
        f" max {max(seen.answers) * 1000:.0f} ms (peace {peace.healthy_s * 1000:.0f}),"
        f" late {seen.late:.0%} (peace {peace.late:.0%}), {seen.grown_mib:.0f} MiB, {seen.became}"
    )
    assert seen.healthy_s < max(HEALTHY_S, NOISE * peace.healthy_s)
    assert seen.late <= max(0.1, NOISE * peace.late)
    assert seen.grown_mib < 64
