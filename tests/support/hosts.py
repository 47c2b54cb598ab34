"""Hosts that migrate to each other, as far as admission goes: no loop, no network, no libvirt.

Everything that the core does not decide is played: messages lie in `World.messages` until somebody
delivers, loses or repeats them, and `World.runs` is what libvirt really does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pmigd.core.admission import Door, Situation, Standing, decide
from pmigd.core.admission import Lease as Answered
from pmigd.core.holdings import Account, Held, Limits, Phase, Resource, Shortage, needs
from pmigd.core.leases import TTL_S, Book, Lease, key_of
from pmigd.core.model import Direction, Domain, MigrationId
from pmigd.core.problem import Refused
from pmigd.core.queue import AGE_S_PER_POINT, Entry, Queue


def limits(
    workers: int = 5, usable: int = 2, outgoing: int = 1, incoming: int = 1, preparing: int = 2
) -> Limits:
    """A host's limits, by default those of max_workers = 5."""
    return Limits(
        usable={
            Resource.OUTGOING_SLOT: outgoing,
            Resource.INCOMING_SLOT: incoming,
            Resource.PREPARING_SLOT: preparing,
            Resource.WORKER: usable,
            Resource.CLIENT: 100,
            Resource.ANONYMOUS_CLIENT: 20,
            Resource.MIGRATION_PORT: 64,
        },
        workers=workers,
    )


@dataclass(frozen=True)
class Answer:
    """What a destination says of one lease; `at` is when its source was last heard of it."""

    id: MigrationId
    granted: bool = False
    gone: bool = False
    seq: int = 0
    at: float = 0.0
    shortage: Shortage | None = None
    position: int = 0


@dataclass(frozen=True)
class Message:
    """On its way: a lease that is asked for, a report of all (`asks` is None), or answers."""

    sender: str
    receiver: str
    seq: int = 0
    asks: Lease | None = None
    leases: tuple[Lease, ...] = ()
    answers: tuple[Answer, ...] = ()


@dataclass
class Run:
    """A migration that libvirt really runs."""

    source: str
    destination: str
    phase: Phase = Phase.PREPARING


class Host:
    """One host: what its pmigd has in memory, and what its journal has."""

    def __init__(self, name: str, host_limits: Limits) -> None:
        self.name = name
        self.limits = host_limits
        self.queue = Queue()
        self.seq = 0
        self.journal: dict[str, Lease] = {}
        self.forget()

    def forget(self) -> None:
        """Lose all that is in memory only."""
        self.account = Account()
        self.book = Book(self.account)
        self.leases: dict[MigrationId, Answered] = {}
        self.said: dict[MigrationId, int] = {}
        self.told: dict[str, Answer] = {}

    def next_seq(self) -> int:
        """The number of its next message; it grows over restarts too."""
        self.seq += 1
        return self.seq


