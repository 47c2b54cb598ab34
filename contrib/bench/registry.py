"""All measurements, in the order in which they are run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contrib.bench.measurements import (
    cpu,
    handover,
    leaks,
    listing,
    migration,
    queued,
    record,
    resident,
    scrape,
    storm,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contrib.bench.stage import Settings
    from contrib.bench.stats import Figure


@dataclass(frozen=True)
class Measurement:
    """One measurement: a name to ask for it, what it is about, and how it is done."""

    name: str
    title: str
    run: Callable[[Settings], Sequence[Figure]]


MEASUREMENTS = (
    Measurement("list", "start-up of commands", listing.run),
    Measurement("tiny", "migration of a tiny idle guest: the fixed costs", migration.tiny),
    Measurement("idle", "migration of an idle guest full of data", migration.idle),
    Measurement("writing", "migration of a guest that writes", migration.writing),
    Measurement("cpu", "CPU time of watching one throttled migration", cpu.run),
    Measurement("rss", "memory of pmigd", resident.run),
    Measurement("storm", "two full hosts that send each other everything", storm.run),
    Measurement("queue", "many migrations that wait", queued.run),
    Measurement("handover", "from a free slot to the next start", handover.run),
    Measurement("leases", "leases left by daemons that were killed", leaks.run),
    Measurement("scrape", "what a scrape by Prometheus costs", scrape.run),
    Measurement("record", "what Prometheus knows of short migrations", record.run),
)
