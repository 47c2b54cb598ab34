"""The plain data that decisions are made from: requests, guests, samples, migrations.

Everything here is frozen and holds only stdlib values, so that it can be written to the journal
and read back as it was. Units are in the names. ``None`` means "not known (yet)".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NewType

from pmigd.core.commands import CALLS, Command, Kind, Outcome
from pmigd.core.problem import Problem
from pmigd.core.request import AutoConverge as AutoConverge
from pmigd.core.request import Compression as Compression
from pmigd.core.request import CopyStorage as CopyStorage
from pmigd.core.request import Flow as Flow
from pmigd.core.request import OnTimeout as OnTimeout
from pmigd.core.request import Postcopy as Postcopy
from pmigd.core.request import Request as Request
from pmigd.core.request import Settings as Settings
from pmigd.core.request import Transport as Transport
from pmigd.core.sample import Sample as Sample
from pmigd.core.states import State as State
from pmigd.core.trace import Trace

MigrationId = NewType("MigrationId", str)


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of both clocks: monotonic seconds for durations, UTC for records."""

    mono: float
    utc: datetime


class Direction(StrEnum):
    """As seen from this host."""

    OUTGOING = "outgoing"
    INCOMING = "incoming"


class Mode(StrEnum):
    """How a migration that succeeded was finished."""

    PRECOPY = "precopy"
    POSTCOPY = "postcopy"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Domain:
    """A guest's identity: libvirt's name and UUID (lower case, with dashes)."""

    name: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: the name people use and the URIs the source libvirt daemon will see.

    `host` is the host of `uri`; None where a UNIX socket leads there.
    """

    name: str
    uri: str
    migrate_uri: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A request made definite for one guest: what libvirt will be asked, in our own words.

    ``autostart_off``: the guest starts with this host, and must not do so any more once it moves.
    ``autostart_there``: whether it is to start with the destination; None leaves that as it is.
    """

    target: Target
    request: Request
    persist_destination: bool
    undefine_source: bool
    autostart_off: bool = False
    autostart_there: bool | None = None


class Power(StrEnum):
    """Whether, and how, a host has a domain."""

    ABSENT = "absent"  # asked, and it has no such domain
    SHUTOFF = "shutoff"  # defined, not active
    RUNNING = "running"
    PAUSED = "paused"
    ASLEEP = "asleep"  # libvirt's pmsuspended: suspended to memory, by its own operating system
    OTHER = "other"  # active in some other way (shutting down, crashed but kept, ...)
    UNKNOWN = "unknown"  # could not be asked


class Because(StrEnum):
    """The reasons behind a state that decisions depend on; all others are OTHER."""

    MIGRATION = "migration"  # PAUSED for an incoming or a finishing outgoing migration
    MIGRATED = "migrated"  # RUNNING: arrived here; SHUTOFF: left from here
    MIGRATION_CANCELED = "migration_canceled"  # RUNNING again after a migration had stopped it
    POSTCOPY = "postcopy"
    POSTCOPY_FAILED = "postcopy_failed"
    STARTING_UP = "starting_up"
    USER = "user"  # PAUSED by a call to suspend()
    SHUTDOWN = "shutdown"
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    FAILED = "failed"
    OTHER = "other"


class Job(StrEnum):
    """The job libvirt has on a domain."""

    NONE = "none"
    OUTGOING = "outgoing"
    INCOMING = "incoming"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class View:
    """What one host said about a domain when it was asked.

    `run` is libvirt's number of an active domain: another number is another run of the guest. 0 is
    not known.
    """

    power: Power
    because: Because = Because.OTHER
    job: Job = Job.NONE
    persistent: bool = False
    detail: str = ""
    run: int = 0

    @property
    def alive(self) -> bool:
        """A copy that executes, or that somebody paused on purpose; not a migration's leftover."""
        if self.power is Power.RUNNING:
            return True
        return self.power in (Power.PAUSED, Power.ASLEEP, Power.OTHER) and self.because not in (
            Because.MIGRATION,
            Because.POSTCOPY,
            Because.POSTCOPY_FAILED,
            Because.STARTING_UP,
        )

    @property
    def gone(self) -> bool:
        """The host answered and has no active copy."""
        return self.power in (Power.ABSENT, Power.SHUTOFF)


UNASKED = View(Power.UNKNOWN)


class Call(StrEnum):
    """What became of the blocking migrate call, the last one that was or may have been made."""

    NOT_MADE = "not_made"  # proven: it may be made
    MADE = "made"  # the intent is in the journal; it may or may not have reached libvirt
    OK = "ok"
    FAILED = "failed"
    LOST = "lost"  # nobody waits for its answer any more (pmigd or a connection died)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a migration does not run yet: the one resource it waits for.

    `position` 1 is next, at `host`; 0: there is no line. `detail` says more in words where there is
    more to say, `eta_s` is when, at the present rates, enough of what runs here has ended; None:
    not known.
    """

    resource: str
    host: str
    used: int
    limit: int
    position: int
    since: datetime
    detail: str = ""
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Final figures. ``transferred_bytes`` and ``iterations`` are None where libvirt gave none.

    ``afterwards`` says in a sentence what had become of a guest that arrived by the time that this
    was known, if it was not simply there any more.
    """

    duration_s: float
    downtime_ms: int | None = None
    downtime_net_ms: int | None = None
    transferred_bytes: int | None = None
    iterations: int | None = None
    mode: Mode = Mode.PRECOPY
    afterwards: str = ""

    @property
    def figures(self) -> dict[str, Any]:
        """By the names that the wire, the log and traces have for them."""
        return {
            "duration_s": round(self.duration_s, 3),
            "downtime_ms": self.downtime_ms,
            "downtime_net_ms": self.downtime_net_ms,
            "transferred_bytes": self.transferred_bytes,
            "iterations": self.iterations,
            "mode": self.mode,
        }


