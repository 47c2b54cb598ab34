"""The leases that this host has of its peers: asked for, reported, renewed and given back.

With every peer that has a pmigd, and as long as there is something to say to it, one session: it
reports all that this host has or wants there whenever that changes, and at least every few seconds,
and listens for what is granted. While the peer does not answer its door is shut: what is queued
waits with that reason, and fails after a while; what runs goes on, for a lease is only ever needed
to begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from pmigd.adapters.peer.client import PeerAway, PeerChannel, PeerRefused
from pmigd.adapters.tasks import Tasks
from pmigd.core import events as ev
from pmigd.core.admission import Door, Lease, Standing
from pmigd.core.canonical import about
from pmigd.core.facts import Question
from pmigd.core.holdings import Phase, Shortage, held_of, login_of, ports_of
from pmigd.core.leases import RENEW_EVERY_S, TTL_S
from pmigd.core.model import (
    UNASKED,
    Because,
    Direction,
    Migration,
    MigrationId,
    Now,
    Power,
    Sample,
    State,
    Target,
    View,
)
from pmigd.core.problem import Code, Problem
from pmigd.wire.host import PeerDaemon
from pmigd.wire.peer import (
    Examination,
    ExamineQuestion,
    LeaseAnswer,
    LeaseAsk,
    LeaseEntry,
    LeaseEvent,
    LeaseReport,
    LookQuestion,
)

if TYPE_CHECKING:
    from pmigd.daemon.controller import Controller
    from pmigd.daemon.gate import Gate

BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
IDLE_S: Final = 30.0
"""How long a session lasts when there is nothing to say any more."""
PEER: Final = "peer"
"""What a migration waits for whose destination's pmigd does not answer."""
FAILED: Final = "pmigd itself failed while it spoke with it; its log says more"

log = structlog.get_logger()


