"""All migrations of this host, and one supervisor for each that has something going on.

The controller takes events, lets the core decide, makes the decision durable and then has it
carried out. It decides nothing itself. A migration that waits in the queue is only data; while it
runs, one task owns it and applies its events one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

import structlog

from pmigd.adapters.journal import Contents, Journal
from pmigd.adapters.tasks import Tasks
from pmigd.api.hub import Change, ChangeKind, Hub
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.canonical import about
from pmigd.core.facts import Question
from pmigd.core.model import (
    UNASKED,
    Direction,
    Domain,
    Migration,
    MigrationId,
    Now,
    Request,
    State,
    Target,
    Transport,
    View,
    Waiting,
)
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import ONLY_AN_OPERATOR, Code, Refused, refuse
from pmigd.core.reunion import it_was_ours, meanwhile_begun
from pmigd.core.route import SLOW, slow_start
from pmigd.core.trace import Trace
from pmigd.daemon.conductor import Conductor, Peers
from pmigd.daemon.gate import Gate
from pmigd.daemon.records import Records
from pmigd.daemon.register import KEEP_CLOSED, PRUNE_EVERY, Register

log = structlog.get_logger()

OnChange = Callable[[Migration | None, Migration], None]
"""Told of every step: the migration before (None: it is new) and after. Runs on the loop."""

BeginTrace = Callable[[Trace | None], Trace | None]
"""Gives a new migration its place in a trace: the caller's if there is one."""


class Asker(Peers, Protocol):
    """Who speaks with the destinations' pmigd: :class:`pmigd.daemon.asking.Asking`."""

    def ask(self, migration: Migration) -> None:
        """Ask the destination for a lease."""

    def step_back(self, migration: Migration) -> None:
        """Let others go first with a lease that cannot be used now."""

    def told(self, migration: Migration) -> None:
        """A migration is in another state, or ended."""


class _Alone:
    """A host without peers: nobody is asked, and nobody has to be told."""

    def ask(self, migration: Migration) -> None:
        """Nobody has a lease to give."""

    def step_back(self, migration: Migration) -> None:
        """Nobody has given one."""

    def told(self, migration: Migration) -> None:
        """Nobody listens."""

    async def look(self, migration: Migration) -> None:  # noqa: ARG002
        """Nobody answers."""
        return

    async def look_back(self, migration: Migration, here: View) -> View:  # noqa: ARG002
        """Nobody answers."""
        return UNASKED

    async def examine(self, target: Target, question: Question) -> None:  # noqa: ARG002
        """Nobody answers."""
        return


@dataclass(slots=True)
class _Actor:
    """What is going on about one migration."""

    events: asyncio.Queue[ev.Event | _Applied]
    conductor: Conductor | None = None


