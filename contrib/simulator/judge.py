"""Compares what pmigd says with what is, at every step and at the end.

Safety is judged at every step: a verdict is true when it is given, or it is wrong. What libvirt
itself has split in two, and what nobody can know any more, is told apart.
"""

from __future__ import annotations

from collections import Counter

from contrib.simulator.job import Stage
from contrib.simulator.world import PAUSED, World
from pmigd.core.commands import Kind
from pmigd.core.holdings import held_of
from pmigd.core.leases import Book, key_of
from pmigd.core.model import Direction, Migration, MigrationId, State
from pmigd.core.problem import Code
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate

_ELSEWHERE = (Code.POSTCOPY_LOST, Code.ANOTHER_RUN)
"""Where the guest is, and whose flag it has, is then not for pmigd to say."""


class Judge:
    """Looks at every step of every migration."""

    def __init__(self, world: World, outgoing: int, incoming: int, workers: int) -> None:
        self.world = world
        self._outgoing = outgoing
        self._incoming = incoming
        self._workers = workers
        self.ends: Counter[str] = Counter()
        self.numbers: dict[MigrationId, int] = {}
        self.aborts: set[MigrationId] = set()
        self.resolved: set[MigrationId] = set()
        self.seen: set[State] = set()
        self._began: dict[MigrationId, float] = {}
        self.unsure = False
        """Something was unresolved: what that holds, nobody counts."""

    def name(self, host: str, m: Migration) -> str:
        """A migration for the story."""
        number = self.numbers.get(m.id)
        what = f"migration {number}" if number is not None else "a migration"
        if m.external:
            what = f"what {m.direction} {host} sees"
        return f"{what} of {m.domain.name}"

    def stepped(self, host: str, before: Migration | None, after: Migration) -> None:
        """A step was taken."""
        if before is not None and before.state is after.state:
            return
        self.unsure |= after.state is State.UNRESOLVED
        self._began.setdefault(after.id, self.world.now)
        if not after.external:
            self.seen.add(after.state)
            self._boots(host, after)
        problem = f" ({after.problem.code}: {after.problem.detail})" if after.problem else ""
        self.world.note(f"{host}: {self.name(host, after)} is {after.state}{problem}")
        if after.state.terminal and (before is None or before.open):
            for command in after.commands:
                if command.pending:
                    self.world.fault(
                        f"owed for ever: {self.name(host, after)} is {after.state}, and its "
                        f"{command.kind} is still pending"
                    )
            if not after.external:
                self.ends[after.state] += 1
                self._verdict(host, after)

    def account(self, host: str, gate: Gate, migrations: Controller, book: Book) -> None:
        """What is held is what runs and what is leased, and what really runs is in the limits."""
        held = dict(gate.account)
        due = {key_of(lease.id): lease.held for lease in book if lease.granted}
        for m in migrations.running():
            if m.id in gate.taking:
                continue
            needs = held_of(m)
            leased = m.direction is Direction.INCOMING and gate.coming(m.domain.uuid)
            if needs is not None and not leased:
                due[m.id] = needs
        for iden in gate.taking:
            if iden in held:
                due[iden] = held[iden]
        if held != due:
            self.world.fault(
                f"wrong account: {host} holds {sorted(held)}, and should hold {sorted(due)}"
            )
        self._limits(host)

    def _limits(self, host: str) -> None:
        moves = [
            job
            for job in self.world.moves.values()
            if job.source.job is job and not job.stage.over and not job.unattended
        ]
        leaving = sum(job.source.host == host for job in moves)
        coming = sum(job.target == host for job in moves)
        if self.unsure:
            return
        for what, number, limit in (
            ("leave", leaving, self._outgoing),
            ("come", coming, self._incoming),
            ("leave and come", leaving + coming, max(1, self._workers - 1)),
        ):
            if number > limit:
                self.world.fault(f"over the limit: {number} {what} at {host}, where {limit} may")

    def _verdict(self, host: str, m: Migration) -> None:
        guest = self.world.guests.get(m.domain.uuid)
        if guest is None or guest.split or m.id in self.resolved:
            return
        job = self.world.moves.get(m.id)
        # Half a guest has not arrived: where post-copy broke, what was not sent is lost.
        half = job is not None and job.stage is Stage.BROKEN
        arrived = job is not None and job.arrived and not half
        about = self.name(host, m)
        if m.state is State.SUCCEEDED and not (arrived or self._came(m)):
            self.world.fault(f"untrue success: {about} has succeeded, and the guest never arrived")
        if m.problem is not None and m.problem.code is Code.POSTCOPY_LOST and not half:
            self.world.fault(f"untrue loss: {about} has lost nothing")
        if (
            m.state in (State.FAILED, State.CANCELLED)
            and arrived
            and not (guest.ended or self._home_unseen(m))
        ):
            self.world.fault(f"untrue failure: {about} is {m.state}, and the guest has arrived")
        if job is not None and job.source.job is job and not job.stage.over:
            self.world.fault(f"too early: {about} is {m.state}, and libvirt's job goes on")

    def _boots(self, host: str, m: Migration) -> None:
        """No boot of the source begins a second copy; one whose guest stayed begins it again."""
        guest = self.world.guests.get(m.domain.uuid)
        copy = self.world.machines[m.source].copies.get(m.domain.uuid)
        if guest is None or copy is None or not copy.defined or not guest.autostart:
            return
        about = self.name(host, m)
        job = self.world.moves.get(m.id)
        there = job.destination if job is not None else None
        if copy.autostart and there is not None and there.executes:
            self.world.fault(f"two copies at a boot: {about} has autostart on at its source")
        # Whoever moves a guest by hand does not carry the flag along.
        taken = any(c.kind is Kind.AUTOSTART_OFF and c.made for c in m.commands)
        elsewhere = m.problem is not None and m.problem.code in _ELSEWHERE
        over = m.state in (State.FAILED, State.CANCELLED) and not elsewhere
        stayed = copy.active and not copy.incoming and over
        if taken and stayed and not copy.autostart:
            self.world.fault(f"no copy at a boot: {about} stayed, and its autostart is off")

    def _came(self, m: Migration) -> bool:
        """Somebody else may have brought the guest where this one was to bring it."""
        began = self._began.get(m.id, 0.0)
        here = (m.domain.uuid, m.destination)
        return any((uuid, to) == here and at >= began for at, uuid, to in self.world.arrivals)

    def _home_unseen(self, m: Migration) -> bool:
        """It went and came back while pmigd was dead: nobody can tell that from having stayed."""
        copy = self.world.machines[m.source].copies.get(m.domain.uuid)
        return m.adopted and copy is not None and copy.active and not copy.incoming

    def may_stay_unresolved(self, m: Migration) -> bool:
        """Whether not even pmigd can know what became of it, so that a person has to look.

        What libvirt split, what is left paused beside a guest that nobody saw end, and what has
        ended for good while nobody watched.
        """
        guest = self.world.guests[m.domain.uuid]
        if guest.split or guest.ended:
            return True
        copies = [c for c in self.world.copies_of(guest) if c.active]
        running = [c for c in copies if c.executes]
        return len(copies) != 1 or not running

    def copies(self) -> None:
        """At the end nobody is left paused by pmigd, and nobody runs twice."""
        for guest in self.world.guests.values():
            runs = bool(self.world.executing(guest))
            for copy in self.world.copies_of(guest) if not runs else ():
                if copy.state == PAUSED and copy.suspended_by_pmigd and copy.job is None:
                    self.world.fault(
                        f"left paused: {guest.name} on {copy.host}, by pmigd, with nobody to "
                        "let it run on"
                    )
            if len(self.world.executing(guest)) > 1 and not guest.split:
                self.world.fault(f"two copies: {guest.name} runs on more than one host")
