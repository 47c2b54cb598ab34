"""Which queued migrations may start now, which ask their destination, and what all others wait for.

Pure functions of the queue, what is held, the limits and what the destinations said. Nothing is
started above a limit of this host; where the destination has a pmigd, nothing is started without
its lease. A slot here is kept for whoever is asking, but not for whoever has been told to wait:
others go past it, to other destinations, until its patience is over (:data:`PATIENCE_S`). So no
slot idles for long, and nobody is passed for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from pmigd.core.holdings import SHARED, Account, Held, Limits, Resource, Shortage, lacking
from pmigd.core.leases import is_lease, key_of
from pmigd.core.model import Direction, MigrationId, Waiting
from pmigd.core.queue import Entry, Queue

PATIENCE_S: Final = 60.0
"""After so long a wait at its destination, the next free slot here is kept for a migration."""


ANSWER: Final = "lease"
"""What a migration waits for whose destination was asked and has not answered yet."""


class Standing(StrEnum):
    """How a queued migration stands with its destination's pmigd."""

    ASKING = "asking"  # the answer is on its way
    WAITING = "waiting"  # it has a place in the destination's queue
    GRANTED = "granted"
    STEPPED_BACK = "stepped_back"  # it was granted, but there was no slot here: to be asked again


@dataclass(frozen=True, slots=True)
class Lease:
    """A queued migration's standing.

    `since` (monotonic) is when it was first asked for, `seq` the number of the message that asked.
    """

    standing: Standing
    since: float
    seq: int = 0
    shortage: Shortage | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class Door:
    """What is known of a destination.

    `leases`: it has a pmigd, which is asked. `shut` says why nothing starts to there now; `detail`
    is the reason in words.
    """

    leases: bool = False
    shut: Shortage | None = None
    detail: str = ""


OPEN: Final = Door()


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that admission depends on besides the queue.

    `blocked` keeps everything from starting ("libvirt", "journal"). `window`: how many may wait at
    one destination at the same time.
    """

    host: str
    account: Account
    limits: Limits
    doors: Mapping[str, Door] = field(default_factory=dict)
    leases: Mapping[MigrationId, Lease] = field(default_factory=dict)
    blocked: str | None = None
    window: int = 1
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now. `step_back`: granted, but there is no slot for it here."""

    start: tuple[MigrationId, ...] = ()
    ask: tuple[MigrationId, ...] = ()
    step_back: tuple[MigrationId, ...] = ()


_LEAVING: Final = Held(Direction.OUTGOING)


def leaving(entry: Entry) -> Held:
    """What a queued migration holds from the moment on that it starts."""
    return Held(Direction.OUTGOING, login=entry.login, to=entry.destination)


def _too_many_logins(account: Account, entry: Entry, s: Situation) -> Shortage | None:
    """Whether a destination's sshd would turn it away. One with a pmigd counts by itself."""
    limit = s.limits.usable.get(Resource.SSH_STARTUP)
    if limit is None or entry.login != "ssh" or s.doors.get(entry.destination, OPEN).leases:
        return None
    used = account.startups(entry.destination)
    return Shortage(Resource.SSH_STARTUP, entry.destination, used, limit) if used >= limit else None


def decide(queue: Queue, situation: Situation) -> Decision:
    """Go through the queue in its order for as long as there is room."""
    s = situation
    start: list[MigrationId] = []
    ask: list[MigrationId] = []
    if s.blocked is None:
        account = s.account.copy()
        shut = {name for name, door in s.doors.items() if door.shut is not None}
        waiting: Counter[str] = Counter()
        for entry in queue.in_turn(shut):
            if lacking(account, s.limits, s.host, _LEAVING) is not None:
                break
            if _too_many_logins(account, entry, s) is not None:
                shut.add(entry.destination)
                continue
            standing = _standing(entry, s)
            if standing is Standing.WAITING:
                waiting[entry.destination] += 1
                if waiting[entry.destination] >= s.window:
                    shut.add(entry.destination)
                if s.now - s.leases[entry.id].since < PATIENCE_S:
                    continue
            elif standing is Standing.GRANTED:
                start.append(entry.id)
            elif standing is not Standing.ASKING:
                ask.append(entry.id)
            account.put(entry.id, leaving(entry))
    stays = set(start)
    stays.update(iden for iden in _granted(s) if iden not in stays and _keeps(queue, iden, s))
    step_back = tuple(iden for iden in _granted(s) if iden not in stays)
    return Decision(tuple(start), tuple(ask), step_back)


