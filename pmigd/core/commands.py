"""What is wanted of libvirt for one migration, and what has become of it: the ledger's entries.

Each thing that a person, a policy or pmigd itself wants done is a :class:`Command` with a number of
its own. It stays pending until its outcome is known, however long libvirt takes to answer and
however often pmigd is restarted meanwhile. What each kind needs and when it is tried again is said
in :mod:`pmigd.core.ledger`. What pmigd only notes in its own record stands in the same list and is
done from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pmigd.core.problem import Code, Problem
from pmigd.core.request import SET


class Kind(StrEnum):
    """What a command is about."""

    # The one blocking migrate call, and the same again with its flag to resume.
    PERFORM = "perform"
    RECOVER = "recover"
    # The guest and libvirt's job.
    ABORT = "abort"
    SUSPEND = "suspend"
    RESUME = "resume"
    POSTCOPY = "postcopy"
    # Whether the guest starts with a host: off here before it moves, on here again when it did not
    # move, and on or off (1 or 0) at the destination when it has arrived.
    AUTOSTART_OFF = "autostart_off"
    AUTOSTART_BACK = "autostart_back"
    AUTOSTART_THERE = "autostart_there"
    # Settings of a running migration; the value has the unit of the request's field.
    MAX_DOWNTIME = "max_downtime_ms"
    BANDWIDTH = "bandwidth_mib_s"
    POSTCOPY_BANDWIDTH = "postcopy_bandwidth_mib_s"
    COMPRESSION_CACHE = "compression_cache_bytes"
    # Notes in pmigd's own record.
    SET = "set"
    ADOPT = "adopt"
    WATCH = "watch"
    CONTINUE = "continue"
    RESOLVE = "resolve"


CALLS: Final = frozenset({Kind.PERFORM, Kind.RECOVER})
"""Those that block for as long as the migration runs."""

SETTINGS: Final = tuple(Kind(row.key) for row in SET)
"""Those that libvirt is called for to change a field on the way, by its name."""

AUTOSTART: Final = (Kind.AUTOSTART_OFF, Kind.AUTOSTART_BACK, Kind.AUTOSTART_THERE)

AT_THE_END: Final = frozenset({Kind.AUTOSTART_BACK, Kind.AUTOSTART_THERE})
"""Those that a migration is kept open for when its verdict is known already."""

JOURNALLED: Final = CALLS | {Kind.AUTOSTART_OFF}
"""Those that a later life of pmigd must know of: not carried out without a journal."""

PMIGD: Final = "pmigd"
POLICY: Final = "policy"
REQUEST: Final = "request"
"""Who wants it, where that is no person: by the deadline or another rule, of its own accord, or as
the request says from its beginning."""


class Outcome(StrEnum):
    """What became of a command."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"  # for the reason that stands beside it
    OVERTAKEN = "overtaken"  # of no use any more; it may have been tried


@dataclass(frozen=True, slots=True)
class Command:
    """One entry. `id` counts from 1 within its migration and is never used again.

    `value` is that of a setting. `code` is the problem that the migration ends with because of it
    (an abort's). `attempts` counts the calls of libvirt that were made or may have been made; 0 is
    the proof that there was none. `problem` says why it was refused.

    The rest is of this life of pmigd only: `calling` is set while a call is out, which has no
    deadline; `call_mono` is when the last one began, or has ended; `waits` is why it is not tried
    just now, and `again_mono` when it will be. Both are monotonic seconds: a clock that is set must
    not make libvirt look silent.
    """

    id: int
    kind: Kind
    by: str
    reason: str
    at: datetime
    value: int | None = None
    code: Code | None = None
    outcome: Outcome = Outcome.PENDING
    problem: Problem | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    calling: bool = False
    call_mono: float = 0.0
    waits: str = ""
    again_mono: float = 0.0

    @property
    def action(self) -> str:
        """What it is called in the record: all settings are "set"."""
        if self.kind in AUTOSTART:
            return "autostart"
        return Kind.SET.value if self.kind in SETTINGS else self.kind.value

    @property
    def pending(self) -> bool:
        """Its outcome is not known yet."""
        return self.outcome is Outcome.PENDING

    @property
    def made(self) -> bool:
        """libvirt was called for it, or may have been."""
        return self.attempts > 0
