"""What a scrape sees: plain figures that the daemon puts together from its own memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pmigd.core.holdings import Resource
from pmigd.core.limits import DaemonLimits
from pmigd.core.model import Direction, Migration

LeaseState = Literal["granted", "waiting"]


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

    ``migrations`` are those under way, unresolved ones included; of those that wait, of which there
    may be thousands, there is only the number, ``queued``. ``waiting_oldest`` is when the head of
    the queue was submitted (UTC), None when nothing waits, and ``head_waits`` the resource that it
    waits for. ``left_behind`` counts copies of guests that failed migrations left here. ``held`` is
    what migrations hold by the account, ``leases`` the number of those in each state, ``peers_up``
    whether each configured pmigd answered when it was asked last. ``journal_writable`` is whether
    it was read and can be written. ``now_mono`` is in seconds.
    """

    migrations: Sequence[Migration]
    waiting_oldest: datetime | None
    head_waits: str | None
    queued: int
    left_behind: int
    limits: Mapping[Direction, int]
    daemons: Sequence[DaemonLimits]
    held: Mapping[Resource, int]
    leases: Mapping[tuple[Direction, LeaseState], int]
    peers_up: Mapping[str, bool]
    pools: Sequence[PoolFigures]
    journal_writable: bool
    now_mono: float
