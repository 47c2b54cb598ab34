"""Whoever means harm at one of the three doors: the loop stays in time, and others are answered.

A real daemon, and real attackers in processes of their own. What the loop makes others wait for is
measured in time of the processor, a turn at a time: the machine may be busy with other things. A
client beside them asks on new connections all the time and is always answered; how fast is judged
only where nothing else runs (PMIGD_QUIET=1), for the attackers want the processors, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.web.conftest import Pki
from tests.web.open import Open, request

pytestmark = pytest.mark.timeout(400)  # each starts a daemon, beside all other tests

ATTACK_S: Final = 1.0
TURN_S: Final = 0.05
SPIKE_S: Final = 0.1
"""One turn of many may be the machine's doing: its caches are everybody's."""
HEALTHY_S: Final = 0.1
QUIET: Final = bool(os.environ.get("PMIGD_QUIET"))
GROWN_MIB: Final = 128


class Besieged(Open):
    """One whose loop is measured."""

    def __init__(self, directory: Path, pki: Pki) -> None:
        super().__init__(directory, pki)
        self.turns_file = directory / "turns"
        self.program = [sys.executable, "-m", "tests.support.measured", str(self.turns_file)]

    def turns(self) -> list[float]:
        """The long turns of its loop until now, in seconds of the processor."""
        return [float(line) for line in self.turns_file.read_text().splitlines()]

    def resident_mib(self) -> float:
        """Memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024

    def healthz_s(self) -> float:
        """How long an answer on a new connection takes."""
        began = time.monotonic()
        assert self.say("socket", request("GET", "/healthz", "Connection: close"))[0] == 200
        return time.monotonic() - began


@dataclass
class Seen:
    """What others saw for a while."""

    answers: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    became: dict[str, int] = field(default_factory=dict)
    grown_mib: float = 0.0

    @property
    def healthy_s(self) -> float:
        """What half of the answers took at most: in the others the machine has its say."""
        return sorted(self.answers)[len(self.answers) // 2]


def watch(daemon: Besieged, attack: dict[str, Any] | None) -> Seen:
    """Ask for healthz all the time while somebody attacks, or nobody."""
    seen = Seen()
    before, memory = len(daemon.turns()), daemon.resident_mib()
    attacker = None
    if attack is not None:
        attacker = subprocess.Popen(
            [sys.executable, "-m", "tests.support.attacker", json.dumps(attack)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    until = time.monotonic() + ATTACK_S
    while time.monotonic() < until or (attacker is not None and attacker.poll() is None):
        seen.answers.append(daemon.healthz_s())
        seen.grown_mib = max(seen.grown_mib, daemon.resident_mib() - memory)
        time.sleep(0.01)
    if attacker is not None:
        seen.became = json.loads(attacker.communicate(timeout=30)[0])
    seen.turns = daemon.turns()[before:]
    return seen


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Besieged]:
    daemon = Besieged(tmp_path_factory.mktemp("besieged"), pki)
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


SHORT: Final = {
    ("metrics", "compressed zeroes"),
    ("socket", "a megabyte of compressed zeroes"),
    ("peers", "chunks of one byte"),
    ("socket", "a million numbers"),
    ("metrics", "slow heads"),
    ("metrics", "readers that never read"),
}
"""Each kind once: with all of them at all doors nobody beside them gets a processor."""
CASES: Final = [
    pytest.param(door, what, marks=() if (door, what) in SHORT else pytest.mark.long)
    for door in DOORS
    for what in ATTACKS
]


@pytest.mark.parametrize(("door", "what"), CASES)
def test_the_loop_stays_in_time(
    besieged: Besieged, peace: Seen, pki: Pki, door: str, what: str
) -> None:
    seen = watch(besieged, _attack(besieged, pki, door, *ATTACKS[what]))
    longest, *others = sorted(seen.turns, reverse=True) or [0.0]
    print(
        f"{door}: {what}: longest turn {longest * 1000:.0f} ms, healthz"
        f" {seen.healthy_s * 1000:.0f} ms (in peace {peace.healthy_s * 1000:.0f}),"
        f" {seen.grown_mib:.0f} MiB more, {seen.became}"
    )
    assert longest < (TURN_S if QUIET else SPIKE_S)
    assert max(others, default=0.0) < TURN_S
    assert not QUIET or seen.healthy_s < HEALTHY_S
    assert seen.grown_mib < GROWN_MIB