class Asking:
    """This host's leases of its peers. `source` is its name.

    A queued migration waits :attr:`patience_s` for a pmigd that does not answer.
    """

    def __init__(
        self,
        source: str,
        migrations: Controller,
        gate: Gate,
        *,
        now: Callable[[], Now],
        first_seq: int,
    ) -> None:
        self.patience_s = 0.0
        self.source = source
        self.migrations = migrations
        self.gate = gate
        self.now = now
        self._seq = itertools.count(first_seq)
        self._channels: dict[str, PeerChannel] = {}
        self._sessions: dict[str, _Session] = {}

    def configure(self, channels: Mapping[str, PeerChannel]) -> None:
        """These peers have a pmigd; sessions with others, or by another way, end."""
        for name in [n for n, s in self._sessions.items() if channels.get(n) is not s.channel]:
            self._sessions.pop(name).end()
        self._channels = dict(channels)
        self.gate.doors = {name: self.gate.doors.get(name, Door(leases=True)) for name in channels}
        for migration in self.migrations.running():
            self.told(migration)
        self.migrations.pump()

    async def stop(self) -> None:
        """Say nothing any more. Leases are kept: what runs goes on."""
        sessions, self._sessions = self._sessions, {}
        self._channels = {}  # what is still submitted meanwhile asks nobody any more
        await asyncio.gather(*(session.stop() for session in sessions.values()))

    def ask(self, migration: Migration) -> None:
        """Ask the destination for a lease."""
        session = self._session(migration.destination)
        if session is not None:
            session.ask(migration)

    def step_back(self, migration: Migration) -> None:
        """Let others go first with a lease that cannot be used now; the place is kept."""
        lease = self.gate.leases.get(migration.id)
        if lease is not None:
            self.gate.leases[migration.id] = replace(lease, standing=Standing.STEPPED_BACK)
        self.told(migration)

    def told(self, migration: Migration) -> None:
        """A migration is in another state, or ended: its destination is to know."""
        if migration.direction is Direction.OUTGOING and not migration.external:
            session = self._session(migration.destination)
            if session is not None:
                session.changed.set()

    async def look(self, migration: Migration) -> tuple[View, Sample | None] | None:
        """What the destination's pmigd says of its copy; None where nobody there can say.

        Nor does it count what another host says than the one whose libvirt was found at the start:
        from a mistaken configuration must not follow that a guest is nowhere.
        """
        peer = migration.destination
        channel = self._channels.get(peer)
        if channel is None or self.gate.door(peer).shut is not None:
            return None
        if not migration.evidence.destination_uuid:
            return None
        question = LookQuestion(domain=migration.domain, completed=Direction.INCOMING)
        try:
            answer = await channel.look(question)
        except (PeerAway, PeerRefused) as error:
            log.debug("peer does not say", peer=peer, detail=str(error))
            return None
        if answer.host_uuid != migration.evidence.destination_uuid:
            log.warning("the peer's pmigd is on another host than its libvirt", peer=peer)
            return None
        if answer.view.power is Power.UNKNOWN:
            return None
        return answer.view, answer.completed

    async def look_back(self, migration: Migration, here: View) -> View:
        """What the source says of a guest whose copy `here` waits for it and has no lease (more).

        Where it is not known who sends the guest, the peer that has it alive is its source.
        """
        waits = here.because in (Because.STARTING_UP, Because.MIGRATION, Because.POSTCOPY_FAILED)
        incoming = migration.direction is Direction.INCOMING
        if not waits or not incoming or self.gate.coming(migration.domain.uuid) is not None:
            return UNASKED
        source = self._channels.get(migration.source)
        channels = [source] if source is not None else list(self._channels.values())
        views = await asyncio.gather(*(self._view_of(c, migration) for c in channels))
        alive = next((view for view in views if view.alive), None)
        return alive or (views[0] if source is not None else UNASKED)

    async def _view_of(self, channel: PeerChannel, migration: Migration) -> View:
        try:
            answer = await channel.look(LookQuestion(domain=migration.domain, completed=None))
        except (PeerAway, PeerRefused) as error:
            log.debug("peer does not say", detail=str(error))
            return UNASKED
        return answer.view

    async def examine(self, target: Target, question: Question) -> Examination | Problem | None:
        """What the destination's pmigd sees of its own host; None where it has no pmigd.

        A problem is why it does not say, and why a migration would get no lease there now.
        """
        channel = self._channels.get(target.name)
        if channel is None:
            return None
        try:
            return await channel.examine(ExamineQuestion(question=question))
        except PeerRefused as error:
            if not error.problem.retryable:
                return error.problem
            why = str(error)
        except PeerAway as error:
            why = str(error)
        log.debug("peer does not say", peer=target.name, detail=why)
        return Problem(
            Code.PEER_UNAVAILABLE,
            f"pmigd of {target.name} does not answer ({why}): a migration would wait for it for up "
            f"to {self.patience_s:g} s, and then fail.",
        )

    async def meet(self) -> dict[str, PeerDaemon]:
        """Ask every peer's pmigd who it is, all at once."""
        found = await asyncio.gather(*(self._meet(channel) for channel in self._channels.values()))
        return dict(zip(self._channels, found, strict=True))

    async def _meet(self, channel: PeerChannel) -> PeerDaemon:
        try:
            hello = await channel.hello()
        except (PeerAway, PeerRefused) as error:
            return PeerDaemon(channel.url.text, False, str(error), None, None)
        offset_s = (hello.at - self.now().utc).total_seconds()
        return PeerDaemon(channel.url.text, True, "", hello.version, round(offset_s, 3))

    def next_seq(self) -> int:
        """The number of the next message."""
        return next(self._seq)

    def _session(self, peer: str) -> _Session | None:
        channel = self._channels.get(peer)
        if channel is None:
            return None
        session = self._sessions.get(peer)
        if session is None or session.task.done():
            session = self._sessions[peer] = _Session(self, peer, channel)
        return session


