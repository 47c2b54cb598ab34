"""Carries out what the engine wants done about one migration, and reports what came of it.

Each effect runs as a task of its own, so that a slow answer from libvirt never keeps an abort
waiting. Each command has a permit, which is taken back in the moment in which the ledger has no use
for it any more: what was not begun by then is not made. The lines that could change which copy of a
guest runs are in `_resume` and `_abort`: both look again at what allows them right before they act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, assert_never

import structlog

from pmigd.adapters.tasks import Tasks, Work
from pmigd.core import events as ev
from pmigd.core.autostart import Flags
from pmigd.core.canonical import about
from pmigd.core.commands import SETTINGS, Command, Kind
from pmigd.core.defects import cannot_recover
from pmigd.core.effects import Do, Effect, Look, Prepare, ReadSettings, Wake
from pmigd.core.facts import Question
from pmigd.core.finding import Level, blocking
from pmigd.core.model import (
    UNASKED,
    Direction,
    Migration,
    Power,
    Sample,
    Settings,
    Target,
    View,
)
from pmigd.core.plan import make_plan
from pmigd.core.ports import Hypervisor, NotMade, Ticket
from pmigd.core.problem import Code, Problem, Refused, refuse
from pmigd.core.verdict import judge
from pmigd.daemon.preflight import examine
from pmigd.wire.peer import Examination

QUIET_DEADLINE_S: Final = 10.0
"""How long a new migration waits for a command of the guest's last one that is still out."""

log = structlog.get_logger()

_MISTAKE: Final = Problem(Code.INTERNAL, "The daemon's log has the details.")


class Peers(Protocol):
    """The destinations' pmigd, where they have one: :class:`pmigd.daemon.asking.Asking`."""

    async def look(self, migration: Migration) -> tuple[View, Sample | None] | None:
        """What the destination's pmigd says it has of the guest; None where it cannot say."""

    async def look_back(self, migration: Migration, here: View) -> View:
        """What the source of a guest that comes in says of it, if the copy `here` may be left over;
        UNASKED where it is not, or where nobody can say."""

    async def examine(self, target: Target, question: Question) -> Examination | Problem | None:
        """What the destination's pmigd sees of its host; None where it cannot say."""


class _Permit:
    """A command's permit: read by the thread that makes its call, right before it."""

    __slots__ = ("wanted",)

    def __init__(self) -> None:
        self.wanted = True


