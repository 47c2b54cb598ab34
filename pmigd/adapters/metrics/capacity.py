"""What there is only so much of: libvirt's daemons, what migrations hold of them, and leases.

The daemons' figures are those that they told of themselves last; nobody is asked at a scrape. Where
two serve a migration (virtproxyd and virtqemud), the figures are of the one with less left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final

from prometheus_client.core import Metric

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.labels import member
from pmigd.adapters.metrics.snapshot import Snapshot
from pmigd.core.holdings import Resource
from pmigd.core.model import Direction

FRESH_S: Final = 15.0
"""The daemons are asked every 5 s, each for at most 2 s."""

_UNTOLD: Final = "the daemon did not say in the last 60 s, or limits.source does not ask it"


def _gauge(name: str, meaning: str) -> Family:
    return Family(f"pmigd_libvirtd_{name}", "gauge", meaning, (), _UNTOLD)


CLIENTS: Final = _gauge("clients", "Clients of libvirt's daemon, whoever they are.")
CLIENTS_LIMIT: Final = _gauge("clients_limit", "Clients that it takes (max_clients).")
WORKERS: Final = _gauge("workers", "Workers that libvirt's daemon has started.")
WORKERS_FREE: Final = _gauge("workers_free", "Those of them that are not inside a call.")
WORKERS_LIMIT: Final = _gauge("workers_limit", "Workers that it may start (max_workers).")
JOB_QUEUE: Final = _gauge("job_queue_length", "Calls that wait for a worker.")
ADMIN_UP: Final = Family(
    "pmigd_libvirtd_admin_up",
    "gauge",
    f"Whether libvirt's daemons told their figures in the last {FRESH_S:g} s.",
)
RESERVED_CLIENTS: Final = Family(
    "pmigd_reserved_clients",
    "gauge",
    "Clients of libvirt's daemon that migrations hold by pmigd's account, leases given included.",
)
RESERVED_WORKERS: Final = Family(
    "pmigd_reserved_workers",
    "gauge",
    "Workers of libvirt's daemon that migrations hold by pmigd's account, leases given included.",
)
LEASES: Final = Family(
    "pmigd_leases",
    "gauge",
    "Leases between pmigd: incoming are those that this host gives, outgoing those that it has of"
    " its peers.",
    ("direction", "state"),
)
HEAD_WAITS: Final = Family(
    "pmigd_admission_waiting",
    "gauge",
    "1 for what the migration at the head of the queue waits for, 0 for everything else."
    " Those behind it may wait for something else.",
    ("resource",),
)

FAMILIES: Final = (
    CLIENTS,
    CLIENTS_LIMIT,
    WORKERS,
    WORKERS_FREE,
    WORKERS_LIMIT,
    JOB_QUEUE,
    ADMIN_UP,
    RESERVED_CLIENTS,
    RESERVED_WORKERS,
    LEASES,
    HEAD_WAITS,
)


def collect(now: Snapshot) -> Iterator[Metric]:
    """All of them as of now."""
    yield from _daemons(now)
    held = {RESERVED_CLIENTS: Resource.CLIENT, RESERVED_WORKERS: Resource.WORKER}
    for family, resource in held.items():
        yield _one(family, now.held.get(resource, 0))
    leases, waits = LEASES.gauges(), HEAD_WAITS.gauges()
    for direction, state in product(Direction, labels.LEASE_STATES):
        leases.add_metric([direction, state], now.leases.get((direction, state), 0))
    head = None if now.head_waits is None else member(now.head_waits, labels.WAITED, labels.OTHER)
    for waited_for in (*labels.WAITED, labels.OTHER):
        waits.add_metric([waited_for], int(waited_for == head))
    yield from (leases, waits)


def _daemons(now: Snapshot) -> Iterator[Metric]:
    told = [(daemon, daemon.use) for daemon in now.daemons if daemon.use is not None]
    fresh = [use for _, use in told if now.now_mono - use.read_at.mono < FRESH_S]
    yield _one(ADMIN_UP, int(len(fresh) == len(now.daemons)))
    clients = [(d.max_clients.value - u.clients, u.clients, d.max_clients.value) for d, u in told]
    workers = [
        (
            daemon.max_workers.value - use.busy_workers - use.queued_calls,
            use.workers,
            use.free_workers,
            daemon.max_workers.value,
            use.queued_calls,
        )
        for daemon, use in told
    ]
    yield from _least_left((CLIENTS, CLIENTS_LIMIT), clients)
    yield from _least_left((WORKERS, WORKERS_FREE, WORKERS_LIMIT, JOB_QUEUE), workers)


def _least_left(families: Sequence[Family], rows: Iterable[tuple[int, ...]]) -> Iterator[Metric]:
    """A row is what is left, then a figure for each family."""
    least = min(rows, default=None)
    for position, family in enumerate(families, start=1):
        yield _one(family, None if least is None else least[position])


def _one(family: Family, value: int | None) -> Metric:
    gauge = family.gauges()
    if value is not None:
        gauge.add_metric([], value)
    return gauge
