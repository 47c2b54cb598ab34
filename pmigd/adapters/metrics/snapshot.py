"""What a scrape sees: plain figures that the daemon puts together from its own memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pmigd.core.model import Migration


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """One pool of threads for blocking calls. ``busy`` includes the ``overdue`` ones."""

    name: str
    busy: int
    size: int
    waiting: int
    overdue: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """This host at one moment.

    ``migrations`` are all that are not yet in a terminal state. ``waiting_oldest`` is when the
    head of the queue was submitted (UTC), None when nothing waits. ``now_mono`` is in seconds.
    """

    migrations: Sequence[Migration]
    waiting_oldest: datetime | None
    queued: int
    max_outgoing: int
    pools: Sequence[PoolFigures]
    now_mono: float
