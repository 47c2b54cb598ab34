"""Eyes on libvirt: events as they come, statistics of what runs, and what others started.

The watcher reports; what it means is for the core to say.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

import structlog

from pmigd.adapters.libvirt.translate import Notice
from pmigd.adapters.tasks import Tasks, Work
from pmigd.core import events as ev
from pmigd.core.canonical import about
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
from pmigd.core.ports import DomainFacts, Hypervisor
from pmigd.core.problem import Refused
from pmigd.daemon.controller import Controller

SAMPLE_EVERY_S: Final = 0.5
SCAN_EVERY_S: Final = 10.0
SETTINGS_EVERY_S: Final = 5.0
LOOKS_AT_ONCE: Final = 8
"""Of a scan: domains that do not answer must not hold up the others for long."""
HUNG_MOST: Final = 8
"""With so many calls that do not come back, a scan asks no further guest: where all hang, as with
storage that is away, it would take libvirtd's last worker. Events tell what begins meanwhile."""
LATE_EVENTS_S: Final = 1.0
"""Passes that are told of so soon after an end were its own; a scan finds what began anew."""

log = structlog.get_logger()


class Watcher:
    """Feeds the controller with what libvirt tells and shows."""

    def __init__(self, hypervisor: Hypervisor, controller: Controller) -> None:
        self._hypervisor = hypervisor
        self._controller = controller
        self._tasks = Tasks("watcher")
        self._sampling: set[MigrationId] = set()
        self._settings_at: dict[MigrationId, float] = {}
        self.left_behind = 0
        """Copies here that migrations which are over have left, as of the last scan."""
        self._due = asyncio.Event()
        self._due.set()

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
        try:
            while True:
                await asyncio.sleep(SAMPLE_EVERY_S)
                if self._hypervisor.connected:
                    self._sample_all()
        finally:
            self._tasks.cancel()

    async def scan(self) -> None:
        """Find migrations whose beginning was missed and ends that were missed, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SCAN_EVERY_S):
                    await self._due.wait()
            self._due.clear()
            if self._hypervisor.connected and self._controller.loaded:
                await self._scan_domains()

    def scan_now(self) -> None:
        """Look at all domains afresh; after a reconnect events were missed."""
        self._due.set()

    def _sample_all(self) -> None:
        running = {m.id: m for m in self._controller.running() if _has_statistics(m)}
        for iden, migration in running.items():
            # A guest that does not answer must not hold up the others.
            if iden not in self._sampling:
                self._sampling.add(iden)
                look = partial(self._sample_one, migration)
                task = self._tasks.begun(f"sample-{iden}", look, about=about(migration))
                task.add_done_callback(partial(self._sampled, iden))
        self._settings_at = {i: at for i, at in self._settings_at.items() if i in running}

    def _sampled(self, iden: MigrationId, _: asyncio.Task[None]) -> None:
        self._sampling.discard(iden)

    async def _sample_one(self, migration: Migration) -> None:
        try:
            job, sample = await self._hypervisor.sample(migration.domain)
        except Refused as refused:
            detail = refused.problem.detail
            log.debug("not answered", look="sample", **about(migration), detail=detail)
            return
        if sample is not None:
            await self._read_settings(migration)
        self._controller.post(migration.id, ev.Sampled(job, sample))

    async def _read_settings(self, migration: Migration) -> None:
        """Read now and then what is in force: other hands, and QEMU, change it too."""
        now = asyncio.get_running_loop().time()
        if now - self._settings_at.get(migration.id, -SETTINGS_EVERY_S) < SETTINGS_EVERY_S:
            return
        try:
            settings = await self._hypervisor.settings(migration.domain)
        except Refused as refused:
            log.debug("no settings", **about(migration), detail=refused.problem.detail)
            return
        self._settings_at[migration.id] = now
        self._controller.post(migration.id, ev.SettingsRead(settings))

    async def _scan_domains(self) -> None:
        found: list[DomainFacts] = []

        async def listing() -> None:
            found.extend(await self._hypervisor.domains())

        if not await _safely("scan", listing):
            return
        left = (self._controller.is_left_behind(f.domain.uuid, f.view.run) for f in found)
        self.left_behind = sum(left)
        at_once = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def look(work: Work, whose: dict[str, object]) -> None:
            async with at_once:
                if sum(self._hypervisor.hung.values()) < HUNG_MOST:
                    await _safely("scan", work, **whose)

        unknown = (
            look(partial(self._look_at, facts), {"domain": facts.domain.name})
            for facts in found
            if self._is_unknown(facts)
        )
        external = (
            look(partial(self._look_again, migration), about(migration))
            for migration in self._controller.running()
            if migration.external
        )
        await asyncio.gather(*unknown, *external)

    def _is_unknown(self, facts: DomainFacts) -> bool:
        if facts.view.power is Power.SHUTOFF:
            return False
        uuid, run = facts.domain.uuid, facts.view.run
        known = self._controller.of_domain(uuid) is not None
        return not (known or self._controller.is_left_behind(uuid, run))

    async def _look_at(self, listed: DomainFacts) -> None:
        facts = await self._hypervisor.lookup(listed.domain.uuid)
        if facts.view.job is Job.OUTGOING:
            direction = Direction.OUTGOING
        elif facts.view.job is Job.INCOMING or listed.view.because is Because.MIGRATION:
            direction = Direction.INCOMING
        else:
            return
        if self._controller.of_domain(facts.domain.uuid) is None:
            self._controller.begin_external(facts.domain, direction)

    async def _look_again(self, migration: Migration) -> None:
        view, final = await self._hypervisor.look_here(
            migration.domain, completed=migration.direction
        )
        self._controller.post(migration.id, ev.Looked(view, UNASKED, final))


def _has_statistics(migration: Migration) -> bool:
    """Only the source of a migration has figures, and only once the call may have been made."""
    if migration.direction is Direction.INCOMING:
        return False
    return migration.external or migration.call is not Call.NOT_MADE


async def _safely(what: str, work: Work, **whose: object) -> bool:
    """One look that fails is told, and takes nothing else with it; False then."""
    try:
        await work()
        return True
    except Refused as refused:
        log.debug("not answered", look=what, **whose, detail=refused.problem.detail)
    except Exception:
        log.exception("look failed", look=what, **whose)
    return False
