"""All migrations of this host, and one supervisor for each that has something going on.

The controller takes requests and libvirt's events, lets the core decide, makes the decision durable
and then has it carried out. It decides nothing itself. A migration that waits in the queue is only
data; while it runs, one task owns it and applies its events one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from pmigd.adapters.journal import Contents, Entry, Journal, JournalError
from pmigd.api.hub import Change, ChangeKind, Hub
from pmigd.core import engine, ledger
from pmigd.core import events as ev
from pmigd.core.canonical import about
from pmigd.core.chronicle import Logged, noted
from pmigd.core.commands import CALLS, Outcome
from pmigd.core.controls import (
    may_abort,
    may_change,
    may_postcopy,
    may_recover,
    may_resolve,
    may_suspend,
)
from pmigd.core.effects import Do
from pmigd.core.facts import Question
from pmigd.core.model import (
    UNASKED,
    Direction,
    Domain,
    Migration,
    MigrationId,
    Now,
    Power,
    Request,
    Settings,
    State,
    Target,
    Transport,
    View,
    Waiting,
)
from pmigd.core.ports import DomainFacts, Hypervisor
from pmigd.core.problem import ONLY_AN_OPERATOR, Code, Problem, Refused, refuse
from pmigd.core.reunion import it_was_ours, meanwhile_begun
from pmigd.core.route import SLOW, slow_start
from pmigd.core.settings import given, of_request
from pmigd.core.trace import Trace
from pmigd.daemon.conductor import Conductor, Peers, check_recovery
from pmigd.daemon.gate import Gate

KEEP_CLOSED: Final = 1000
"""Migrations that are kept for 'list --all' after their end."""
PRUNE_EVERY: Final = 100
FORGET_AFTER_S: Final = 60.0
WRITTEN_AT_ONCE: Final = 500
"""Migrations in one write of what could not be written: it has a deadline."""
SETTINGS_WAIT_S: Final = 5.0
"""How long somebody who changes settings waits for libvirt's answer."""

