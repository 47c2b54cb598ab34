"""What the watcher looks at: one guest that does not answer, or a mistake, stops nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import structlog
from structlog.testing import capture_logs

from pmigd.adapters.tasks import hear
from pmigd.core import events as ev
from pmigd.core.model import (
    Because,
    Direction,
    Domain,
    Job,
    Migration,
    MigrationId,
    Power,
    Request,
    Sample,
    Settings,
    State,
    View,
)
from pmigd.core.ports import DomainFacts
from pmigd.core.problem import Code, refuse
from pmigd.daemon import watcher as module
from pmigd.daemon.watcher import Watcher

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""When everything here happens."""


def domain(name: str) -> Domain:
    return Domain(name, f"uuid-{name}")


def migration(name: str) -> Migration:
    return Migration(
        id=MigrationId(f"id-{name}"),
        request=Request(name, ""),
        domain=domain(name),
        source="hosta",
        destination="hostb",
        created_at=NOW,
        external=True,
        state=State.PRECOPY,
    )


@dataclass
class Hypervisor:
    """Guests by what becomes of a look at them."""

    hanging: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    listed: list[str] = field(default_factory=list)
    connected: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)
    hung: dict[str, int] = field(default_factory=dict)

    async def _answer(self, what: str, name: str) -> None:
        self.asked.append((what, name))
        if name in self.broken:
            raise ZeroDivisionError(name)
        if name in self.hanging:
            await asyncio.sleep(0.01)
            self.hung[name] = 1
            raise refuse(Code.LIBVIRT_UNAVAILABLE, f"'{name}' hangs")

    async def domains(self) -> list[DomainFacts]:
        await self._answer("list", "all")
        return [
            DomainFacts(domain(n), View(Power.RUNNING, Because.OTHER, run=self.runs.get(n, 1)))
            for n in self.listed
        ]

    async def lookup(self, uuid: str) -> DomainFacts:
        name = uuid.removeprefix("uuid-")
        await self._answer("lookup", name)
        run = self.runs.get(name, 1)
        return DomainFacts(domain(name), View(Power.RUNNING, job=Job.OUTGOING, run=run))

    async def sample(self, of: Domain) -> tuple[Job, Sample | None]:
        await self._answer("sample", of.name)
        return Job.OUTGOING, Sample(NOW)

    async def settings(self, of: Domain) -> Settings:
        await self._answer("settings", of.name)
        return Settings(max_downtime_ms=300)

    async def look_here(self, of: Domain, *, completed: Direction) -> tuple[View, None]:
        await self._answer("look", of.name)
        return View(Power.RUNNING), None


class Controller:
    """What was posted, and what was found to be others'."""

    loaded = True
    left_behind: frozenset[tuple[str, int]] = frozenset()

    def __init__(self, *running: Migration) -> None:
        self._running = list(running)
        self.posted: list[tuple[str, ev.Event]] = []
        self.began: list[str] = []

    def running(self) -> list[Migration]:
        return self._running

    def of_domain(self, uuid: str) -> Migration | None:
        return next((m for m in self._running if m.domain.uuid == uuid), None)

    def is_left_behind(self, uuid: str, run: int) -> bool:
        return (uuid, run) in self.left_behind

    def begin_external(self, found: Domain, direction: Direction) -> None:
        assert direction is Direction.OUTGOING
        self.began.append(found.name)

    def post(self, iden: MigrationId, event: ev.Event) -> None:
        self.posted.append((iden, event))

    def told(self, name: str, kind: type) -> int:
        return sum(iden == f"id-{name}" and isinstance(e, kind) for iden, e in self.posted)


