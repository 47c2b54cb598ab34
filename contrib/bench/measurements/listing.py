"""How long a command takes that only asks: start-up is nearly all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrib.bench.process import timed
from contrib.bench.stage import PMIGCTL, VIRSH, in_turn, stage
from contrib.bench.stats import Figure

if TYPE_CHECKING:
    from contrib.bench.stage import Settings

RUNS = 25
QUICK_RUNS = 5


def run(settings: Settings) -> list[Figure]:
    """`pmigctl list` against `virsh list`."""
    ours: list[float] = []
    theirs: list[float] = []
    ours_cpu: list[float] = []
    theirs_cpu: list[float] = []
    with stage() as lab:
        host = lab.hosts[0]

        def pmigctl() -> None:
            done = timed(host, [*PMIGCTL, "list"])
            ours.append(done.seconds * 1000)
            ours_cpu.append(done.cpu_seconds * 1000)

        def virsh() -> None:
            done = timed(host, [*VIRSH, "list"])
            theirs.append(done.seconds * 1000)
            theirs_cpu.append(done.cpu_seconds * 1000)

        # Once each for what is only slow the first time: the page cache, compiled modules.
        timed(host, [*PMIGCTL, "list"])
        timed(host, [*VIRSH, "list"])
        for number in range(QUICK_RUNS if settings.quick else RUNS):
            in_turn(number, pmigctl, virsh)
    return [
        Figure(name="list: wall time", unit="ms", ours=ours, theirs=theirs),
        Figure(name="list: CPU time", unit="ms", ours=ours_cpu, theirs=theirs_cpu),
    ]