class Conductor:
    """The tasks of one migration. `report` takes the events that come of them."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        report: Callable[[ev.Event], None],
        peers: Peers,
    ) -> None:
        self._hypervisor = hypervisor
        self._report = report
        self._peers = peers
        self._tasks = Tasks("conductor")
        self._pending_look: asyncio.Task[None] | None = None
        self._permits: dict[int, _Permit] = {}
        self._tickets: dict[int, Ticket] = {}
        self._latest: Migration | None = None

    def stop(self) -> None:
        """Wait for nothing any more. A migrate call that is out goes on in libvirt."""
        for permit in self._permits.values():
            permit.wanted = False
        self._tasks.cancel()

    def follow(self, migration: Migration) -> None:
        """Take back what the ledger has no use for any more.

        An abort prevents a migrate call that is not made yet, whether libvirt answers or not.
        """
        self._latest = migration
        pending = {command.id for command in migration.commands if command.pending}
        for number, permit in self._permits.items():
            permit.wanted = number in pending
        if migration.pending(Kind.ABORT) is not None:
            for ticket in self._tickets.values():
                ticket.withdraw()

    def carry_out(self, effect: Effect, migration: Migration) -> None:
        """Begin `effect`."""
        about_it = f"{type(effect).__name__} {migration.id}"
        match effect:
            case Prepare():
                work = partial(self._prepare, migration)
                _ = self._begin(about_it, migration, work, ev.PrepareFailed(_MISTAKE))
            case Do(command):
                name = f"{command.kind} {migration.id}"
                work = partial(self._do, migration, command)
                self._permits[command.id] = _Permit()
                _ = self._begin(name, migration, work, ev.Answered(command.id, _MISTAKE))
            case ReadSettings():
                work = partial(self._read_settings, migration)
                _ = self._begin(about_it, migration, work, ev.Ticked())
            case Wake(after_s):
                _ = self._begin(about_it, migration, partial(self._wake, after_s), ev.Ticked())
            case Look(after_s, heard):
                # A question that still waits for its time is overtaken by a newer one.
                if self._pending_look is not None:
                    self._pending_look.cancel()
                work = partial(self._look, migration, after_s, heard)
                otherwise = ev.Looked(UNASKED, UNASKED)
                self._pending_look = self._begin(about_it, migration, work, otherwise)
            case _:
                assert_never(effect)

    def _begin(
        self, name: str, migration: Migration, work: Work, otherwise: ev.Event
    ) -> asyncio.Task[None]:
        """Begin `work`; if a mistake of ours ends it, `otherwise` is reported, never nothing."""
        return self._tasks.begun(
            name, work, failed=lambda: self._report(otherwise), about=about(migration)
        )

    async def _prepare(self, migration: Migration) -> None:
        try:
            await self._quiet(migration)
            self._report(await self._checked(migration))
        except Refused as refused:
            self._report(ev.PrepareFailed(refused.problem))

    async def _quiet(self, migration: Migration) -> None:
        """Nothing that was asked for in the guest's last migration may hit this one."""
        try:
            async with asyncio.timeout(QUIET_DEADLINE_S):
                await self._hypervisor.quiet(migration.domain)
        except TimeoutError:
            detail = f"libvirt has not answered an earlier command about '{migration.domain.name}'."
            raise refuse(Code.DOMAIN_BUSY, detail) from None

    async def _checked(self, migration: Migration) -> ev.Event:
        """Look at the guest and the destination before the call. Reads only."""
        target = target_of(migration)
        request = migration.request
        here = await self._hypervisor.examine_guest(migration.domain.uuid, request.xml)
        examined = await examine(self._hypervisor, self._peers.examine, request, target, here)
        if (problem := blocking(examined.findings)) is not None:
            return ev.PrepareFailed(problem)
        for finding in examined.findings:
            if finding.level is Level.WARN:
                log.warning("check", **about(migration), found=finding.code, detail=finding.detail)
        plan = make_plan(
            request,
            target,
            guest_is_persistent=here.view.persistent,
            guest_is_active=not here.view.gone,
            flags=Flags(here.autostart, examined.autostart),
        )
        return ev.Prepared(
            plan,
            because_before=here.view.because,
            paused_before=here.view.power is not Power.RUNNING,
            destination_uuid=examined.destination.host_uuid if examined.destination else "",
            run_before=here.view.run,
            unknown_there=examined.unknown_there,
        )

    async def _do(self, migration: Migration, command: Command) -> None:
        """Carry out a command and say what came of it."""
        try:
            found = await self._call(migration, command)
        except NotMade as not_made:
            self._report(ev.Answered(command.id, not_made.problem, made=False))
        except Refused as refused:
            self._report(ev.Answered(command.id, refused.problem))
        else:
            self._report(ev.Answered(command.id, found=found))
        finally:
            self._permits.pop(command.id, None)
            self._tickets.pop(command.id, None)

    async def _call(self, migration: Migration, command: Command) -> bool:
        """Make the call of libvirt. False: there was nothing to do it to.

        Raises NotMade, and Refused with libvirt's refusal.
        """
        hypervisor, domain = self._hypervisor, migration.domain
        permit = self._permits[command.id]
        match command.kind:
            case Kind.PERFORM:
                return await self._migrate(migration, command)
            case Kind.RECOVER:
                await self._check_recovery(migration)
                return await self._migrate(migration, command)
            case Kind.ABORT:
                # Only an outgoing migration job is aborted, and libvirt itself refuses in
                # post-copy: the incoming copy that ends with it has never run.
                return await hypervisor.abort_job(domain, permit)
            case Kind.SUSPEND:
                return await hypervisor.suspend(domain, permit)
            case Kind.RESUME:
                return await self._resume(migration, permit)
            case Kind.POSTCOPY:
                return await hypervisor.start_postcopy(domain, permit)
            case Kind.AUTOSTART_OFF | Kind.AUTOSTART_BACK:
                on = command.kind is Kind.AUTOSTART_BACK
                return await hypervisor.autostart_here(domain, on, permit)
            case Kind.AUTOSTART_THERE:
                there = target_of(migration)
                return await hypervisor.autostart_there(there, domain, bool(command.value), permit)
            case setting if setting in SETTINGS:
                settings = Settings(**{setting.value: command.value})
                return await hypervisor.change(domain, settings, permit)
            case note:
                raise ValueError(f"{note} is a note, and nothing to be done")

    async def _migrate(self, migration: Migration, command: Command) -> bool:
        if migration.plan is None:
            raise ValueError(f"migration {migration.id} has no plan")
        ticket = self._hypervisor.perform(
            migration.domain, migration.plan, resume=command.kind is Kind.RECOVER
        )
        self._tickets[command.id] = ticket
        if (failure := await ticket.answer()) is not None:
            raise Refused(failure)
        return True

    async def _check_recovery(self, migration: Migration) -> None:
        try:
            await check_recovery(self._hypervisor, migration)
        except Refused as refused:
            raise NotMade(refused.problem) from refused

    async def _read_settings(self, migration: Migration) -> None:
        try:
            self._report(ev.SettingsRead(await self._hypervisor.settings(migration.domain)))
        except Refused as refused:
            log.debug("settings not read", **about(migration), detail=refused.problem.detail)

    async def _wake(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._report(ev.Ticked())

    async def _resume(self, migration: Migration, permit: _Permit) -> bool:
        # Proof, taken now: the copy here is paused without a job, and the destination answers
        # that it has none. Anything else goes back to the engine as a new look at both ends.
        seen = await self._look_at_both(migration, by_libvirt=True)
        latest = self._latest or migration
        verdict = judge(
            latest.evidence,
            latest.call,
            seen.source,
            seen.destination,
            suspended=latest.suspended,
        )
        if not verdict.resume_source:
            self._report(seen)
            return False
        return await self._hypervisor.resume(migration.domain, permit)

    async def _look(self, migration: Migration, after_s: float, heard: int) -> None:
        await asyncio.sleep(after_s)
        self._pending_look = None
        self._report(replace(await self._look_at_both(migration), heard=heard))

    async def _look_there(
        self, migration: Migration, *, by_libvirt: bool
    ) -> tuple[View, Sample | None]:
        """Ask the destination's pmigd, or where that cannot say its libvirt. Never raises."""
        told = None if by_libvirt else await self._peers.look(migration)
        if told is not None:
            return told
        return await self._hypervisor.look_there(
            target_of(migration), migration.domain, completed=Direction.INCOMING
        )

    async def _look_at_both(self, migration: Migration, *, by_libvirt: bool = False) -> ev.Looked:
        """Ask the source, and when it has answered the destination.

        The order is what makes the two answers one proof: see :mod:`pmigd.core.verdict`. Of a
        migration that others started this end is asked first, and of what comes in then the source,
        where its pmigd can say. `by_libvirt`: nobody else's word counts for what is about to be
        done.
        """
        here, final = await self._hypervisor.look_here(
            migration.domain, completed=migration.direction
        )
        if migration.external:
            return ev.Looked(here, await self._peers.look_back(migration, here), final)
        if here.power is Power.UNKNOWN:
            return ev.Looked(here, UNASKED)  # no answer of the destination would settle it
        there, final_there = await self._look_there(migration, by_libvirt=by_libvirt)
        return ev.Looked(here, there, final or final_there)


def target_of(migration: Migration) -> Target:
    """Where `migration` goes; only those that others started have no target."""
    if migration.target is None:
        raise ValueError(f"migration {migration.id} has no target")
    return migration.target


async def check_recovery(hypervisor: Hypervisor, migration: Migration) -> None:
    """Raise Refused if a broken post-copy cannot be gone on with now: asks the destination."""
    host, _ = await hypervisor.examine_peer(target_of(migration), migration.domain)
    if (problem := cannot_recover(host)) is not None:
        raise Refused(problem)