async def reach(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def watch(monkeypatch) -> AsyncIterator[Callable[..., Watcher]]:
    """Run a watcher's `sample` or `scan`, fast; it ends with the test and leaves no task."""
    monkeypatch.setattr(module, "SAMPLE_EVERY_S", 0.002)
    monkeypatch.setattr(module, "SCAN_EVERY_S", 0.002)
    monkeypatch.setattr(module, "log", structlog.get_logger())
    tasks = []

    def start(what: str, hypervisor: Hypervisor, controller: Controller) -> Watcher:
        watcher = Watcher(hypervisor, controller)
        tasks.append(asyncio.ensure_future(getattr(watcher, what)()))
        return watcher

    yield start
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    await asyncio.sleep(0.05)
    assert [t for t in asyncio.all_tasks() if t.get_name().startswith("sample-")] == []


async def test_a_scan_goes_on_past_guests_that_do_not_answer_and_mistakes(watch) -> None:
    hypervisor = Hypervisor({"h1", "h2"}, {"b"}, ["h1", "b", "h2", "new", "known"])
    controller = Controller(migration("known"))
    with capture_logs() as logs:
        watch("scan", hypervisor, controller)
        await reach(lambda: "new" in controller.began and controller.told("known", ev.Looked) > 1)
    assert set(controller.began) == {"new"}
    assert ("lookup", "known") not in hypervisor.asked, "it is known already"
    mistakes = [line for line in logs if line["log_level"] == "error"]
    assert {line["domain"] for line in mistakes} == {"b"}


async def test_a_scan_of_guests_that_all_hang_leaves_libvirtd_its_workers(watch) -> None:
    names = [f"h{number}" for number in range(50)]
    hypervisor = Hypervisor(set(names), listed=[*names, "new"])
    controller = Controller()
    watch("scan", hypervisor, controller)
    await reach(lambda: hypervisor.asked.count(("list", "all")) > 5)
    # What was under way as the bound was reached is over it.
    assert len(hypervisor.hung) < module.HUNG_MOST + module.LOOKS_AT_ONCE
    hypervisor.hanging.clear()  # the storage is back
    hypervisor.hung.clear()
    await reach(lambda: "new" in controller.began)


async def test_what_a_migration_left_behind_is_not_taken_for_one_of_others(watch) -> None:
    hypervisor = Hypervisor(listed=["left", "new"], runs={"left": 7})
    controller = Controller()
    controller.left_behind = frozenset({("uuid-left", 7)})
    watcher = watch("scan", hypervisor, controller)
    await reach(lambda: controller.began.count("new") > 1)
    assert set(controller.began) == {"new"}
    assert ("lookup", "left") not in hypervisor.asked, "it may not answer"
    assert watcher.left_behind == 1
    hypervisor.hanging.add("all")
    before = hypervisor.asked.count(("list", "all"))
    await reach(lambda: hypervisor.asked.count(("list", "all")) > before + 2)
    assert watcher.left_behind == 1, "what cannot be seen now is not gone"
    hypervisor.hanging.clear()
    hypervisor.runs["left"] = 8  # another run of the same guest
    await reach(lambda: "left" in controller.began)
    assert watcher.left_behind == 0


async def test_samples_of_others_go_on_beside_one_that_hangs_and_one_that_fails(watch) -> None:
    hypervisor = Hypervisor({"h"}, {"b"})
    controller = Controller(migration("h"), migration("b"), migration("well"))
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    hear(loop)
    with capture_logs() as logs:
        watch("sample", hypervisor, controller)
        await reach(lambda: controller.told("well", ev.Sampled) > 5)
    loop.set_exception_handler(before)
    assert controller.told("h", ev.Sampled) == controller.told("b", ev.Sampled) == 0
    assert hypervisor.asked.count(("settings", "well")) == 1, "not with every sample"
    mistakes = [line for line in logs if line["log_level"] == "error"]
    assert {line["migration"] for line in mistakes} == {"id-b"}


async def test_settings_are_read_at_the_first_sample_and_again_after_a_while(
    watch, monkeypatch
) -> None:
    monkeypatch.setattr(module, "SETTINGS_EVERY_S", 1000)
    controller = Controller(migration("well"))
    watch("sample", Hypervisor(), controller)
    await reach(lambda: controller.told("well", ev.Sampled) > 2)
    kinds = [type(event) for _, event in controller.posted]
    assert kinds[:3] == [ev.SettingsRead, ev.Sampled, ev.Sampled]
    monkeypatch.setattr(module, "SETTINGS_EVERY_S", 0.02)  # that is over now
    await reach(lambda: controller.told("well", ev.SettingsRead) > 2)


async def test_nothing_is_asked_while_libvirt_is_away(watch) -> None:
    hypervisor = Hypervisor(listed=["new"], connected=False)
    controller = Controller(migration("well"))
    watch("sample", hypervisor, controller)
    watch("scan", hypervisor, controller)
    await asyncio.sleep(0.05)
    assert hypervisor.asked == []
