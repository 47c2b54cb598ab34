"""Fetch a daemon's metrics as Prometheus would, and pick what is about one migration."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from contrib.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contrib.lab import Host

METRICS_PORT = 9718

EXPECTED = {
    "outgoing": (
        ("pmigd_migrations_finished_total", 1.0),
        ("pmigd_migration_duration_seconds_count", 1.0),
        ("pmigd_migration_duration_seconds_sum", 0.1),
        ("pmigd_migration_downtime_seconds_count", 1.0),
        ("pmigd_migration_memory_iterations_sum", 1.0),
        ("pmigd_migration_transferred_bytes_total", float(1 << 20)),
        ("pmigd_recent_migration_info", 1.0),
        ("pmigd_recent_migration_downtime_seconds", 0.0),
    ),
    "incoming": (("pmigd_migrations_finished_total", 1.0),),
}
"""Samples that one migration must have left behind at either end, and their least sum."""

# What is shown, as (heading, beginnings of sample names).
_GROUPS = (
    (
        "the record, counters and histograms",
        (
            "pmigd_migrations_started_total",
            "pmigd_migrations_finished_total",
            "pmigd_migration_queue_wait_seconds_sum",
            "pmigd_migration_duration_seconds_sum",
            "pmigd_migration_downtime_seconds_sum",
            "pmigd_migration_memory_iterations_sum",
        ),
    ),
    (
        "what crossed the network",
        ("pmigd_migration_transferred_bytes_total", "pmigd_migration_pages_total"),
    ),
    ("this very migration, for 15 minutes", ("pmigd_recent_migration_",)),
)


class Sample(NamedTuple):
    """One line of the exposition that carries a value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def __str__(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels)
        value = int(self.value) if self.value == int(self.value) else round(self.value, 6)
        return f"{self.name}{'{' + labels + '}' if labels else ''} {value}"


def scrape(host: Host) -> str:
    """`GET /metrics` on the host's Prometheus listener."""
    try:
        connection = http.client.HTTPConnection(host.address, METRICS_PORT)
        connection.sock = host.connect(METRICS_PORT, address=host.address)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"no metrics from pmigd on {host.name}: {error}") from error
    if response.status != http.client.OK:
        raise LabError(f"pmigd on {host.name} answered /metrics with {response.status}")
    return text


def parse(text: str) -> list[Sample]:
    """The samples of migrations that are not zero, buckets left out."""
    return [
        Sample(sample.name, tuple(sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.value
        and sample.name.startswith(("pmigd_migration", "pmigd_recent_migration"))
        and not sample.name.endswith("_bucket")
    ]


def finished(samples: Iterable[Sample]) -> float:
    """How many migrations have ended, by these metrics."""
    return sum(s.value for s in samples if s.name == "pmigd_migrations_finished_total")


def record(samples: Sequence[Sample]) -> list[str]:
    """What the source keeps of its migrations, grouped, for people."""
    shown = []
    for heading, beginnings in _GROUPS:
        found = [s for beginning in beginnings for s in samples if s.name.startswith(beginning)]
        if found:
            shown += [f"{heading}:", *(f"  {sample}" for sample in found)]
    return shown


def counted(samples: Iterable[Sample]) -> list[Sample]:
    """What the destination counts of what came in."""
    return [
        s for s in samples if s.name.startswith("pmigd_migration") and s.name.endswith("_total")
    ]
