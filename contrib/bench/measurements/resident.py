"""How much memory pmigd holds: with nothing to do, and with eight migrations under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contrib.bench import busy
from contrib.bench.process import resident_mib
from contrib.bench.stage import MAX_OUTGOING, stage
from contrib.bench.stats import Figure

if TYPE_CHECKING:
    from contrib.bench.stage import Settings

SECONDS = 6.0
QUICK_SECONDS = 2.0


def run(settings: Settings) -> list[Figure]:
    """Resident memory of the daemon at the source and at the destination."""
    with stage() as lab:
        guests = busy.ready(lab)
        idle = [resident_mib(host.pmigd.pid) for host in lab.hosts]
        settings.tell(f"rss: {MAX_OUTGOING} migrations")
        busy.send(lab, guests)
        time.sleep(QUICK_SECONDS if settings.quick else SECONDS)
        working = [resident_mib(host.pmigd.pid) for host in lab.hosts]
        note = f"{busy.under_way(lab.hosts[0])} still in precopy at the end"
    figures = zip(("source", "destination"), idle, working, strict=True)
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