def _granted(s: Situation) -> Iterator[MigrationId]:
    return (iden for iden, lease in s.leases.items() if lease.standing is Standing.GRANTED)


def _keeps(queue: Queue, iden: MigrationId, s: Situation) -> bool:
    """Whether a lease is kept although there is no room here.

    Hosts that have given each other their last would all step back, ask again and meet again. Each
    sees both leases, so they agree on who goes first by the ids alone, and no circle can be closed.
    """
    entry = queue.get(iden)
    if entry is None or s.blocked is not None:
        return False
    if s.doors.get(entry.destination, OPEN).shut is not None:
        return False
    shortage = lacking(s.account, s.limits, s.host, _LEAVING)
    if shortage is None or shortage.resource not in SHARED:
        return False
    coming = [key for key, _ in s.account if is_lease(key)]
    return bool(coming) and key_of(iden) < min(coming)


def _standing(entry: Entry, s: Situation) -> Standing | None:
    """Where there is nobody to ask, everything is granted."""
    if not s.doors.get(entry.destination, OPEN).leases:
        return Standing.GRANTED
    lease = s.leases.get(entry.id)
    return None if lease is None else lease.standing


def why_waiting(
    queue: Queue, entry: Entry, situation: Situation, since: datetime, etas: Sequence[float] = ()
) -> Waiting:
    """The one resource that a queued migration waits for.

    `etas`: in how many seconds what holds a slot here ends, soonest first, as far as it is known.
    """
    s = situation
    position = queue.position(entry)
    door = s.doors.get(entry.destination, OPEN)
    lease = s.leases.get(entry.id)
    shortage: Shortage | None
    if s.blocked is not None:
        slots = Resource.OUTGOING_SLOT
        shortage = Shortage(s.blocked, s.host, s.account.used(slots), s.limits.usable.get(slots, 0))
    elif door.shut is not None:
        shortage = door.shut
    elif lease is not None and lease.standing is Standing.ASKING:
        shortage = Shortage(ANSWER, entry.destination, 0, 0)
    elif lease is not None and lease.standing is Standing.WAITING and lease.shortage is not None:
        shortage, position = lease.shortage, lease.position
    else:
        shortage = lacking(s.account, s.limits, s.host, _LEAVING)
    if shortage is None:
        shortage = _too_many_logins(s.account, entry, s)
    if shortage is None:
        shortage = _ahead(queue, entry, s)
    return Waiting(
        resource=shortage.resource,
        host=shortage.host,
        used=shortage.used,
        limit=shortage.limit,
        position=position,
        since=since,
        detail=door.detail or _by_whom(shortage, s),
        eta_s=_eta(shortage, s, position, etas),
    )


def _by_whom(shortage: Shortage, s: Situation) -> str:
    """Who holds workers of this host that no migration accounts for."""
    ours = shortage.host == s.host and shortage.resource == Resource.WORKER
    return s.limits.hung_words if ours else ""


def _eta(shortage: Shortage, s: Situation, position: int, etas: Sequence[float]) -> float | None:
    ours = shortage.host == s.host and shortage.resource == Resource.OUTGOING_SLOT
    return etas[position - 1] if ours and position <= len(etas) else None


def _ahead(queue: Queue, entry: Entry, s: Situation) -> Shortage:
    """There is room here: it waits for what the first one to the same destination waits for."""
    lease = s.leases.get(queue.first_to(entry.destination).id)
    if lease is not None and lease.shortage is not None:
        return lease.shortage
    slots = Resource.OUTGOING_SLOT
    return Shortage(slots, s.host, s.account.used(slots), s.limits.usable.get(slots, 0))
