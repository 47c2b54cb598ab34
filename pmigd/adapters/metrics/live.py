"""Gauges of the migrations under way, one set for each domain, gone with the migration.

They are for looking on. A scrape may miss a short migration altogether: nothing may be counted
from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from prometheus_client.core import Metric

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.family import Family
from pmigd.core.model import Migration, Sample, State

_OVER: Final = "not running"
_UNTOLD: Final = f"{_OVER}; incoming; libvirt has not said"
_NO_DISKS: Final = f"{_OVER}; incoming; no disks are copied"
MIB: Final = 1 << 20


def _gauge(name: str, meaning: str, absent: str) -> Family:
    return Family(f"pmigd_migration_{name}", "gauge", meaning, ("domain",), absent)


INFO: Final = Family(
    "pmigd_migration_info",
    "gauge",
    "1 for a migration that runs or is unresolved.",
    ("domain", "uuid", "migration", "direction", "peer", "transport"),
    "neither running nor unresolved; while a newer migration of the domain runs",
)
PHASE: Final = Family(
    "pmigd_migration_phase",
    "gauge",
    "1 for the phase that a running migration is in, 0 for the others. An incoming one is starting"
    " until it arrives or post-copy begins.",
    ("domain", "phase"),
    _OVER,
)
START: Final = _gauge("start_timestamp_seconds", "When work on it began.", _OVER)
DEADLINE: Final = _gauge(
    "deadline_timestamp_seconds",
    "When its time limit is over and the policy must act.",
    f"{_OVER}; no limit; started by others; the policy has acted; after the switch-over",
)
PROGRESS: Final = _gauge(
    "last_progress_timestamp_seconds",
    "When less remained to be sent than ever before.",
    _UNTOLD,
)
MEMORY_SIZE: Final = _gauge("memory_size_bytes", "Memory of the guest.", _UNTOLD)
MEMORY_PROCESSED: Final = _gauge("memory_processed_bytes", "Memory sent so far.", _UNTOLD)
MEMORY_REMAINING: Final = _gauge(
    "memory_remaining_bytes", "Memory that still has to be sent in this pass.", _UNTOLD
)
DISK_SIZE: Final = _gauge("disk_size_bytes", "Size of the disks that are copied.", _NO_DISKS)
DISK_PROCESSED: Final = _gauge("disk_processed_bytes", "Disk contents sent so far.", _NO_DISKS)
DISK_REMAINING: Final = _gauge(
    "disk_remaining_bytes", "Disk contents that still have to be sent.", _NO_DISKS
)
TRANSFER: Final = _gauge(
    "memory_transfer_bytes_per_second",
    "Rate at which memory is sent, as QEMU measures it.",
    _UNTOLD,
)
DISK_TRANSFER: Final = _gauge(
    "disk_transfer_bytes_per_second",
    "Rate at which disks are copied, over the last seconds.",
    _NO_DISKS,
)
DIRTY: Final = _gauge(
    "memory_dirty_bytes_per_second", "Rate at which the guest writes to its memory.", _UNTOLD
)
ITERATION: Final = _gauge("memory_iteration", "The present pass over the memory.", _UNTOLD)
EXPECTED: Final = _gauge(
    "expected_downtime_seconds",
    "Pause that QEMU would expect if it switched over now; a forecast, not a measurement.",
    _UNTOLD,
)
LIMIT: Final = _gauge("downtime_limit_seconds", "Pause that QEMU aims to stay under.", _UNTOLD)
BANDWIDTH: Final = _gauge(
    "bandwidth_limit_bytes_per_second",
    "Limit in force.",
    f"{_OVER}; unlimited",
)
THROTTLE: Final = _gauge(
    "cpu_throttle_ratio", "Share of CPU time that QEMU takes from the guest.", _UNTOLD
)

_FIGURES: Final = (
    START,
    DEADLINE,
    PROGRESS,
    MEMORY_SIZE,
    MEMORY_PROCESSED,
    MEMORY_REMAINING,
    DISK_SIZE,
    DISK_PROCESSED,
    DISK_REMAINING,
    TRANSFER,
    DISK_TRANSFER,
    DIRTY,
    ITERATION,
    EXPECTED,
    LIMIT,
    BANDWIDTH,
    THROTTLE,
)
FAMILIES: Final = (INFO, PHASE, *_FIGURES)


def collect(
    migrations: Sequence[Migration], progressed_at: Callable[[Migration], datetime | None]
) -> Iterator[Metric]:
    """The families as of now."""
    info, phases = INFO.gauges(), PHASE.gauges()
    figures = {family: family.gauges() for family in _FIGURES}
    for m in _one_per_domain(migrations):
        info.add_metric(_info_labels(m), 1)
        phase = labels.phase_of(m)
        if phase is None:
            continue
        for name in labels.PHASES:
            phases.add_metric([m.domain.name, name], 1 if name == phase else 0)
        for family, value in _figures(m, progressed_at(m)):
            if value is not None:
                figures[family].add_metric([m.domain.name], value)
    yield info
    yield phases
    yield from figures.values()


def _one_per_domain(migrations: Sequence[Migration]) -> list[Migration]:
    """At most one a domain: two series with the same labels would make the whole scrape fail."""
    shown: dict[str, Migration] = {}
    for m in sorted(migrations, key=lambda m: (m.state.holds_slot, m.created_at)):
        if m.state.holds_slot or m.state is State.UNRESOLVED:
            shown[m.domain.name] = m
    return list(shown.values())


def _info_labels(m: Migration) -> list[str]:
    return [
        m.domain.name,
        m.domain.uuid,
        m.id,
        str(m.direction),
        labels.peer_of(m),
        str(m.request.transport),
    ]


def _figures(
    m: Migration, progressed_at: datetime | None
) -> Iterator[tuple[Family, float | int | None]]:
    bandwidth = _bandwidth_mib_s(m)
    yield START, m.started_at.timestamp() if m.started_at is not None else None
    yield DEADLINE, _deadline(m)
    yield PROGRESS, progressed_at.timestamp() if progressed_at is not None else None
    yield BANDWIDTH, bandwidth * MIB if bandwidth else None
    if m.progress is not None:
        yield from _sampled(m.progress)


def _bandwidth_mib_s(m: Migration) -> int | None:
    """The limit in force as libvirt says it; until it has said so, what was asked for."""
    if m.in_force is not None and m.in_force.bandwidth_mib_s is not None:
        return m.in_force.bandwidth_mib_s
    return None if m.external else m.request.bandwidth_mib_s


def _deadline(m: Migration) -> float | None:
    in_force = m.state.about.before_switch and not m.timed_out and not m.external
    if not in_force or not m.request.timeout_s or m.started_at is None:
        return None
    return m.started_at.timestamp() + m.request.timeout_s


def _sampled(sample: Sample) -> Iterator[tuple[Family, float | int | None]]:
    if sample.memory_total_bytes > 0:
        yield MEMORY_SIZE, sample.memory_total_bytes
        yield MEMORY_PROCESSED, sample.memory_processed_bytes
        yield MEMORY_REMAINING, sample.memory_remaining_bytes
    if sample.disk_total_bytes > 0:
        yield DISK_SIZE, sample.disk_total_bytes
        yield DISK_PROCESSED, sample.disk_processed_bytes
        yield DISK_REMAINING, sample.disk_remaining_bytes
        yield DISK_TRANSFER, sample.disk_bytes_per_second
    yield TRANSFER, sample.memory_bytes_per_second
    yield DIRTY, sample.dirty_bytes_per_second
    yield ITERATION, sample.iteration
    yield EXPECTED, _seconds(sample.downtime_ms)
    yield LIMIT, _seconds(sample.downtime_limit_ms)
    throttle = sample.throttle_percent
    yield THROTTLE, throttle / 100 if throttle is not None else None


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds is not None else None
