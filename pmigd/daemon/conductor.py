"""Carries out what the engine wants done about one migration, and reports what came of it.

Each effect runs as a task of its own, so that a slow answer from libvirt never keeps an abort
waiting. The lines that could change which copy of a guest runs are in `_resume` and `_abort`:
both look again at what allows them right before they act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, assert_never

import structlog

from pmigd.core import events as ev
from pmigd.core.canonical import about
from pmigd.core.effects import (
    AbortJob,
    Effect,
    Look,
    Perform,
    Prepare,
    Recover,
    ResumeSource,
    SetMaxDowntime,
    StartPostcopy,
    SuspendGuest,
)
from pmigd.core.facts import Question
from pmigd.core.finding import Level, blocking
from pmigd.core.model import (
    UNASKED,
    Direction,
    Migration,
    Plan,
    Power,
    Sample,
    Target,
    View,
)
from pmigd.core.plan import make_plan
from pmigd.core.ports import Hypervisor, NotMade, Settings, Ticket
from pmigd.core.problem import Code, Problem, Refused
from pmigd.core.verdict import judge
from pmigd.core.versions import cannot_recover
from pmigd.daemon.preflight import examine
from pmigd.wire.peer import Examination

log = structlog.get_logger()

_Work = Callable[[], Coroutine[Any, Any, None]]
_MISTAKE: Final = Problem(Code.INTERNAL, "The daemon's log has the details.")


class Peers(Protocol):
    """The destinations' pmigd, where they have one: :class:`pmigd.daemon.asking.Asking`."""

    async def look(self, migration: Migration) -> tuple[View, Sample | None] | None:
        """What the destination's pmigd says it has of the guest; None where it cannot say."""

    async def examine(self, target: Target, question: Question) -> Examination | None:
        """What the destination's pmigd sees of its host; None where it cannot say."""


class _Wanted:
    """The permit of a command that is always wanted."""

    wanted = True