_MAY_LAND: Final = (
    "It is not begun, and is forgotten when the disk answers. Only if pmigd ends before that, it"
    " may be in the queue when pmigd starts again: 'pmigctl list' tells, and a repeat with the same"
    " idempotency key finds it."
)

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

    events: asyncio.Queue[ev.Event]
    task: asyncio.Task[None] | None = None
    conductor: Conductor | None = None
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class Controller:
    """The migrations of `host`; they start as `gate` says."""

    def __init__(
        self,
        host: str,
        hypervisor: Hypervisor,
        journal: Journal,
        gate: Gate,
        *,
        queue_max: int,
        now: Callable[[], Now],
        new_id: Callable[[], str],
        on_change: OnChange,
        begin_trace: BeginTrace,
    ) -> None:
        self.host = host
        self.hub = Hub()
        self.queue_max = queue_max
        self.asker: Asker = _Alone()
        self._hypervisor = hypervisor
        self._journal = journal
        self._gate = gate
        self._now = now
        self._new_id = new_id
        self._on_change = on_change
        self._begin_trace = begin_trace
        self._all: dict[MigrationId, Migration] = {}
        self._open_of: dict[str, list[MigrationId]] = {}
        """By the domain's UUID, the one that events are about first; "" is of those not known."""
        self._running: set[MigrationId] = set()
        self._by_key: dict[str, MigrationId] = {}
        self._claimed: set[str] = set()
        self._arriving = 0
        self._keys: dict[str, asyncio.Lock] = {}
        self._ended_at: dict[str, float] = {}
        self._left_behind: dict[str, int] = {}
        self._actors: dict[MigrationId, _Actor] = {}
        self._dirty: set[MigrationId] = set()
        self._writing: set[MigrationId] = set()
        self._unlogged: dict[MigrationId, tuple[Logged, ...]] = {}
        self._closed_since_prune = 0
        self._stopping = False
        self.loaded = False
        """Whether the journal was read: before, nobody knows which migrations are others'."""

    # What there is

    def get(self, iden: str) -> Migration | None:
        """One migration, or None."""
        return self._all.get(MigrationId(iden))

    def all(self) -> Iterator[Migration]:
        """All kept ones, newest first."""
        for iden in sorted(self._all, reverse=True):
            yield self._all[iden]

    def open(self) -> list[Migration]:
        """All that are not terminal."""
        return [self._all[iden] for idens in self._open_of.values() for iden in idens]

    def running(self) -> list[Migration]:
        """The open ones that have left the queue: those with a supervisor's attention."""
        return [self._all[iden] for iden in self._running]

    def of_domain(self, uuid: str) -> Migration | None:
        """The open migration of a domain, or None."""
        idens = self._open_of.get(uuid)
        return self._all[idens[0]] if idens else None

    def ended_within(self, uuid: str, seconds: float) -> bool:
        """Whether a migration of the domain ended just now: late events are still about it."""
        ended = self._ended_at.get(uuid)
        return ended is not None and self._now().mono - ended < seconds

    def is_left_behind(self, uuid: str, run: int) -> bool:
        """Whether that run of a domain is only what a migration, which is over, has left here."""
        return run != 0 and self._left_behind.get(uuid) == run

    def queued(self) -> Iterator[Migration]:
        """The waiting ones, next first."""
        return (self._all[entry.id] for entry in self._gate.queue)

    def waiting_of(self, iden: MigrationId) -> Waiting | None:
        """What one migration waits for; None if it does not wait."""
        migration = self._all.get(iden)
        return None if migration is None else self._gate.why(migration, self.running())

    # Requests

    async def submit(
        self,
        request: Request,
        target: Target,
        *,
        by: str,
        key: str | None = None,
        asked: str = "",
        caller: Trace | None = None,
    ) -> Migration:
        """Queue a migration, durably. With a known `key` the first one is returned again.

        `asked` is the request's fingerprint, `caller` the trace that it is asked for in.

        Raises Refused: domain_not_found, domain_not_running, domain_busy, queue_full,
        idempotency_conflict, libvirt_unavailable, journal_unavailable, shutting_down.
        """
        fresh = partial(self._submit, request, target, by=by, key=key, asked=asked, caller=caller)
        if key is None:
            return await self._with_a_place(fresh)
        # A repeat waits until it is known what became of the first one.
        lock = self._keys.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (first := self._known(key, asked, request)) is not None:
                    return first
                return await self._with_a_place(fresh)
        finally:
            if not lock.locked():
                self._keys.pop(key, None)

    async def _with_a_place(self, submit: Callable[[], Awaitable[Migration]]) -> Migration:
        """Submit with a place in the queue that nobody else is given meanwhile."""
        self._check_room()
        self._arriving += 1
        try:
            return await submit()
        finally:
            self._arriving -= 1

    async def _submit(
        self,
        request: Request,
        target: Target,
        *,
        by: str,
        key: str | None,
        asked: str,
        caller: Trace | None,
    ) -> Migration:
        facts = await self._hypervisor.lookup(request.domain)
        if facts.view.gone and not request.offline:
            raise refuse(Code.DOMAIN_NOT_RUNNING, f"'{facts.domain.name}' is {facts.view.power}.")
        await self.look_at_arrival(facts.domain)
        self._check_idle(facts)
        migration = Migration(
            id=MigrationId(self._new_id()),
            request=request,
            domain=facts.domain,
            source=self.host,
            destination=target.name,
            created_at=self._now().utc,
            target=target,
            submitted_by=by,
            idempotency_key=key,
            asked=asked,
            trace=self._begin_trace(caller),
        )
        # While the journal is written nobody else may claim the same domain.
        if facts.domain.uuid in self._claimed:
            raise refuse(Code.DOMAIN_BUSY, f"'{facts.domain.name}' is being submitted right now.")
        self._claimed.add(facts.domain.uuid)
        try:
            await self._journal.write(Entry(migration))
        except JournalError as error:
            # It is refused, and must not be found there after a restart if the disk wakes up.
            with contextlib.suppress(JournalError):
                await self._journal.forget(migration.id)
            self.pump()
            detail = f"{error}. {_MAY_LAND}" if error.may_land else str(error)
            raise refuse(Code.JOURNAL_UNAVAILABLE, detail) from error
        finally:
            self._claimed.discard(facts.domain.uuid)
        self._enter(migration)
        self._announce(None, migration)
        self.pump()
        return self._all[migration.id]

    async def abort(self, iden: MigrationId, *, by: str, reason: str) -> Migration:
        """Ask for an abort. Raises Refused (wrong_state) when it cannot be aborted any more."""
        migration = self._all[iden]
        if (problem := may_abort(migration)) is not None:
            raise Refused(problem)
        await self.apply(iden, ev.AbortAsked(by, reason))
        return self._all[iden]

    async def suspend(self, iden: MigrationId, *, by: str) -> Migration:
        """Pause the guest so that it finishes. Raises Refused (wrong_state)."""
        return await self._control(iden, may_suspend, ev.SuspendAsked(by))

    async def postcopy(self, iden: MigrationId, *, by: str) -> Migration:
        """Switch to post-copy. Raises Refused (wrong_state)."""
        return await self._control(iden, may_postcopy, ev.PostcopyAsked(by))

    async def recover(self, iden: MigrationId, *, by: str) -> Migration:
        """Go on with a broken post-copy.

        Raises Refused: wrong_state, or why the destination cannot go on with it now.
        """
        if self._all[iden].state is State.POSTCOPY_PAUSED:
            await check_recovery(self._hypervisor, self._all[iden])
        return await self._control(iden, may_recover, ev.RecoverAsked(by))

    async def settings(self, iden: MigrationId) -> Settings:
        """The settings in force, of a running one as libvirt has them."""
        migration = self._all[iden]
        if migration.state.terminal:
            raise refuse(Code.WRONG_STATE, f"The migration has {migration.state} already.")
        if migration.state is State.QUEUED:
            return of_request(migration.request)
        return await self._hypervisor.settings(migration.domain)

    async def change(
        self,
        iden: MigrationId,
        settings: Settings,
        *,
        timeout_s: float | None = None,
        priority: int | None = None,
        by: str,
    ) -> Migration:
        """Ask for other settings of a queued or running one, and wait a little for libvirt.

        What libvirt has not answered by then stays owed; the migration's ledger tells. Raises
        Refused: wrong_state, or what libvirt refuses first; the others are in force, and noted.
        """
        migration = self._all[iden]
        if (problem := may_change(migration)) is not None:
            raise Refused(problem)
        if priority is not None and migration.state is not State.QUEUED:
            raise refuse(
                Code.WRONG_STATE, f"A priority is for what waits; this one is {migration.state}."
            )
        with self.hub.subscribe(iden) as changes:
            await self.apply(iden, ev.SetAsked(by, settings, timeout_s, priority))
            numbers = self._numbers(iden, settings)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTINGS_WAIT_S):
                    while self._pending(iden, numbers) and await changes.get() is not None:
                        pass
        for number in numbers:
            command = ledger.get(self._all[iden], number)
            if command is not None and command.outcome is Outcome.REFUSED and command.problem:
                raise Refused(command.problem)
            if command is not None and command.outcome is Outcome.OVERTAKEN:
                raise refuse(Code.WRONG_STATE, f"Not changed: {command.waits}.")
        return self._all[iden]

    def _numbers(self, iden: MigrationId, settings: Settings) -> list[int]:
        """The numbers of the commands that stand for `settings`."""
        wanted = {kind: value for kind, value, _ in given(settings)}
        newest = {c.kind: c for c in self._all[iden].commands if c.kind in wanted}
        return [c.id for kind, c in newest.items() if c.value == wanted[kind]]

    def _pending(self, iden: MigrationId, numbers: list[int]) -> bool:
        found = (ledger.get(self._all[iden], number) for number in numbers)
        return any(c is not None and c.pending for c in found)

    async def _control(
        self,
        iden: MigrationId,
        may: Callable[[Migration], Problem | None],
        event: ev.Event,
    ) -> Migration:
        if (problem := may(self._all[iden])) is not None:
            raise Refused(problem)
        await self.apply(iden, event)
        return self._all[iden]

    async def resolve(self, iden: MigrationId, verdict: State, *, by: str) -> Migration:
        """Close an unresolved one. Raises Refused (wrong_state)."""
        migration = self._all[iden]
        if migration.verdict is verdict:
            return migration
        if (problem := may_resolve(migration)) is not None:
            raise Refused(problem)
        await self.apply(iden, ev.Resolved(verdict, by))
        return self._all[iden]

    # Events

    def post(self, iden: MigrationId, event: ev.Event) -> None:
        """Something happened to a migration; its supervisor applies it in turn."""
        migration = self._all.get(iden)
        if migration is None or migration.state.terminal or self._stopping:
            return
        if migration.problem is not None and migration.problem.code in ONLY_AN_OPERATOR:
            return  # too little is known of it to make anything of what happens to its guest
        self._actor(iden).events.put_nowait(event)

    async def apply(self, iden: MigrationId, event: ev.Event) -> None:
        """Like :meth:`post`, and wait until it has been applied."""
        migration = self._all.get(iden)
        if migration is None or migration.state.terminal:
            return
        if self._stopping:
            raise refuse(Code.SHUTTING_DOWN, "pmigd is stopping; the migration goes on.")
        actor = self._actor(iden)
        done = asyncio.get_running_loop().create_future()
        actor.events.put_nowait(event)
        actor.events.put_nowait(_Applied(done))  # type: ignore[arg-type]  # a mark in the queue
        await done

    def begin_external(
        self, domain: Domain, direction: Direction, state: State = State.PRECOPY
    ) -> Migration:
        """Take notice of a migration that others started. It is not journalled.

        Who sends a guest, and how, libvirt does not tell a destination; the lease does.
        """
        now = self._now()
        incoming = direction is Direction.INCOMING
        lease = self._gate.coming(domain.uuid) if incoming else None
        sender, transport = (lease.source, lease.transport) if lease else ("", Transport.NATIVE)
        migration = Migration(
            id=MigrationId(self._new_id()),
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
            trace=self._begin_trace(lease.trace if lease else None),
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
        now = self._now()
        self._dirty.update(m.id for m in self._all.values() if not m.external)
        for migration in contents.migrations:
            if migration.id in self._all:
                continue
            taken = self._reunited(migration, now)
            try:
                self._enter(taken)
            except BaseException:
                self._all.pop(taken.id)  # not taken up: the next reading must not pass over it
                if taken.id in (idens := self._open_of.get(taken.domain.uuid, [])):
                    idens.remove(taken.id)
                raise
            if taken != migration:
                self._dirty.add(taken.id)
                self._announce(migration, taken)
            if taken.open and taken.state is not State.QUEUED:
                self.asker.told(taken)
                self.post(taken.id, ev.Restarted())
        self.loaded = True
        if sum(not m.open for m in self._all.values()) > KEEP_CLOSED + PRUNE_EVERY:
            self._forget_old()

    def _reunited(self, migration: Migration, now: Now) -> Migration:
        """One from the journal, beside what is known of its guest since this pmigd runs."""
        known = self.of_domain(migration.domain.uuid) if migration.domain.uuid else None
        if known is None or not migration.open:
            return migration
        if known.external:
            self._settle(known, it_was_ours(known, migration, now))
            return migration
        return meanwhile_begun(migration, known, now)

    async def write_down(self) -> None:
        """Write again what could not be written. Raises JournalError.

        Only then is the journal one that can be written again: whoever goes by that may end pmigd.
        """
        # A step that is being written is newer than what is known here until it has been.
        dirty = [self._all[x] for x in self._dirty if x in self._all]
        for first in range(0, len(dirty), WRITTEN_AT_ONCE):
            await self._write_again(dirty[first : first + WRITTEN_AT_ONCE])
        await self._journal.probe()

    async def _write_again(self, dirty: list[Migration]) -> None:
        # What has gone on meanwhile was written by its own step, or is still to be written.
        dirty = [m for m in dirty if self._all.get(m.id) is m and m.id not in self._writing]
        logs = {m.id: self._unlogged.pop(m.id, ()) for m in dirty}
        try:
            await self._journal.write(*(Entry(m, logs[m.id]) for m in dirty))
        except JournalError:
            for iden, log in logs.items():
                self._keep_log(iden, log + self._unlogged.get(iden, ()))
            raise
        self._dirty -= {m.id for m in dirty if self._all.get(m.id) is m}

    async def tick(self, every_s: float) -> None:
        """Let deadlines be noticed, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            now = self._now().utc
            for migration in self.running():
                self.post(migration.id, ev.Ticked())
                waiting = slow_start(migration, now)
                if waiting is not None and now - waiting.since < SLOW + timedelta(seconds=every_s):
                    # Nothing has changed, and that is worth telling those who watch, once.
                    self.hub.publish(Change("progress", now, migration))

    async def stop(self) -> None:
        """Leave everything as it is in libvirt and in the journal; nothing is aborted."""
        self._stopping = True
        tasks = [actor.task for actor in self._actors.values() if actor.task is not None]
        for actor in self._actors.values():
            if actor.conductor is not None:
                actor.conductor.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.hub.close()

    # Below: how it is done.

    def _known(self, key: str, asked: str, request: Request) -> Migration | None:
        iden = self._by_key.get(key)
        if iden is None:
            return None
        first = self._all[iden]
        same = first.asked == asked if first.asked else first.request == request
        unreadable = first.problem is not None and first.problem.code in ONLY_AN_OPERATOR
        if not (same or unreadable):
            raise refuse(
                Code.IDEMPOTENCY_CONFLICT, f"The key was used for migration {first.id} already."
            )
        return first

    def _check_room(self) -> None:
        if self._stopping:
            raise refuse(Code.SHUTTING_DOWN, "pmigd is stopping.")
        if not self.loaded:
            raise refuse(Code.JOURNAL_UNAVAILABLE, "The journal has not been read yet.")
        waiting = len(self._gate.queue) + self._arriving
        if waiting >= self.queue_max:
            raise refuse(Code.QUEUE_FULL, f"{waiting} migrations wait already.")

    async def look_at_arrival(self, domain: Domain) -> None:
        """Let what brought a guest here end now, if the guest has arrived, not at the next look."""
        other = self.of_domain(domain.uuid)
        if other is not None and other.external and other.direction is Direction.INCOMING:
            view, final = await self._hypervisor.look_here(domain, completed=other.direction)
            with contextlib.suppress(Refused):  # pmigd is stopping
                await self.apply(other.id, ev.Looked(view, UNASKED, final))

    def _check_idle(self, facts: DomainFacts) -> None:
        other = self.of_domain(facts.domain.uuid)
        if other is not None:
            raise refuse(
                Code.DOMAIN_BUSY, f"Migration {other.id} of '{facts.domain.name}' is {other.state}."
            )
        for iden in self._open_of.get("", ()):
            if self._all[iden].domain.name in ("", facts.domain.name):
                raise refuse(
                    Code.DOMAIN_BUSY,
                    f"Migration {iden}, whose row in the journal cannot be read, may be of it."
                    f" 'pmigctl show {iden}' says what to do.",
                )
        if facts.view.power is Power.PAUSED and not facts.view.alive:
            raise refuse(Code.DOMAIN_BUSY, f"'{facts.domain.name}' is paused by a migration.")

    def _enter(self, migration: Migration) -> None:
        self._all[migration.id] = migration
        self._note_left_behind(migration)
        if migration.open:
            self._open_of.setdefault(migration.domain.uuid, []).append(migration.id)
            self._place(migration)
        if migration.idempotency_key is not None:
            self._by_key[migration.idempotency_key] = migration.id

    def _note_left_behind(self, migration: Migration) -> None:
        """Half a copy that nobody can go on with is not taken for a migration that others began."""
        problem = migration.problem
        if problem is not None and problem.code in (Code.POSTCOPY_LOST, Code.LEFTOVER_COPY):
            self._left_behind[migration.domain.uuid] = migration.evidence.run_before

    def _place(self, migration: Migration) -> None:
        """Have it counted where it belongs by its state."""
        if migration.open and migration.state is not State.QUEUED:
            self._running.add(migration.id)
        else:
            self._running.discard(migration.id)
        self._gate.settle(migration)

    def pump(self) -> None:
        """Start what may start, and ask for what has to be asked for."""
        if self._stopping:
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
            name = f"migration-{iden}"
            actor.task = asyncio.get_running_loop().create_task(
                self._supervise(iden, actor), name=name
            )
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
        now = self._now()
        step = engine.step(before, event, now)
        if isinstance(event, ev.Admitted):
            step = await self._started(before, event, step, now)
        else:
            step = await self._durable(before, event, step, now)
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

    async def _started(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> engine.Step:
        """Journal the start of a queued migration; what cannot be journalled stays queued."""
        try:
            await self._write(step.migration, self._log_of(before, event, step, now))
        except JournalError:
            return engine.Step(before)
        return step

    async def _durable(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> engine.Step:
        """Make a step durable before its effects; without a journal nothing new is begun."""
        if before.external:
            return step
        log = self._log_of(before, event, step, now)
        if engine.durable(step.migration) != engine.durable(before):
            try:
                await self._write(step.migration, log)
            except JournalError as error:
                # What runs is watched and controlled on; write_down() writes it down later.
                problem = Problem(Code.JOURNAL_UNAVAILABLE, str(error))
                log += tuple(
                    Logged(now, ev.Answered(effect.command.id, problem, made=False))
                    for effect in step.effects
                    if isinstance(effect, Do) and effect.command.kind in CALLS
                )
                step = engine.withhold(step, problem, now)
            else:
                log = ()
        self._keep_log(before.id, log)
        return step

    def _log_of(
        self, before: Migration, event: ev.Event, step: engine.Step, now: Now
    ) -> tuple[Logged, ...]:
        return noted(self._unlogged.get(before.id, ()), before, event, step.migration, now)

    def _keep_log(self, iden: MigrationId, log: tuple[Logged, ...]) -> None:
        """What has still to be written down with the next step that is."""
        if log:
            self._unlogged[iden] = log
        else:
            self._unlogged.pop(iden, None)

    async def _write(self, migration: Migration, log: tuple[Logged, ...]) -> None:
        """Write one step. One that fails may yet land: what is true is written again later."""
        self._writing.add(migration.id)
        try:
            await self._journal.write(Entry(migration, log))
        except JournalError:
            self._dirty.add(migration.id)
            raise
        finally:
            self._writing.discard(migration.id)
        self._dirty.discard(migration.id)

    def _settle(self, before: Migration, after: Migration) -> None:
        """Make a step's result the present, and tell everybody who should know."""
        self._all[after.id] = after
        told = _placed(after) != _placed(before) or after.request is not before.request
        if told:
            self._place(after)
        if after.state.terminal and before.open:
            idens = self._open_of[after.domain.uuid]
            idens.remove(after.id)
            if not idens:
                del self._open_of[after.domain.uuid]
            self._ended_at[after.domain.uuid] = self._now().mono
            self._note_left_behind(after)
            self._closed_since_prune += 1
            if self._closed_since_prune >= PRUNE_EVERY:
                self._forget_old()
        if after != before:
            self._announce(before, after)
        if told:
            self.asker.told(after)
            self.pump()

    def _announce(self, before: Migration | None, after: Migration) -> None:
        self._on_change(before, after)
        at = self._now().utc
        for kind in _kinds(before, after):
            self.hub.publish(Change(kind, at, after))

    def _forget_old(self) -> None:
        """Keep memory and journal from growing without end; what one forgets, the other does."""
        self._closed_since_prune = 0
        now = self._now().mono
        self._ended_at = {u: at for u, at in self._ended_at.items() if now - at < FORGET_AFTER_S}
        closed = sorted((iden for iden, m in self._all.items() if not m.open), reverse=True)
        old = [self._all.pop(iden) for iden in closed[KEEP_CLOSED:]]
        for migration in old:
            self._unlogged.pop(migration.id, None)
            key = migration.idempotency_key
            if key is not None and self._by_key.get(key) == migration.id:
                del self._by_key[key]
        kept = [migration.id for migration in old if not migration.external]
        self._prune = asyncio.get_running_loop().create_task(
            self._prune_journal(kept), name="prune"
        )

    async def _prune_journal(self, forgotten: list[MigrationId]) -> None:
        with contextlib.suppress(JournalError):  # the next probe does it
            await self._journal.forget(*forgotten)


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
