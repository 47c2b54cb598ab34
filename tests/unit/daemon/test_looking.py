"""In which order both ends are asked: it is what makes their two answers one proof."""

from __future__ import annotations

import asyncio
from typing import Any

import libvirt

from pmigd.adapters.libvirt.looks import view
from pmigd.core import events as ev
from pmigd.core.effects import Look
from pmigd.core.model import UNASKED, Direction, Job, View
from pmigd.daemon.conductor import Conductor
from tests.support.build import ARRIVED, LEFT, RUNS, SILENT, STARTING, migration


class Ends:
    """A hypervisor and the peers, as far as they are asked where a guest is; each takes a while."""

    def __init__(self, here: View, there: View) -> None:
        self.here, self.there = here, there
        self.heard: list[str] = []

    async def _answer(self, who: str, view: View) -> View:
        self.heard.append(f"{who} is asked")
        await asyncio.sleep(0)
        self.heard.append(f"{who} answers")
        return view

    async def look_here(self, *_: Any, **__: Any) -> tuple[View, None]:
        return await self._answer("this host", self.here), None

    async def look_there(self, *_: Any, **__: Any) -> tuple[View, None]:
        return await self._answer("the other", self.there), None

    async def look(self, _: Any) -> None:
        return

    async def look_back(self, _: Any, here: View) -> View:
        assert here is self.here
        return await self._answer("the other", self.there)


def looked(ends: Ends, **changes: Any) -> ev.Looked:
    """What a look reports."""
    reported: list[ev.Event] = []

    async def look() -> None:
        acting = Conductor(ends, reported.append, ends)  # type: ignore[arg-type]
        acting.carry_out(Look(heard=7), migration(**changes))
        while not reported:
            await asyncio.sleep(0)

    asyncio.run(look())
    (event,) = reported
    assert isinstance(event, ev.Looked)
    return event


ONE_AFTER_THE_OTHER = [
    "this host is asked",
    "this host answers",
    "the other is asked",
    "the other answers",
]


def test_the_destination_is_asked_when_the_source_has_answered() -> None:
    ends = Ends(LEFT, ARRIVED)
    assert looked(ends) == ev.Looked(LEFT, ARRIVED, heard=7)
    assert ends.heard == ONE_AFTER_THE_OTHER


def test_of_what_comes_in_the_source_is_asked_when_this_host_has_answered() -> None:
    ends = Ends(STARTING, RUNS)
    incoming = {"external": True, "direction": Direction.INCOMING, "target": None}
    assert looked(ends, **incoming) == ev.Looked(STARTING, RUNS, heard=7)
    assert ends.heard == ONE_AFTER_THE_OTHER


def test_without_the_sources_answer_the_destinations_would_settle_nothing() -> None:
    ends = Ends(SILENT, ARRIVED)
    assert looked(ends) == ev.Looked(SILENT, UNASKED, heard=7)
    assert ends.heard == ONE_AFTER_THE_OTHER[:2]


class EndingJob:
    """A domain whose job ends between two questions, after it was stopped and runs again."""

    def __init__(self) -> None:
        self.ended = False

    def _now(self) -> bool:
        ended, self.ended = self.ended, True
        return ended

    def jobStats(self, _: int) -> dict[str, Any]:  # noqa: N802
        outgoing = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        running = {"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED, "operation": outgoing}
        return {"type": libvirt.VIR_DOMAIN_JOB_NONE} if self._now() else running

    def state(self, _: int) -> list[int]:
        again = libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED
        booted = libvirt.VIR_DOMAIN_RUNNING_BOOTED
        return [libvirt.VIR_DOMAIN_RUNNING, again if self._now() else booted]

    def isPersistent(self) -> int:  # noqa: N802
        return 1

    def ID(self) -> int:  # noqa: N802
        return 3


def test_a_state_from_before_the_end_of_the_job_is_never_seen_without_the_job() -> None:
    """Else a guest that was stopped for the switch-over would look as if it never had been."""
    seen, _ = view(EndingJob())  # type: ignore[arg-type]
    assert seen.job is Job.OUTGOING
    assert seen.run == 3


def test_a_mistake_of_ours_names_the_migration_in_the_log_and_is_an_answer() -> None:
    class Mistaken(Ends):
        async def look_here(self, *_: Any, **__: Any) -> tuple[View, None]:
            asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said))
            raise ZeroDivisionError

    told: list[dict[str, Any]] = []
    seen = looked(Mistaken(RUNS, RUNS))
    assert (seen.source, seen.destination) == (UNASKED, UNASKED)
    (said,) = told
    whose = migration()
    assert (said["about"]["migration"], said["about"]["domain"]) == (whose.id, whose.domain.name)