@dataclass(frozen=True, slots=True)
class Ending:
    """How a migration ends as soon as nothing is owed any more; QUEUED is back to the queue.

    `result` are its final figures, from when that was known.
    """

    state: State
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen on the way, for the verdict at the end.

    ``switched``: the source guest was stopped for the switch-over, so a copy at the destination
    may have been started. ``left``: libvirt said the guest left this host. ``ended``: the guest
    ended on this host in another way (shut down, crashed, was destroyed). ``blind``: events may
    have been missed (pmigd was restarted or libvirt was away), so what was not seen proves nothing.
    ``because_before``: the guest's state reason before the call, ``run_before`` the number of that
    run of it (0: not known). ``destination_uuid``: the host UUID of the destination's libvirt
    daemon, as found before the call; ``unknown_there``: it had no such domain then, not even a
    definition.
    """

    switched: bool = False
    left: bool = False
    ended: bool = False
    blind: bool = False
    postcopy: bool = False
    because_before: Because = Because.OTHER
    paused_before: bool = False
    destination_uuid: str = ""
    run_before: int = 0
    unknown_there: bool = False


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration, whole: what the journal keeps and the API shows.

    `commands` is its ledger, oldest first, and `dropped` counts what was left out of it to keep it
    bounded; `numbered` is the number of the newest. `in_force` are the settings that libvirt said
    last. ``started_mono`` and ``recover_mono`` (not before which a broken post-copy is gone on
    with) are readings of the monotonic clock of this boot and are set anew after a restart;
    ``look_mono`` is for when a look at both ends is asked for that has not come back, and
    ``looked_mono`` when one last did.
    ``heard`` counts what libvirt has told, in this life of pmigd, that may change where the guest
    is; ``moved_mono`` is when the figures of its transfer last changed, ``settling_mono`` since
    when both ends have been seen to be about to settle it. ``ending``: its verdict is known, and
    something is owed to it still that no other evidence changes.
    ``recoveries`` counts the attempts of policy. ``timed_out``: the deadline has done its work.
    ``state_since`` is None for a state that it began in. ``asked`` tells one request from another
    however it was changed since (:mod:`pmigd.core.asked`).
    """

    id: MigrationId
    request: Request
    domain: Domain
    source: str
    destination: str
    created_at: datetime
    target: Target | None = None
    direction: Direction = Direction.OUTGOING
    external: bool = False
    state: State = State.QUEUED
    plan: Plan | None = None
    failure: Problem | None = None
    problem: Problem | None = None
    ending: Ending | None = None
    evidence: Evidence = field(default_factory=Evidence)
    commands: tuple[Command, ...] = ()
    numbered: int = 0
    dropped: int = 0
    recoveries: int = 0
    timed_out: bool = False
    adopted: bool = False
    submitted_by: str = ""
    idempotency_key: str | None = None
    asked: str = ""
    progress: Sample | None = None
    in_force: Settings | None = None
    completed: Sample | None = None
    result: Result | None = None
    state_since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    trace: Trace | None = None
    started_mono: float = 0.0
    watching: bool = True
    unwatched_since: float | None = None
    looks: int = 0
    look_mono: float | None = None
    looked_mono: float = 0.0
    recover_mono: float = 0.0
    heard: int = 0
    moved_mono: float = 0.0
    settling_mono: float | None = None

    @property
    def open(self) -> bool:
        """Not yet in a terminal state."""
        return not self.state.terminal

    @property
    def outpaced(self) -> bool:
        """Whether it will not end by itself as things are (:attr:`Sample.outpaced`).

        Once the guest runs at the destination, what it writes there is not sent any more.
        """
        sample = self.progress if self.state is State.PRECOPY else None
        return sample is not None and sample.outpaced

    @property
    def verdict(self) -> State | None:
        """The terminal state that it is in, or that it gets as soon as nothing is owed any more."""
        state = self.state if self.ending is None else self.ending.state
        return state if state.terminal else None

    @property
    def call(self) -> Call:
        """What became of the migrate call; of one that others make nobody here sees the answer."""
        if self.external:
            return Call.LOST
        made = [c for c in self.commands if c.kind in CALLS and c.made]
        return _CALL[made[-1].outcome] if made else Call.NOT_MADE

    @property
    def abort(self) -> Command | None:
        """The abort that was asked for and that libvirt has not refused."""
        return self._last(Kind.ABORT)

    @property
    def suspended(self) -> bool:
        """Whether pmigd has paused the guest to get it finished, or may have."""
        return any(
            c.kind is Kind.SUSPEND and c.made and c.outcome is not Outcome.REFUSED
            for c in self.commands
        )

    def pending(self, *kinds: Kind) -> Command | None:
        """The newest command of `kinds` whose outcome is not known, or None."""
        found = (c for c in reversed(self.commands) if c.pending and c.kind in kinds)
        return next(found, None)

    def _last(self, kind: Kind) -> Command | None:
        found = (c for c in reversed(self.commands) if c.kind is kind)
        return next((c for c in found if c.outcome in (Outcome.PENDING, Outcome.DONE)), None)


_CALL: Final = {
    Outcome.PENDING: Call.MADE,
    Outcome.DONE: Call.OK,
    Outcome.REFUSED: Call.FAILED,
    Outcome.OVERTAKEN: Call.LOST,
}