class Controller(Register):
    """The migrations of `host`; they start as `gate` says.

    `now`, `new_id` and `begin_trace` give a new one its times, its number and its place in a trace.
    """

    def __init__(
        self,
        host: str,
        hypervisor: Hypervisor,
        journal: Journal,
        gate: Gate,
        *,
        now: Callable[[], Now],
        new_id: Callable[[], str],
        on_change: OnChange,
        begin_trace: BeginTrace,
    ) -> None:
        super().__init__(now)
        self.host = host
        self.hub = Hub()
        self.asker: Asker = _Alone()
        self._hypervisor = hypervisor
        self._gate = gate
        self.new_id = new_id
        self.begin_trace = begin_trace
        self.records = Records(journal, self._all.get)
        self._on_change = on_change
        self._tasks = Tasks("migrations")
        self._actors: dict[MigrationId, _Actor] = {}
        self.stopping = False
        self.loaded = False
        """Whether the journal was read: before, nobody knows which migrations are others'."""

    def queued(self) -> Iterator[Migration]:
        """The waiting ones, next first."""
        return (self._all[entry.id] for entry in self._gate.queue)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._gate.queue)

    def waiting_of(self, iden: MigrationId) -> Waiting | None:
        """What one migration waits for; None if it does not wait."""
        migration = self._all.get(iden)
        return None if migration is None else self._gate.why(migration, self.running())

    # Events

    def post(self, iden: MigrationId, event: ev.Event) -> None:
        """Something happened to a migration; its supervisor applies it in turn."""
        migration = self._all.get(iden)
        if migration is None or migration.state.terminal or self.stopping:
            return
        if migration.problem is not None and migration.problem.code in ONLY_AN_OPERATOR:
            return  # too little is known of it to make anything of what happens to its guest
        self._actor(iden).events.put_nowait(event)

    async def apply(self, iden: MigrationId, event: ev.Event) -> None:
        """Like :meth:`post`, and wait until it has been applied."""
        migration = self._all.get(iden)
        if migration is None or migration.state.terminal:
            return
        if self.stopping:
            raise refuse(Code.SHUTTING_DOWN, "pmigd is stopping; the migration goes on.")
        actor = self._actor(iden)
        done = asyncio.get_running_loop().create_future()
        actor.events.put_nowait(event)
        actor.events.put_nowait(_Applied(done))  # a mark in the queue
        await done

    def begin_external(
        self, domain: Domain, direction: Direction, state: State = State.PRECOPY
    ) -> Migration:
        """Take notice of a migration that others started. It is not journalled.

        Who sends a guest, and how, libvirt does not tell a destination; the lease does.
        """
        now = self.now()
        incoming = direction is Direction.INCOMING
        lease = self._gate.coming(domain.uuid) if incoming else None
        sender, transport = (lease.source, lease.transport) if lease else ("", Transport.NATIVE)
        migration = Migration(
            id=MigrationId(self.new_id()),
            request=Request(domain.name, "", transport=transport),
            domain=domain,
            source=sender if incoming else self.host,
            destination=self.host if incoming else "",
            direction=direction,
            external=True,
            state=state,
            created_at=now.utc,
            started_at=now.utc,
            started_mono=now.mono,
            trace=self.begin_trace(lease.trace if lease else None),
        )
        self._enter(migration)
        self._announce(None, migration)
        return migration

    def connection_changed(self, *, connected: bool) -> None:
        """The local libvirt daemon came or went."""
        for migration in self.running():
            self.post(migration.id, ev.WatchBack() if connected else ev.WatchLost())
        self.pump()

    # Life

    def load(self, contents: Contents) -> None:
        """Take up what is in the journal: at the start, and when another one is behind its path.

        What is known already is newer here; all of it is written down again with the next probe.
        """
        now = self.now()
        self.records.dirty.update(m.id for m in self._all.values() if not m.external)
        for migration in contents.migrations:
            if migration.id in self._all:
                continue
            taken = self._reunited(migration, now)
            try:
                self._enter(taken)
            except BaseException:
                self._take_back(taken)  # the next reading must not pass over it
                raise
            if taken != migration:
                self.records.dirty.add(taken.id)
                self._announce(migration, taken)
            if taken.open and taken.state is not State.QUEUED:
                self.asker.told(taken)
                self.post(taken.id, ev.Restarted())
        self.loaded = True
        if self.closed() > KEEP_CLOSED + PRUNE_EVERY:
            self._forget()

    def _reunited(self, migration: Migration, now: Now) -> Migration:
        """One from the journal, beside what is known of its guest since this pmigd runs."""
        known = self.of_domain(migration.domain.uuid) if migration.domain.uuid else None
        if known is None or not migration.open:
            return migration
        if known.external:
            self._settle(known, it_was_ours(known, migration, now))
            return migration
        return meanwhile_begun(migration, known, now)

    async def tick(self, every_s: float) -> None:
        """Let deadlines be noticed, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            now = self.now().utc
            for migration in self.running():
                self.post(migration.id, ev.Ticked())
                waiting = slow_start(migration, now)
                if waiting is not None and now - waiting.since < SLOW + timedelta(seconds=every_s):
                    # Nothing has changed, and that is worth telling those who watch, once.
                    self.hub.publish(Change("progress", now, migration))

    async def stop(self) -> None:
        """Leave everything as it is in libvirt and in the journal; nothing is aborted."""
        self.stopping = True
        for actor in self._actors.values():
            if actor.conductor is not None:
                actor.conductor.stop()
        await self._tasks.stop()
        self.hub.close()

    async def look_at_arrival(self, domain: Domain) -> None:
        """Let what brought a guest here end now, if the guest has arrived, not at the next look."""
        other = self.of_domain(domain.uuid)
        if other is not None and other.external and other.direction is Direction.INCOMING:
            view, final = await self._hypervisor.look_here(domain, completed=other.direction)
            with contextlib.suppress(Refused):  # pmigd is stopping
                await self.apply(other.id, ev.Looked(view, UNASKED, final))

    async def add(self, migration: Migration) -> Migration:
        """Take up a new one as soon as the journal has it. Raises Refused: journal_unavailable."""
        try:
            await self.records.submitted(migration)
        except Refused:
            self.pump()
            raise
        self._enter(migration)
        self._announce(None, migration)
        self.pump()
        return self._all[migration.id]

    # Below: how it is done.

    def _enter(self, migration: Migration) -> None:
        self._put(migration)
        if migration.open:
            self._gate.settle(migration)

    def pump(self) -> None:
        """Start what may start, and ask for what has to be asked for."""
        if self.stopping:
            return
        decision = self._gate.decide()
        for iden in decision.start:
            self._gate.take(iden)
            self.post(iden, ev.Admitted())
        for iden in decision.ask:
            self.asker.ask(self._all[iden])
        for iden in decision.step_back:
            self.asker.step_back(self._all[iden])

    def _actor(self, iden: MigrationId) -> _Actor:
        actor = self._actors.get(iden)
        if actor is None:
            actor = self._actors[iden] = _Actor(asyncio.Queue())
            self._tasks.begin(f"migration-{iden}", partial(self._supervise, iden, actor))
        return actor

    async def _supervise(self, iden: MigrationId, actor: _Actor) -> None:
        """Apply one migration's events in order, until nothing is going on about it."""
        try:
            while True:
                event = await actor.events.get()
                if isinstance(event, _Applied):
                    if not event.done.done():
                        event.done.set_result(None)
                else:
                    await self._step_safely(iden, actor, event)
                migration = self._all[iden]
                idle = migration.state.terminal or migration.state is State.QUEUED
                if idle and actor.events.empty():
                    return
        finally:
            self._actors.pop(iden, None)
            if actor.conductor is not None:
                actor.conductor.stop()
            while not actor.events.empty():
                left = actor.events.get_nowait()
                if isinstance(left, _Applied) and not left.done.done():
                    left.done.set_result(None)

    async def _step_safely(self, iden: MigrationId, actor: _Actor, event: ev.Event) -> None:
        """A mistake of ours in one step must not leave a migration without anybody watching it."""
        try:
            await self._step(iden, actor, event)
        except Exception:
            log.exception("step failed", **about(self._all[iden]), step=type(event).__name__)
        finally:
            if isinstance(event, ev.Admitted):
                # Whatever became of it, it is not about to start any more; the next one may be.
                self._gate.taken(self._all[iden])
                self.pump()

    async def _step(self, iden: MigrationId, actor: _Actor, event: ev.Event) -> None:
        before = self._all[iden]
        now = self.now()
        step = engine.step(before, event, now)
        if isinstance(event, ev.Admitted):
            step = await self.records.started(before, event, step, now)
        else:
            step = await self.records.durable(before, event, step, now)
        self._settle(before, step.migration)
        if actor.conductor is not None:
            actor.conductor.follow(step.migration)
        if step.effects:
            if actor.conductor is None:
                actor.conductor = Conductor(
                    self._hypervisor, lambda event: self.post(iden, event), self.asker
                )
            for effect in step.effects:
                actor.conductor.carry_out(effect, step.migration)

    def _settle(self, before: Migration, after: Migration) -> None:
        """Make a step's result the present, and tell everybody who should know."""
        self._all[after.id] = after
        told = _placed(after) != _placed(before) or after.request is not before.request
        if told:
            self._count(after)
            self._gate.settle(after)
        if after.state.terminal and before.open:
            self._ended(after)
            if self.many_have_ended:
                self._forget()
        if after != before:
            self._announce(before, after)
        if told:
            self.asker.told(after)
            self.pump()

    def _announce(self, before: Migration | None, after: Migration) -> None:
        self._on_change(before, after)
        at = self.now().utc
        for kind in _kinds(before, after):
            self.hub.publish(Change(kind, at, after))

    def _forget(self) -> None:
        """Keep memory and journal from growing without end; what one forgets, the other does."""
        self._tasks.begin("prune", partial(self.records.forget, self._forget_old()))


@dataclass(frozen=True, slots=True)
class _Applied:
    """A mark in a supervisor's queue: everything before it has been applied."""

    done: asyncio.Future[None]


def _kinds(before: Migration | None, after: Migration) -> Iterable[ChangeKind]:
    if before is None or before.state is not after.state:
        yield "state"
    elif _told(before) != _told(after):
        yield "action"
    elif before.progress != after.progress:
        yield "progress"


def _placed(m: Migration) -> tuple[State, bool]:
    """What of a migration decides what it holds, here and at its destination."""
    return m.state, m.ending is not None


def _told(m: Migration) -> list[tuple[object, ...]]:
    """What is news of a ledger: not each try."""
    return [(c.id, c.outcome, c.waits) for c in m.commands]