@dataclass
class World:
    """All hosts, what is between them and what really runs."""

    hosts: dict[str, Host]
    now: float = 1000.0
    window: int = 1
    messages: list[Message] = field(default_factory=list)
    runs: dict[MigrationId, Run] = field(default_factory=dict)
    arrived: list[MigrationId] = field(default_factory=list)
    number: int = 0

    def submit(self, source: str, destination: str, priority: int = 50) -> MigrationId:
        """Queue one more."""
        self.number += 1
        iden = MigrationId(f"{self.number:06}")
        turn = self.now - AGE_S_PER_POINT * priority
        self.hosts[source].queue.put(Entry(turn, iden, destination))
        return iden

    def situation(self, host: Host) -> Situation:
        """What `host` decides by."""
        return Situation(
            host=host.name,
            account=host.account,
            limits=host.limits,
            doors={name: Door(leases=True) for name in self.hosts if name != host.name},
            leases=host.leases,
            window=self.window,
            now=self.now,
        )

    def settle(self, name: str) -> None:
        """Do what `name` decides now."""
        host = self.hosts[name]
        decision = decide(host.queue, self.situation(host))
        for iden in decision.start:
            entry = host.queue.get(iden)
            assert entry is not None
            assert host.leases.pop(iden).standing is Standing.GRANTED
            host.queue.drop(iden)
            leaving = Held(Direction.OUTGOING)
            assert_room(host.account, host.limits, leaving)
            host.account.put(iden, leaving)
            self.runs[iden] = Run(name, entry.destination)
        for iden in decision.ask:
            entry = host.queue.get(iden)
            assert entry is not None
            known = host.leases.get(iden)
            since = self.now if known is None else known.since
            host.leases[iden] = Answered(Standing.ASKING, since)
            seq = host.said[iden] = host.next_seq()
            asked = self._lease(host, iden, Phase.READY, seq)
            self.messages.append(Message(name, entry.destination, seq, asks=asked))
        for iden in decision.step_back:
            host.leases[iden] = replace(host.leases[iden], standing=Standing.STEPPED_BACK)
        back = {host.queue.get(iden) for iden in decision.step_back}
        for destination in sorted({entry.destination for entry in back if entry is not None}):
            self.report(name, destination)

    def report(self, name: str, peer: str) -> None:
        """`name` tells `peer` of everything it has with it."""
        host = self.hosts[name]
        seq = host.next_seq()
        told = []
        for iden, answered in host.leases.items():
            entry = host.queue.get(iden)
            if entry is not None and entry.destination == peer:
                back = answered.standing is Standing.STEPPED_BACK
                wish = Phase.NOT_READY if back else Phase.READY
                told.append(self._lease(host, iden, wish, seq))
        told += [
            self._lease(host, iden, run.phase, seq)
            for iden, run in self.runs.items()
            if (run.source, run.destination) == (name, peer)
        ]
        self.messages.append(Message(name, peer, seq, leases=tuple(told)))

    def deliver(self, message: Message) -> None:
        """It arrives; both sides do what follows from it."""
        host = self.hosts[message.receiver]
        if message.answers:
            self._hear(host, message.answers)
            self.settle(host.name)
            return
        if message.asks is not None:
            try:
                host.book.ask(message.asks, self.now)
            except Refused:
                return
            about = [message.asks.id]
        else:
            host.book.report(message.sender, message.seq, message.leases, self.now)
            about = [lease.id for lease in message.leases]
        self.grant(host.name, tell={(message.sender, iden) for iden in about})
        self.settle(host.name)

    def grant(self, name: str, tell: Iterable[tuple[str, str]] = ()) -> None:
        """`name` grants what it can, and tells whoever asked and whoever is concerned."""
        host = self.hosts[name]
        before = Account()
        for key, held in host.account:
            before.put(key, held)
        for lease in host.book.grant(host.limits, name):
            assert_room(before, host.limits, lease.held)
            before.put(key_of(lease.id), lease.held)
        host.journal = {lease.id: lease for lease in host.book if lease.granted}
        why = host.book.why_waiting(host.limits, name)
        answers: dict[str, list[Answer]] = {}
        asked = set(tell)
        for lease in host.book:
            shortage, position = why.get(lease.id, (None, 0))
            iden = MigrationId(lease.id)
            answer = Answer(
                iden, lease.granted, False, lease.seq, lease.renewed, shortage, position
            )
            known = host.told.get(lease.id)
            if (lease.peer, lease.id) in asked or _differs(answer, known):
                answers.setdefault(lease.peer, []).append(answer)
            host.told[lease.id] = answer
        for peer, iden in asked:
            if host.book.get(iden) is None:
                answers.setdefault(peer, []).append(Answer(MigrationId(iden), gone=True))
        for peer, list_ in answers.items():
            self.messages.append(Message(name, peer, answers=tuple(list_)))

    def move(self, iden: MigrationId, phase: Phase | None, arrived: bool = True) -> None:
        """libvirt gets on with a migration; None is its end. Its source sees that at once."""
        run = self.runs[iden]
        host = self.hosts[run.source]
        if phase is None:
            del self.runs[iden]
            host.account.drop(iden)
            if arrived:
                self.arrived.append(iden)
        else:
            run.phase = phase
            host.account.put(iden, Held(Direction.OUTGOING, phase))
        self.settle(run.source)
        self.grant(run.source)

    def crash(self, name: str) -> None:
        """pmigd of `name` dies and starts again: what runs goes on, the journal is as it was."""
        host = self.hosts[name]
        host.forget()
        for iden, run in self.runs.items():
            if run.source == name:
                host.account.put(iden, Held(Direction.OUTGOING, run.phase))
        host.book.load(host.journal.values(), self.now)

    def wait(self, seconds: float) -> None:
        """Time passes; leases expire."""
        self.now += seconds
        for host in self.hosts.values():
            host.book.expire(self.now, lambda uuid: uuid in self.runs)
            self.grant(host.name)

    def workers(self, name: str) -> int:
        """Workers of libvirtd on `name` that are really inside a call of a migration."""
        return sum(
            (run.source == name) + (run.destination == name and run.phase is not Phase.TRANSFER)
            for run in self.runs.values()
        )

    def rebuilt(self, name: str) -> Account:
        """The account as it must be, from what runs and the leases in force."""
        account = Account()
        for iden, run in self.runs.items():
            if run.source == name:
                account.put(iden, Held(Direction.OUTGOING, run.phase))
        for lease in self.hosts[name].book:
            if lease.granted:
                account.put(key_of(lease.id), lease.held)
        return account

    def _hear(self, host: Host, answers: Iterable[Answer]) -> None:
        for answer in answers:
            known = host.leases.get(answer.id)
            if known is None or host.queue.get(answer.id) is None:
                continue
            if answer.gone:
                del host.leases[answer.id]
                continue
            # What was said before the last ask is about a place that was given back since, and
            # what is older than a lease lives may be about one that has expired.
            stale = answer.seq < host.said[answer.id] or self.now - answer.at > TTL_S
            if stale or known.standing is Standing.STEPPED_BACK:
                continue
            host.leases[answer.id] = Answered(
                Standing.GRANTED if answer.granted else Standing.WAITING,
                known.since,
                answer.shortage,
                answer.position,
            )

    def _lease(self, host: Host, iden: MigrationId, phase: Phase, seq: int) -> Lease:
        return Lease(iden, host.name, Domain(f"guest{iden}", iden), phase, seq=seq)


def _differs(answer: Answer, known: Answer | None) -> bool:
    if known is None:
        return answer.granted
    return (answer.granted, answer.shortage, answer.position) != (
        known.granted,
        known.shortage,
        known.position,
    )


def assert_room(account: Account, host_limits: Limits, wanted: Held) -> None:
    """Nothing begins above a limit, and never so many that one could not finish."""
    for resource, number in needs(wanted).items():
        usable = host_limits.usable.get(resource)
        if usable is not None and number:
            assert account.used(resource) + number <= usable, resource
    total = account.number(Direction.OUTGOING) + account.number(Direction.INCOMING)
    assert total + 1 <= max(1, host_limits.workers - 1)


def assert_same(account: Account, other: Account) -> None:
    """Two accounts hold the same, entry by entry and resource by resource."""
    assert dict(account) == dict(other)
    for resource in Resource:
        assert account.used(resource) == other.used(resource), resource
    for direction in Direction:
        assert account.number(direction) == other.number(direction), direction
