"""Which queued migrations may start now, and what every other one waits for.

Pure functions of the queue and of what is held. First in, first out; one resource so far: the
outgoing slots. Migrations that others started hold a slot like our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pmigd.core.model import MigrationId, Waiting


@dataclass(frozen=True, slots=True)
class Capacity:
    """What this host allows and what is held now.

    `blocked_by` names what keeps every migration from starting ("libvirt", "journal"), or is None.
    """

    host: str
    max_outgoing: int
    held_outgoing: int
    blocked_by: str | None = None

    @property
    def free(self) -> int:
        """How many more may start."""
        if self.blocked_by is not None:
            return 0
        return max(0, self.max_outgoing - self.held_outgoing)


def admit(queue: Iterable[MigrationId], capacity: Capacity) -> tuple[MigrationId, ...]:
    """The head of the queue that may start now: ``held + started`` never passes the limit."""
    return tuple(islice(queue, capacity.free))


def why_waiting(capacity: Capacity, position: int, since: datetime) -> Waiting:
    """What the migration at `position` (1 is next) of the queue waits for."""
    return Waiting(
        resource=capacity.blocked_by or "outgoing_slot",
        host=capacity.host,
        used=capacity.held_outgoing,
        limit=capacity.max_outgoing,
        position=position,
        since=since,
    )
