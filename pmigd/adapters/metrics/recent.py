"""The last migrations that ended, for so long that every scrape sees each of them.

Prometheus scrapes every 15 to 60 s and most migrations are shorter. The final figures of the last
20 stay for 15 minutes; what lasts longer is the journal's and the log's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.downtime import pause_of
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.migrations import duration_of
from pmigd.core.model import Migration, Mode, State

KEPT: Final = 20
KEPT_S: Final = 15 * 60.0

_OLD: Final = "15 minutes after the end, or 20 migrations later"

INFO: Final = Family(
    "pmigd_recent_migration_info",
    "gauge",
    "1 for a migration that has ended lately.",
    ("migration", "domain", "direction", "peer", "transport", "mode", "result", "reason"),
    _OLD,
)
END: Final = Family(
    "pmigd_recent_migration_end_timestamp_seconds",
    "gauge",
    "When it ended.",
    ("migration",),
    _OLD,
)
DURATION: Final = Family(
    "pmigd_recent_migration_duration_seconds",
    "gauge",
    "Time from its start to its end.",
    ("migration",),
    f"{_OLD}; it never began; nobody saw its end",
)
DOWNTIME: Final = Family(
    "pmigd_recent_migration_downtime_seconds",
    "gauge",
    "Measured pause of the guest.",
    ("migration",),
    f"{_OLD}; it did not succeed; libvirt gave no measurement to believe",
)
TRANSFERRED: Final = Family(
    "pmigd_recent_migration_transferred_bytes",
    "gauge",
    "Bytes sent in all.",
    ("migration",),
    f"{_OLD}; libvirt did not say (an incoming one with post-copy)",
)

FAMILIES: Final = (INFO, END, DURATION, DOWNTIME, TRANSFERRED)


@dataclass(frozen=True, slots=True)
class _Ended:
    migration: Migration
    mono: float
    duration_s: float | None


class Recent:
    """A ring of the last migrations that ended."""

    def __init__(self) -> None:
        self._ring: deque[_Ended] = deque(maxlen=KEPT)

    def changed(self, before: Migration | None, after: Migration, mono: float) -> None:
        """Keep `after` if it has just ended."""
        if after.state.terminal and not (before is not None and before.state.terminal):
            self._ring.append(_Ended(after, mono, duration_of(before, after)))

    def collect(self, now_mono: float) -> Iterator[Metric]:
        """The families as of now."""
        info, end, duration = INFO.gauges(), END.gauges(), DURATION.gauges()
        downtime, transferred = DOWNTIME.gauges(), TRANSFERRED.gauges()
        for ended in self._ring:
            if now_mono - ended.mono > KEPT_S:
                continue
            m = ended.migration
            info.add_metric(_info_labels(m), 1)
            if m.finished_at is not None:
                end.add_metric([m.id], m.finished_at.timestamp())
            if ended.duration_s is not None:
                duration.add_metric([m.id], ended.duration_s)
            if (pause := pause_of(m).seconds) is not None:
                downtime.add_metric([m.id], pause)
            if m.result is not None and m.result.transferred_bytes is not None:
                transferred.add_metric([m.id], m.result.transferred_bytes)
        yield from (info, end, duration, downtime, transferred)


def _info_labels(m: Migration) -> list[str]:
    return [
        m.id,
        m.domain.name,
        str(m.direction),
        labels.peer_of(m),
        str(m.request.transport),
        str(m.result.mode if m.result is not None else Mode.PRECOPY),
        m.state.label,
        labels.reason_of(m) if m.state is State.FAILED else "",
    ]
