"""How long commands take that do little: start-up is nearly all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrib.bench.process import timed
from contrib.bench.stage import PMIGCTL, VIRSH, in_turn, stage
from contrib.bench.stats import Figure

if TYPE_CHECKING:
    from contrib.bench.process import Run
    from contrib.bench.stage import Settings
    from contrib.lab import Host

RUNS = 25
QUICK_RUNS = 5
AIM_MS = 60.0
COMMANDS = ("list", "--help", "--version")


def run(settings: Settings) -> list[Figure]:
    """`pmigctl list` against `virsh list`, and so on."""
    runs = QUICK_RUNS if settings.quick else RUNS
    with stage() as lab:
        return [figure for command in COMMANDS for figure in _both(lab.hosts[0], command, runs)]


def _both(host: Host, command: str, runs: int) -> list[Figure]:
    ours: list[Run] = []
    theirs: list[Run] = []

    def pmigctl() -> None:
        ours.append(timed(host, [*PMIGCTL, command]))

    def virsh() -> None:
        theirs.append(timed(host, [*VIRSH, command]))

    # Once each for what is only slow the first time: the page cache, compiled modules.
    timed(host, [*PMIGCTL, command])
    timed(host, [*VIRSH, command])
    for number in range(runs):
        in_turn(number, pmigctl, virsh)
    return [
        Figure(
            name=f"{command}: {what} time",
            unit="ms",
            ours=[getattr(one, of) * 1000 for one in ours],
            theirs=[getattr(one, of) * 1000 for one in theirs],
            aim=AIM_MS if what == "wall" else None,
        )
        for what, of in (("wall", "seconds"), ("CPU", "cpu_seconds"))
    ]
