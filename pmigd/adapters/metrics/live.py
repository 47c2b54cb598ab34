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
from pmigd.core.figures import FIGURES
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
BANDWIDTH: Final = _gauge(
    "bandwidth_limit_bytes_per_second",
    "Limit in force.",
    f"{_OVER}; unlimited",
)
SAMPLED: Final = tuple(
    (figure, _gauge(figure.gauge, figure.meaning, _NO_DISKS if "disk" in figure.needs else _UNTOLD))
    for figure in FIGURES
    if figure.gauge
)

_FIGURES: Final = (START, DEADLINE, PROGRESS, BANDWIDTH, *(family for _, family in SAMPLED))
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
    for figure, family in SAMPLED:
        value = getattr(sample, figure.name)
        if value is not None and (not figure.needs or getattr(sample, figure.needs)):
            yield family, value / figure.per_unit
