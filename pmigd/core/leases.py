"""The leases that this host has given to its peers: who may migrate here now, and who waits.

A lease is asked for before a migration is prepared, and renewed by its source's reports while that
lives. The book is made equal to each report, so that a lost message is repaired by the next one and
nothing can be leaked: what a report no longer has is given back; what is no longer reported at all
ends after :data:`TTL_S`, unless this host itself sees the guest coming in.

Messages are numbered, and an older one never undoes a newer. Numbers are compared only within one
*epoch*, a random word of each start of a source: no clock has a say in it. An epoch begins when its
source greets with it, which a start does before anything else and waits for the answer. So the
order of epochs is that of the greetings. One that was superseded never comes back, and its
messages, however late, are refused. A source that is refused so and lives greets with a new epoch:
nobody is shut out for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pmigd.core.holdings import Account, Held, Limits, Login, Phase, Resource, Shortage, short_of
from pmigd.core.model import Direction, Domain, Transport
from pmigd.core.problem import Code, refuse
from pmigd.core.queue import AGE_S_PER_POINT
from pmigd.core.trace import Trace

TTL_S: Final = 30.0
"""How long a lease lives without being renewed."""
RENEW_EVERY_S: Final = 5.0
EPOCHS_REMEMBERED: Final = 16
"""Of one peer, so that none of them comes back."""
MAX_WAITING: Final = 1000
"""Places in the queue of one peer; its own queue holds the others."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease, or a place in the queue for one.

    `peer` is the name that was proven when it was asked for, `source` what the host calls itself
    (which that covers). `since` (monotonic) is when it was
    first asked for, `renewed` when its source last spoke of it, `seq` the number of that message in
    the source's `epoch`.
    """

    id: str
    peer: str
    domain: Domain
    phase: Phase
    granted: bool = False
    priority: int = 50
    ports: int = 1
    login: Login = "tls"
    transport: Transport = Transport.NATIVE
    source: str = ""
    epoch: str = ""
    seq: int = 0
    since: float = 0.0
    renewed: float = 0.0
    trace: Trace | None = None

    @property
    def turn(self) -> tuple[float, str]:
        """Its place in the queue: by priority with ageing, as at its source."""
        return (self.since - AGE_S_PER_POINT * self.priority, self.id)

    @property
    def held(self) -> Held:
        """What it holds of this host, once granted."""
        return Held(Direction.INCOMING, self.phase, self.ports, self.login)


_LEASE: Final = "lease:"


def key_of(lease_id: str) -> str:
    """The name of a lease in the account."""
    return f"{_LEASE}{lease_id}"


def is_lease(key: str) -> bool:
    """Whether a name in the account is a lease's; all others are of this host's migrations."""
    return key.startswith(_LEASE)


class Book:
    """All leases of this host. What is granted is in `account` from the same moment on."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._leases: dict[str, Lease] = {}
        self._reported: dict[str, dict[str, int]] = {}
        """By peer and epoch, the one in force last: the highest number of a report."""

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def get(self, iden: str) -> Lease | None:
        """One lease, or None."""
        return self._leases.get(iden)

    def granted_for(self, uuid: str) -> Lease | None:
        """The granted lease for a domain, or None."""
        found = (lease for lease in self if lease.granted and lease.domain.uuid == uuid)
        return next(found, None)

    def load(self, leases: Iterable[Lease], now: float) -> None:
        """Take up what the journal has; the sources get their time to renew it."""
        for lease in leases:
            self._set(replace(lease, since=now, renewed=now))

    def greet(self, peer: str, epoch: str) -> None:
        """From now on the messages of `peer` are those of `epoch`; "" is that of a release that
        has none, whose numbers go on over its starts."""
        epochs = self._reported.setdefault(peer, {})
        if epoch in epochs and epoch:
            return  # in force already, or superseded: said late
        epochs[epoch] = epochs.pop(epoch, 0)
        while len(epochs) > EPOCHS_REMEMBERED:
            del epochs[next(iter(epochs))]

    def _hear(self, peer: str, epoch: str) -> int:
        """The highest number of a report in this epoch. Raises Refused: it is not in force.

        The first word that this start of pmigd hears of a peer is as good as a greeting: nothing
        that is older can still be on its way here.
        """
        if peer not in self._reported:
            self.greet(peer, epoch)
        in_force = next(reversed(self._reported[peer]))
        if epoch != in_force:
            raise refuse(Code.PEER_UNGREETED, f"{peer} has greeted with another epoch since.")
        return self._reported[peer][epoch]

    def ask(self, wanted: Lease, now: float) -> Lease:
        """Take `wanted` into the queue. Repeating it changes nothing.

        Raises Refused: forbidden (another host's lease), wrong_state (a message that is older than
        what its source said since), peer_ungreeted, queue_full.
        """
        known = self._leases.get(wanted.id)
        reported = self._hear(wanted.peer, wanted.epoch)
        if known is None and wanted.seq < reported:
            raise refuse(Code.WRONG_STATE, f"Lease {wanted.id} was given back since it was asked.")
        if known is not None and known.peer != wanted.peer:
            raise refuse(Code.FORBIDDEN, f"Lease {wanted.id} is another host's.")
        if known is None and self._waiting_of(wanted.peer) >= MAX_WAITING:
            raise refuse(Code.QUEUE_FULL, f"{MAX_WAITING} migrations of {wanted.peer} wait here.")
        return self._update(wanted, now)

    def report(
        self, peer: str, seq: int, leases: Iterable[Lease], now: float, *, epoch: str = ""
    ) -> list[Lease]:
        """Make the book equal to what `peer` says; returns those it has lost by that.

        What runs there is taken up as granted even if it was not known, for it is under way. A
        report that was overtaken by a newer one only renews. Raises Refused: peer_ungreeted.
        """
        reported = self._hear(peer, epoch)
        stale = seq < reported
        self._reported[peer][epoch] = max(seq, reported)
        told = set()
        for lease in leases:
            told.add(lease.id)
            known = self._leases.get(lease.id)
            if known is not None and known.peer != peer:
                continue
            if known is None and stale:
                continue
            self._update(lease, now)
        given_back = [
            lease
            for lease in self
            if lease.peer == peer
            and lease.id not in told
            and (lease.epoch != epoch or lease.seq <= seq)
            and not stale
        ]
        for lease in given_back:
            self.drop(lease.id)
        return given_back

    def expire(self, now: float, is_coming: Callable[[str], bool]) -> list[Lease]:
        """Drop what was not renewed for too long; `is_coming` tells of a domain's UUID whether
        libvirt here has it incoming or under way."""
        silent = [lease for lease in self if now - lease.renewed > TTL_S]
        over = [x for x in silent if not (x.granted and is_coming(x.domain.uuid))]
        for lease in over:
            self.drop(lease.id)
        return over

    def drop(self, iden: str) -> None:
        """Forget one."""
        if self._leases.pop(iden, None) is not None:
            self._account.drop(key_of(iden))

    def grant(self, limits: Limits, host: str) -> list[Lease]:
        """Grant whatever may be granted now, in its turn; returns what was."""
        granted = []
        for lease in sorted(self._ready(), key=lambda lease: lease.turn):
            if _never_fits(lease, limits, host):
                continue
            if short_of(self._account, limits, host, lease.held) is not None:
                break  # the next one must not take what this one waits for
            self._set(replace(lease, granted=True))
            granted.append(self._leases[lease.id])
        return granted

    def take_back(self, iden: str) -> None:
        """Undo a grant that could not be made durable: it waits again."""
        lease = self._leases.get(iden)
        if lease is not None:
            self._set(replace(lease, granted=False))

    def why_waiting(self, limits: Limits, host: str) -> Mapping[str, tuple[Shortage, int]]:
        """What each waiting lease waits for, and its position.

        One that would fit by itself waits for what the first one in its way waits for.
        """
        found: dict[str, tuple[Shortage, int]] = {}
        slots = Resource.INCOMING_SLOT
        full = Shortage(slots, host, self._account.used(slots), limits.usable.get(slots, 0))
        first: Shortage | None = None
        for position, lease in enumerate(sorted(self._ready(), key=lambda x: x.turn), start=1):
            shortage = short_of(self._account, limits, host, lease.held) or first or full
            if first is None and not _never_fits(lease, limits, host):
                first = shortage
            found[lease.id] = (shortage, position)
        return found

    def _ready(self) -> Iterator[Lease]:
        return (x for x in self if not x.granted and x.phase is not Phase.NOT_READY)

    def _waiting_of(self, peer: str) -> int:
        return sum(not lease.granted for lease in self if lease.peer == peer)

    def _update(self, told: Lease, now: float) -> Lease:
        known = self._leases.get(told.id)
        if known is None:
            known = replace(told, granted=False, since=now)
        elif told.epoch == known.epoch and told.seq < known.seq:
            told = known  # overtaken on the way: it is a sign of life and no more
        runs = not told.phase.waits
        keeps = known.granted and told.phase is not Phase.NOT_READY
        lease = replace(told, granted=runs or keeps, since=known.since, renewed=now)
        self._set(lease)
        return lease

    def _set(self, lease: Lease) -> None:
        self._leases[lease.id] = lease
        if lease.granted:
            self._account.put(key_of(lease.id), lease.held)
        else:
            self._account.drop(key_of(lease.id))


def _never_fits(lease: Lease, limits: Limits, host: str) -> bool:
    """Not even on an idle host. Whoever wants more than there is must not hold up the others."""
    return short_of(Account(), replace(limits, others={}), host, lease.held) is not None
