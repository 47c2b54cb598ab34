"""How much memory pmigd holds: with nothing to do, and with eight migrations under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contrib.bench.process import resident_mib, timed
from contrib.bench.stage import MAX_OUTGOING, command_pmigctl, settle, stage
from contrib.bench.stats import Figure
from contrib.lab import Guest
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from contrib.bench.stage import Settings
    from contrib.lab import Host

BANDWIDTH_MIB_S = 1
FILL_MIB = 48
SECONDS = 6.0
QUICK_SECONDS = 2.0


def run(settings: Settings) -> list[Figure]:
    """Resident memory of the daemon at the source and at the destination."""
    idle: list[float] = []
    busy: list[float] = []
    with stage() as lab:
        a, b = lab.hosts
        # Heartbeats are not needed here, and eight guests share few cores.
        specs = [
            Guest(name=f"g{number}", tick_hz=19, dirty_pages_per_tick=0, fill_mib=FILL_MIB)
            for number in range(1, MAX_OUTGOING + 1)
        ]
        for guest in [lab.guest(spec, on=a) for spec in specs]:
            settle(guest, a)
        idle += [resident_mib(host.pmigd.pid) for host in (a, b)]
        settings.tell(f"rss: {MAX_OUTGOING} migrations")
        limit = ("--bandwidth", str(BANDWIDTH_MIB_S), "--detach")
        for spec in specs:
            timed(a, command_pmigctl(spec.name, b, *limit))
        until(
            lambda: _in_precopy(a) == len(specs),
            f"{len(specs)} migrations at a time",
            timeout=60,
            interval=0.2,
            evidence=a.pmigd.log_tail,
        )
        time.sleep(QUICK_SECONDS if settings.quick else SECONDS)
        busy += [resident_mib(host.pmigd.pid) for host in (a, b)]
        note = f"{_in_precopy(a)} still in precopy at the end"
    figures = zip(("source", "destination"), idle, busy, strict=True)
    return [
        figure
        for where, without, with_work in figures
        for figure in (
            Figure(name=f"pmigd at the {where}, idle", unit="MiB", ours=[without]),
            Figure(
                name=f"pmigd at the {where}, {MAX_OUTGOING} migrations",
                unit="MiB",
                ours=[with_work],
                note=note if where == "source" else "",
            ),
        )
    ]


def _in_precopy(host: Host) -> int:
    _, answer = host.pmigd.request("GET", "/v1/migrations")
    return sum(entry["state"] == "precopy" for entry in answer["items"])