WANTED: Final = _Wanted()
_NO_JOB: Final = Problem(Code.WRONG_STATE, "libvirt has no outgoing migration of it.")


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending_look: asyncio.Task[None] | None = None
        self._ticket: Ticket | None = None

    def stop(self) -> None:
        """Wait for nothing any more. A migrate call that is out goes on in libvirt."""
        for task in self._tasks:
            task.cancel()

    def carry_out(self, effect: Effect, migration: Migration) -> None:
        """Begin `effect`."""
        name = type(effect).__name__
        match effect:
            case Prepare():
                self._begin(name, partial(self._prepare, migration), ev.PrepareFailed(_MISTAKE))
            case Perform(plan):
                work = partial(self._perform, migration, plan)
                self._begin(name, work, ev.CallReturned(_MISTAKE))
            case Recover(plan):
                work = partial(self._recover, migration, plan)
                self._begin(name, work, ev.CallReturned(_MISTAKE))
            case StartPostcopy(after_s):
                work = partial(self._postcopy, migration, after_s)
                self._begin(name, work, ev.PostcopyAnswered(_MISTAKE))
            case SetMaxDowntime(max_downtime_ms):
                work = partial(self._set, migration, Settings(max_downtime_ms=max_downtime_ms))
                self._begin(name, work, ev.Ticked())
            case AbortJob(after_s):
                if self._ticket is not None:
                    self._ticket.withdraw()
                work = partial(self._abort, migration, after_s)
                self._begin(name, work, ev.AbortAnswered(_MISTAKE))
            case SuspendGuest():
                self._begin(name, partial(self._suspend, migration), ev.SuspendAnswered(_MISTAKE))
            case ResumeSource():
                self._begin(name, partial(self._resume, migration), ev.ResumeAnswered(_MISTAKE))
            case Look(after_s):
                # A question that still waits for its time is overtaken by a newer one.
                if self._pending_look is not None:
                    self._pending_look.cancel()
                work = partial(self._look, migration, after_s)
                self._pending_look = self._task(name, work, ev.Looked(UNASKED, UNASKED))
            case _:
                assert_never(effect)

    def _begin(self, name: str, work: _Work, otherwise: ev.Event) -> None:
        _ = self._task(name, work, otherwise)

    def _task(self, name: str, work: _Work, otherwise: ev.Event) -> asyncio.Task[None]:
        """Begin `work`; if a mistake of ours ends it, `otherwise` is reported, never nothing."""

        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("effect failed", effect=name)
                self._report(otherwise)

        task = asyncio.get_running_loop().create_task(guarded(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _prepare(self, migration: Migration) -> None:
        try:
            self._report(await self._checked(migration))
        except Refused as refused:
            self._report(ev.PrepareFailed(refused.problem))

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
        )
        return ev.Prepared(
            plan,
            because_before=here.view.because,
            paused_before=here.view.power is not Power.RUNNING,
            destination_uuid=examined.destination.host_uuid if examined.destination else "",
        )

    async def _perform(self, migration: Migration, plan: Plan, *, resume: bool = False) -> None:
        self._ticket = self._hypervisor.perform(migration.domain, plan, resume=resume)
        try:
            failure = await self._ticket.answer()
        except NotMade as not_made:
            failure = not_made.problem
        self._report(ev.CallReturned(failure))

    async def _recover(self, migration: Migration, plan: Plan) -> None:
        try:
            await check_recovery(self._hypervisor, migration)
        except Refused as refused:
            self._report(ev.CallReturned(refused.problem))
        else:
            await self._perform(migration, plan, resume=True)

    async def _abort(self, migration: Migration, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            # Only an outgoing migration job is aborted, and libvirt itself refuses in post-copy:
            # the incoming copy that ends with it has never run.
            found = await self._hypervisor.abort_job(migration.domain, WANTED)
        except Refused as refused:
            self._report(ev.AbortAnswered(refused.problem))
        else:
            self._report(ev.AbortAnswered(None, no_job=not found))

    async def _postcopy(self, migration: Migration, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            found = await self._hypervisor.start_postcopy(migration.domain, WANTED)
        except Refused as refused:
            self._report(ev.PostcopyAnswered(refused.problem))
        else:
            self._report(ev.PostcopyAnswered(None if found else _NO_JOB))

    async def _set(self, migration: Migration, settings: Settings) -> None:
        try:
            await self._hypervisor.change(migration.domain, settings, WANTED)
        except Refused as refused:
            log.warning("setting refused", **about(migration), detail=refused.problem.detail)

    async def _suspend(self, migration: Migration) -> None:
        try:
            found = await self._hypervisor.suspend(migration.domain, WANTED)
        except Refused as refused:
            self._report(ev.SuspendAnswered(refused.problem))
        else:
            self._report(ev.SuspendAnswered(None if found else _NO_JOB))

    async def _resume(self, migration: Migration) -> None:
        # Proof, taken now: the copy here is paused without a job, and the destination answers
        # that it has none. Anything else goes back to the engine as a new look at both ends.
        seen = await self._look_at_both(migration, by_libvirt=True)
        verdict = judge(
            migration.evidence, seen.source, seen.destination, suspended=migration.suspended
        )
        if not verdict.resume_source:
            self._report(seen)
            return
        try:
            await self._hypervisor.resume(migration.domain, WANTED)
        except Refused as refused:
            self._report(ev.ResumeAnswered(refused.problem))
        else:
            self._report(ev.ResumeAnswered(None))

    async def _look(self, migration: Migration, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._pending_look = None
        self._report(await self._look_at_both(migration))

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
        """Ask both ends at once; of a migration that others started only this end is known.

        `by_libvirt`: nobody else's word counts for what is about to be done.
        """
        here = self._hypervisor.look_here(migration.domain, completed=migration.direction)
        if migration.external:
            view, final = await here
            return ev.Looked(view, UNASKED, final)
        there = self._look_there(migration, by_libvirt=by_libvirt)
        (source, final), (destination, final_there) = await asyncio.gather(here, there)
        return ev.Looked(source, destination, final or final_there)


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