class _Session:
    """What goes on with one peer."""

    def __init__(self, asking: Asking, peer: str, channel: PeerChannel) -> None:
        self.peer = peer
        self.channel = channel
        self.changed = asyncio.Event()
        self._asking = asking
        self._gate = asking.gate
        self._in_vain: dict[MigrationId, float] = {}
        """Since when (monotonic) each queued one has waited for a pmigd that does not answer."""
        self._remembered_until = 0.0
        self._tasks = Tasks(f"session with {peer}")
        self.task = self._tasks.begun(f"session-{peer}", self._run)

    def end(self) -> None:
        """End it, and do not wait for that.

        What was asked for here has to be asked for anew: nobody listens for the answer any more.
        """
        for iden in [iden for iden in self._gate.leases if self._goes_there(iden)]:
            del self._gate.leases[iden]
        self._tasks.cancel()

    async def stop(self) -> None:
        """End it, and return when it has ended."""
        self.end()
        await self._tasks.stop()

    def ask(self, migration: Migration) -> None:
        """Ask for a lease, now."""
        before = self._gate.leases.get(migration.id)
        now = self._asking.now().mono
        seq = self._asking.next_seq()
        since = now if before is None else before.since
        self._gate.leases[migration.id] = Lease(Standing.ASKING, since, seq)
        self._tasks.begin(
            f"ask-{migration.id}",
            partial(self._ask, migration, seq),
            failed=partial(self._not_asked, migration.id, FAILED),
            about=about(migration),
        )

    async def _ask(self, migration: Migration, seq: int) -> None:
        entry = _entry(migration, Phase.READY)
        try:
            answer = await self.channel.ask(
                LeaseAsk(source=self._asking.source, seq=seq, lease=entry)
            )
        except PeerAway as error:
            self._not_asked(migration.id, str(error))
        except PeerRefused as error:
            if error.problem.retryable:
                self._not_asked(migration.id, error.problem.detail)
            else:
                self._gate.leases.pop(migration.id, None)
                self._asking.migrations.post(migration.id, ev.NotAdmitted(error.problem))
        else:
            self._remembered_until = self._asking.now().mono + TTL_S
            self._apply(migration.id, answer)
            self._asking.migrations.pump()

    def _not_asked(self, iden: MigrationId, why: str) -> None:
        self._gate.leases.pop(iden, None)
        self._shut(why)

    async def _run(self) -> None:
        attempt = 0
        try:
            while not self._idle():
                try:
                    async with self.channel.events() as events:
                        await self._report()
                        attempt = 0
                        await self._talk(events)
                except* (PeerAway, PeerRefused) as group:
                    self._shut(str(group.exceptions[0]))
                except* Exception:
                    # Ended here, the session would leave those that wait for it waiting for ever.
                    log.exception("session failed", peer=self.peer)
                    self._shut(FAILED)
                self._give_up_on_the_patient()
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
        finally:
            # Nobody watches the door any more: whoever wants to go there next finds out.
            if self.peer in self._gate.doors:
                self._gate.doors[self.peer] = Door(leases=True)

    async def _talk(self, events: AsyncIterator[LeaseEvent]) -> None:
        """Listen, and report whatever changes, until there is nothing to say any more."""
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(events), name=f"listen-{self.peer}")
            idle_since: float | None = None
            while idle_since is None or self._asking.now().mono - idle_since < IDLE_S:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RENEW_EVERY_S):
                        await self.changed.wait()
                self.changed.clear()
                await self._report()
                if not self._idle():
                    idle_since = None
                elif idle_since is None:
                    idle_since = self._asking.now().mono
            listener.cancel()

    async def _listen(self, events: AsyncIterator[LeaseEvent]) -> None:
        async for event in events:
            self._apply(MigrationId(event.id), event.answer)
            self._asking.migrations.pump()

    async def _report(self) -> None:
        entries = tuple(self._entries())
        answers = await self.channel.report(
            LeaseReport(
                source=self._asking.source,
                seq=self._asking.next_seq(),
                leases=entries,
            )
        )
        if entries:
            # For so long a peer that restarts may have some of them from its journal, given back
            # or not: a session that breaks meanwhile is taken up again, and tells it.
            self._remembered_until = self._asking.now().mono + TTL_S
        for iden, answer in answers.leases.items():
            self._apply(MigrationId(iden), answer)
        self._open()

    def _entries(self) -> list[LeaseEntry]:
        """Everything that this host has or wants there."""
        migrations = self._asking.migrations
        entries = []
        for iden, lease in self._gate.leases.items():
            migration = migrations.get(iden)
            if migration is not None and migration.destination == self.peer:
                ready = lease.standing is not Standing.STEPPED_BACK
                entries.append(_entry(migration, Phase.READY if ready else Phase.NOT_READY))
        for iden in self._gate.taking:
            migration = migrations.get(iden)
            if migration is not None and migration.destination == self.peer:
                entries.append(_entry(migration, Phase.PREPARING))
        for migration in migrations.running():
            # Of an unresolved one nothing is held: if the guest is on its way, the peer sees that.
            ours = migration.direction is Direction.OUTGOING and not migration.external
            known = migration.state is not State.UNRESOLVED and migration.ending is None
            new = migration.id not in self._gate.taking
            if ours and known and new and migration.destination == self.peer:
                entries.append(_entry(migration, _phase(migration)))
        return entries

    def _apply(self, iden: MigrationId, answer: LeaseAnswer) -> None:
        """Take up what the peer says of a lease that is waited for.

        What is older than this host's last question about it is no answer to that: a grant that
        was given back since must not be used.
        """
        lease = self._gate.leases.get(iden)
        if lease is None or lease.standing is Standing.STEPPED_BACK or answer.seq < lease.seq:
            return
        if not self._goes_there(iden):
            return  # nobody may speak for another host
        match answer.state:
            case "granted":
                lease = replace(lease, standing=Standing.GRANTED, shortage=None)
            case "waiting":
                shortage, position = None, 0
                if (w := answer.waiting) is not None:
                    shortage, position = Shortage(w.resource, w.host, w.used, w.limit), w.position
                lease = replace(
                    lease, standing=Standing.WAITING, shortage=shortage, position=position
                )
            case "refused":
                self._asking.migrations.post(iden, ev.NotAdmitted(_refusal(self.peer, answer)))
        self._gate.leases[iden] = lease

    def _idle(self) -> bool:
        """Nothing is wanted or under way there, and the peer knows, or has forgotten, that."""
        if self._gate.queue.any_to(self.peer) or self._entries():
            return False
        return self._asking.now().mono >= self._remembered_until

    def _open(self) -> None:
        if self._gate.door(self.peer).shut is not None:
            log.info("peer answers again", peer=self.peer)
        self._in_vain.clear()
        if self.peer in self._gate.doors:
            self._gate.doors[self.peer] = Door(leases=True)
        self._asking.migrations.pump()

    def _shut(self, detail: str) -> None:
        if self._gate.door(self.peer).shut is None:
            log.warning("peer does not answer", peer=self.peer, detail=detail)
        # What it granted may be over by the time it answers again.
        for iden in [x for x, lease in self._gate.leases.items() if self._may_be_over(x, lease)]:
            lease = self._gate.leases[iden]
            self._gate.leases[iden] = replace(lease, standing=Standing.STEPPED_BACK)
        shortage = Shortage(PEER, self.peer, 0, 0)
        self._gate.doors[self.peer] = Door(leases=True, shut=shortage, detail=detail)
        # Others may go where this one cannot.
        self._asking.migrations.pump()

    def _may_be_over(self, iden: MigrationId, lease: Lease) -> bool:
        return lease.standing is Standing.GRANTED and self._goes_there(iden)

    def _goes_there(self, iden: MigrationId) -> bool:
        migration = self._asking.migrations.get(iden)
        return migration is not None and migration.destination == self.peer

    def _give_up_on_the_patient(self) -> None:
        """What has waited too long for a pmigd that does not answer fails."""
        if self._gate.door(self.peer).shut is None:
            return
        now, patience_s = self._asking.now().mono, self._asking.patience_s
        queued = self._gate.queue.to(self.peer)
        self._in_vain = {entry.id: self._in_vain.get(entry.id, now) for entry in queued}
        detail = self._gate.door(self.peer).detail
        problem = Problem(
            Code.PEER_UNAVAILABLE,
            f"pmigd of {self.peer} did not answer for {patience_s:g} s: {detail}",
        )
        for iden, since in self._in_vain.items():
            if now - since >= patience_s:
                self._asking.migrations.post(iden, ev.NotAdmitted(problem))


def _refusal(peer: str, answer: LeaseAnswer) -> Problem:
    """Why a destination will never take a migration, in its words."""
    problems = {finding.problem for finding in answer.findings}
    known = problems.pop() if len(problems) == 1 else ""
    code = Code(known) if known in Code.__members__.values() else Code.REFUSED_BY_DESTINATION
    detail = " ".join(finding.detail for finding in answer.findings)
    return Problem(code, detail or f"{peer} gave no reason.")


def _entry(migration: Migration, phase: Phase) -> LeaseEntry:
    return LeaseEntry(
        id=migration.id,
        domain=migration.domain,
        phase=phase,
        priority=migration.request.priority,
        ports=ports_of(migration),
        login=login_of(migration.target.uri if migration.target else ""),
        traceparent=migration.trace.traceparent if migration.trace else "",
        transport=migration.request.transport,
    )


def _phase(migration: Migration) -> Phase:
    """The phase of one that runs."""
    held = held_of(migration)
    return Phase.FINISHING if held is None else held.phase
