"""Eyes on libvirt: events as they come, statistics of what runs, and what others started.

The watcher reports; what it means is for the core to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

import structlog

from pmigd.adapters.libvirt.translate import Notice
from pmigd.core import events as ev
from pmigd.core.model import (
    UNASKED,
    Because,
    Call,
    Direction,
    Job,
    Migration,
    MigrationId,
    Power,
    State,
)
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Refused
from pmigd.daemon.controller import Controller

SAMPLE_EVERY_S: Final = 0.5
SCAN_EVERY_S: Final = 10.0
LATE_EVENTS_S: Final = 1.0
"""Passes that are told of so soon after an end were its own; a scan finds what began anew."""

log = structlog.get_logger()


class Watcher:
    """Feeds the controller with what libvirt tells and shows."""

    def __init__(self, hypervisor: Hypervisor, controller: Controller) -> None:
        self._hypervisor = hypervisor
        self._controller = controller
        self._sampling: dict[MigrationId, asyncio.Task[None]] = {}
        self._limits: dict[MigrationId, int] = {}
        self._scan: asyncio.Task[None] | None = None

    def notice(self, notice: Notice) -> None:
        """An event of libvirt's about a domain."""
        if not self._controller.loaded:
            return  # it may be about one of ours: the first scan finds what is nobody's
        migration = self._controller.of_domain(notice.domain.uuid)
        late = notice.began is Direction.OUTGOING and self._controller.ended_within(
            notice.domain.uuid, LATE_EVENTS_S
        )
        if migration is None and notice.began is not None and not late:
            incoming = notice.began is Direction.INCOMING
            state = State.PREPARING if incoming else State.PRECOPY
            migration = self._controller.begin_external(notice.domain, notice.began, state)
        if migration is not None and notice.event is not None:
            self._controller.post(migration.id, notice.event)

    async def sample(self) -> None:
        """Read statistics of everything that runs, until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            if not self._hypervisor.connected:
                continue
            running = [m for m in self._controller.running() if _has_statistics(m)]
            for migration in running:
                # A guest whose monitor hangs must not hold up the others.
                if migration.id not in self._sampling:
                    self._sampling[migration.id] = _spawn("sample", self._sample_one(migration))
            for gone in self._limits.keys() - {m.id for m in running}:
                del self._limits[gone]

    async def scan(self) -> None:
        """Find migrations whose beginning was missed and ends that were missed, until cancelled."""
        while True:
            self.scan_now()
            await asyncio.sleep(SCAN_EVERY_S)

    def scan_now(self) -> None:
        """Look at all domains afresh; after a reconnect events were missed."""
        idle = self._scan is None or self._scan.done()
        if self._hypervisor.connected and self._controller.loaded and idle:
            self._scan = _spawn("scan", self._scan_domains())

    async def _sample_one(self, migration: Migration) -> None:
        try:
            job, sample = await self._hypervisor.sample(migration.domain)
            if sample is not None:
                if migration.id not in self._limits:
                    settings = await self._hypervisor.settings(migration.domain)
                    if settings.max_downtime_ms is not None:
                        self._limits[migration.id] = settings.max_downtime_ms
                sample = replace(sample, downtime_limit_ms=self._limits.get(migration.id))
            self._controller.post(migration.id, ev.Sampled(job, sample))
        except Refused as refused:
            log.debug("no sample", migration=migration.id, detail=refused.problem.detail)
        finally:
            del self._sampling[migration.id]

    async def _scan_domains(self) -> None:
        try:
            for facts in await self._hypervisor.domains():
                await self._look_at(facts.domain.uuid, facts.view.power, facts.view.because)
            for migration in self._controller.running():
                if migration.external:
                    view, final = await self._hypervisor.look_here(
                        migration.domain, completed=migration.direction
                    )
                    self._controller.post(migration.id, ev.Looked(view, UNASKED, final))
        except Refused as refused:
            log.debug("no scan", detail=refused.problem.detail)

    async def _look_at(self, uuid: str, power: Power, because: Because) -> None:
        if power is Power.SHUTOFF or self._controller.of_domain(uuid) is not None:
            return
        facts = await self._hypervisor.lookup(uuid)
        if self._controller.is_left_behind(uuid, facts.view.run):
            return
        if facts.view.job is Job.OUTGOING:
            direction = Direction.OUTGOING
        elif facts.view.job is Job.INCOMING or because is Because.MIGRATION:
            direction = Direction.INCOMING
        else:
            return
        if self._controller.of_domain(uuid) is None:
            self._controller.begin_external(facts.domain, direction)


def _has_statistics(migration: Migration) -> bool:
    """Only the source of a migration has figures, and only once the call may have been made."""
    if migration.direction is Direction.INCOMING:
        return False
    return migration.external or migration.call is not Call.NOT_MADE


_tasks: set[asyncio.Task[None]] = set()


def _spawn(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work, name=name)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
