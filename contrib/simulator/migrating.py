"""How the two libvirt daemons carry a peer-to-peer migration through its five phases.

Begin, prepare (there), perform, finish (there), confirm: as libvirt 9.0 does it, and what each of
them makes of an error, an abort, and the loss of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import libvirt

from contrib.simulator.job import Job, Stage
from contrib.simulator.libvirtd import Connection, Libvirtd
from contrib.simulator.world import (
    PAUSED,
    SHUTOFF,
    Copy,
    World,
    connection_lost,
    failed,
    libvirt_error,
    not_there,
    refused,
)
from pmigd.core.model import Plan

T = TypeVar("T")

KEEPALIVE_S: Final = 30.0
"""After so long without a sign of life libvirt takes a connection between daemons for lost."""
CONNECT_S: Final = 127.0
"""The kernel's patience with somebody who does not answer at all."""


async def migrate(
    daemon: Libvirtd, uuid: str, target: str, plan: Plan | None, owner: str = ""
) -> None:
    """The blocking call, at the source. Raises libvirt's errors."""
    copy = daemon.active(uuid)
    if copy.incoming or copy.job is not None:
        raise refused(f"another migration job is already running for domain '{copy.guest.name}'")
    job = copy.job = Job(daemon.world, copy, target, plan, owner)
    if owner:
        daemon.world.moves[owner] = job
    await _Source(daemon, job).run()


async def recover(daemon: Libvirtd, uuid: str) -> None:
    """The call with the flag that goes on with a broken post-copy."""
    copy = daemon.active(uuid)
    job = copy.job
    if job is None or job.source is not copy:
        raise refused("migration out job is not active")
    if copy.reason == libvirt.VIR_DOMAIN_PAUSED_POSTCOPY:
        raise refused("post-copy migration of domain has not failed")
    if copy.reason != libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
        raise refused("domain is not in post-copy phase")
    await _Source(daemon, job).go_on()


class _Source:
    """One call at the source's daemon."""

    def __init__(self, daemon: Libvirtd, job: Job) -> None:
        self.daemon = daemon
        self.world: World = daemon.world
        self.job = job
        self.copy = job.source
        self.peer = self.world.daemons[job.target]
        self.connection: Connection | None = None

    async def run(self) -> None:
        job, copy = self.job, self.copy
        try:
            await self._dial()
            await self.daemon.pace()
            job.phase = "prepare"
            incoming = await self._there(lambda: prepare(self.peer, job))
            job.phase = "perform"
            if job.aborted:
                raise _aborted()
            job.on_iteration = lambda number: self.daemon.emit(copy, "iteration", number)
            job.begin(incoming)
            await self._perform()
        except libvirt.libvirtError as error:
            await self._give_up()
            raise self._better(error) from None
        await self._finish()

    async def go_on(self) -> None:
        """From a broken post-copy."""
        await self._dial()
        incoming = self.job.destination
        there = (
            None if incoming is None else self.peer.machine.copies.get(incoming.guest.domain.uuid)
        )
        if there is not incoming or incoming is None or not incoming.active:
            raise refused("domain is not running at the destination")
        failed_there = libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
        if incoming.reason != failed_there:
            raise refused("post-copy migration of the incoming domain has not failed")
        await self._there(lambda: _resume_incoming(self.peer, incoming))
        self.job.recover()
        self.daemon.pause(
            self.copy,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY,
        )
        self.world.note(f"post-copy of {self.copy.guest.name} goes on")
        await self._finish()

    # The phases

    async def _dial(self) -> None:
        """Open the connection between the daemons."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.world.network.carry(self.daemon.name, self.peer.name)
                self.connection = await self.peer.open()
        except TimeoutError:
            raise not_there("unable to connect to server: Connection timed out") from None

    async def _there(self, work: Callable[[], Awaitable[T]]) -> T:
        """Have the other daemon do something, as long as the connection to it lives."""
        await self._carried(self.world.network.carry(self.daemon.name, self.peer.name))
        if self.connection is None or not self.connection.alive:
            raise connection_lost("End of file while reading data")
        answer = self.peer.call(work, self.connection)
        await self._until_silent(answer)
        result = answer.result()
        await self._carried(self.world.network.carry(self.peer.name, self.daemon.name))
        return result

    async def _carried(self, carry: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(KEEPALIVE_S):
                await carry
        except TimeoutError:
            raise connection_lost("connection closed due to keepalive timeout") from None

    async def _until_silent(self, answer: asyncio.Future[T]) -> None:
        """Wait for an answer, with libvirt's keepalive watching the other side meanwhile."""
        silent_s = 0.0
        while not answer.done():
            await asyncio.wait((answer,), timeout=1.0 if silent_s or self._silent() else 5.0)
            silent_s = silent_s + 1.0 if self._silent() else 0.0
            if silent_s >= KEEPALIVE_S and not answer.done():
                raise connection_lost("connection closed due to keepalive timeout")

    def _silent(self) -> bool:
        return self.peer.frozen or not self.world.network.up(self.daemon.name, self.peer.name)

    async def _perform(self) -> None:
        """Until all is there, or the guest was switched over for post-copy."""
        job, copy = self.job, self.copy
        watch = self.daemon.life.spawn(self._watch_connection())
        try:
            await job.moved(Stage.SWITCH, Stage.POSTCOPY)
            if job.stage is Stage.SWITCH:
                if copy.state != PAUSED:
                    self._stop_guest()
                await self.daemon.pace()
                job.phase = "switch"
                if job.aborted:
                    job.cancel()
                job.switch()
                await job.moved(Stage.DONE, Stage.POSTCOPY)
        finally:
            watch.cancel()
        if job.stage in (Stage.FAILED, Stage.CANCELLED):
            if job.aborted:
                raise _aborted()
            if self._lost:
                raise failed("operation failed: Lost connection to destination host")
            why = job.why or "migration was canceled"
            raise failed(f"operation failed: job 'migration out' failed: {why}")

    _lost = False

    async def _watch_connection(self) -> None:
        silent_s = 0.0
        while True:
            await asyncio.sleep(1.0)
            connection = self.connection
            silent_s = silent_s + 1.0 if self._silent() else 0.0
            gone = connection is None or (not connection.alive and not self._silent())
            if gone or silent_s >= KEEPALIVE_S:
                self._lost = True
                self.job.cancel()
                return

    def _stop_guest(self) -> None:
        self.daemon.pause(
            self.copy,
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
        )

    async def _finish(self) -> None:
        job, copy = self.job, self.copy
        job.phase = "finish"
        postcopy = job.stage in (Stage.POSTCOPY, Stage.BROKEN)
        try:
            await self._there(lambda: finish(self.peer, job))
        except libvirt.libvirtError as error:
            if job.stage is Stage.BROKEN and copy.job is job:
                self._postcopy_failed()
                raise failed("operation failed: migration failed in post-copy phase") from None
            if postcopy and job.stage is not Stage.DONE:
                job.unattended = True
                self.daemon.life.begin(attend(self.daemon, job))
                raise
            if not postcopy:
                await self._give_up()
                raise self._better(error) from None
        if copy.job is not job:
            raise failed("operation failed: domain is no longer running")
        job.phase = "confirm"
        await self.daemon.pace()
        confirm(self.daemon, job)

    def _postcopy_failed(self) -> None:
        self.daemon.pause(
            self.copy,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED,
        )
        self.world.note(f"post-copy of {self.copy.guest.name} broke: {self.job.why}")

    async def _give_up(self) -> None:
        """The other side cleans up first; then the guest runs on here, unless it has ended."""
        job, copy = self.job, self.copy
        job.cancel()
        job.phase = "cancelled"
        with contextlib.suppress(libvirt.libvirtError):
            await self._there(lambda: cancel(self.peer, job))
        job.phase = "hung up"
        if copy.job is not job:
            return
        copy.job = None
        job.restore_speed()
        resume_after_failure(self.daemon, copy, job)

    def _better(self, error: libvirt.libvirtError) -> libvirt.libvirtError:
        """What libvirt says in the end: an abort is told as one."""
        aborted = self.job.aborted and self.job.stage is Stage.CANCELLED
        return _aborted() if aborted else error


def _aborted() -> libvirt.libvirtError:
    return libvirt_error(
        libvirt.VIR_ERR_OPERATION_ABORTED,
        libvirt.VIR_FROM_QEMU,
        "operation aborted: migration out job: canceled by client",
    )


def resume_after_failure(daemon: Libvirtd, copy: Copy, job: Job) -> None:
    """The source's guest runs on, if it ran before the call."""
    if copy.active and copy.state == PAUSED and job.was_running:
        daemon.run_on(
            copy,
            libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED,
            libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED,
        )


def confirm(daemon: Libvirtd, job: Job) -> None:
    """The guest has left: its copy here ends."""
    copy = job.source
    job.phase = "over"
    job.restore_speed()
    if job.plan is not None and job.plan.undefine_source:
        copy.defined = False
    stats = {**job.stats(), "type": libvirt.VIR_DOMAIN_JOB_COMPLETED, "downtime": 40}
    daemon.end(copy, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED)
    daemon.emit(copy, "completed", stats)


async def attend(daemon: Libvirtd, job: Job) -> None:
    """Wait for the end of a post-copy that no call waits for any more, at the source."""
    await job.moved()
    copy = job.source
    await daemon.pace()
    if copy.job is not job:
        return
    if job.stage is Stage.DONE:
        confirm(daemon, job)
    else:
        daemon.pause(
            copy,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED,
        )


# At the destination


async def prepare(daemon: Libvirtd, job: Job) -> Copy:
    """Start QEMU for the guest that comes."""
    guest = job.source.guest
    machine = daemon.machine
    there = machine.copies.get(guest.domain.uuid)
    if there is not None and there.active:
        raise libvirt_error(
            libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_FROM_QEMU,
            f"operation failed: domain is already active as '{guest.name}'",
        )
    copy = there or Copy(guest, daemon.name)
    machine.copies[guest.domain.uuid] = copy
    daemon.world.begin_run(copy)
    copy.state, copy.reason = PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP
    copy.incoming, copy.job, copy.life = True, job, guest.life
    copy.speed_mib_s, copy.downtime_limit_ms = 0, 300
    job.destination = copy
    await asyncio.sleep(daemon.world.random.uniform(0.03, 0.2) * daemon.slow)
    await daemon.pace()
    copy.reason = libvirt.VIR_DOMAIN_PAUSED_MIGRATION
    daemon.lifecycle(
        copy, libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED
    )
    daemon.life.begin(_watch_source(daemon, copy, job))
    return copy


async def _watch_source(daemon: Libvirtd, copy: Copy, job: Job) -> None:
    """Destroy the incoming copy when the source's daemon is gone before the guest has arrived."""
    source = daemon.world.daemons[job.source.host]
    life = source.life
    silent_s = 0.0
    while _comes(copy, job) and job.stage is not Stage.POSTCOPY:
        if job.phase == "hung up":
            destroy_incoming(daemon, copy)
            return
        await asyncio.sleep(0.5)
        silent = source.frozen or not daemon.world.network.up(source.name, daemon.name)
        silent_s = silent_s + 0.5 if silent else 0.0
        gone = not life.alive and daemon.world.network.up(source.name, daemon.name)
        finishing = copy.reason != libvirt.VIR_DOMAIN_PAUSED_MIGRATION
        if (gone or silent_s >= KEEPALIVE_S) and _comes(copy, job):
            if finishing or job.stage in (Stage.POSTCOPY, Stage.BROKEN):
                return
            await daemon.pace()
            if _comes(copy, job) and copy.state == PAUSED:
                job.fail("the destination gave its copy up")
                destroy_incoming(daemon, copy)
            return


def _comes(copy: Copy, job: Job) -> bool:
    """The copy still waits for this migration, and for no other."""
    return copy.incoming and copy.job is job


async def cancel(daemon: Libvirtd, job: Job) -> None:
    """The source says that nothing will come of it."""
    copy = job.destination
    if copy is not None and copy.job is job:
        destroy_incoming(daemon, copy)


def destroy_incoming(daemon: Libvirtd, copy: Copy) -> None:
    """The copy that has never run ends."""
    if copy.incoming and copy.state == PAUSED:
        daemon.end(copy, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED)


async def finish(daemon: Libvirtd, job: Job) -> None:
    """Start the guest here; in post-copy, stay until the last page has come."""
    copy = job.destination
    if copy is None or copy.job is not job or not copy.active:
        raise failed("operation failed: domain is not active at the destination")
    if job.plan is None or job.plan.persist_destination:
        copy.defined = True
    if job.stage in (Stage.POSTCOPY, Stage.BROKEN) or job.unattended:
        if copy.reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
            job.arrived = True
            daemon.world.note(f"{copy.guest.name} runs on {daemon.name}, its memory follows")
            daemon.world.arrive(copy, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
            daemon.lifecycle(
                copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY
            )
        await finish_postcopy(daemon, job)
        return
    await daemon.pace()
    if copy.job is not job or job.stage is not Stage.DONE:
        raise failed("operation failed: migration is not complete")
    copy.job, copy.incoming = None, False
    job.arrived = True
    if (job.plan is not None and job.plan.request.suspend) or not job.was_running:
        daemon.world.arrived(copy)
        daemon.pause(
            copy, libvirt.VIR_DOMAIN_PAUSED_USER, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED
        )
        daemon.world.note(f"{copy.guest.name} has arrived on {daemon.name}, paused")
        return
    daemon.world.note(f"{copy.guest.name} runs on {daemon.name}")
    daemon.world.arrive(copy, libvirt.VIR_DOMAIN_RUNNING_MIGRATED)
    daemon.lifecycle(
        copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED
    )


async def finish_postcopy(daemon: Libvirtd, job: Job) -> None:
    """Until the last page has come here."""
    copy = job.destination
    await job.moved()
    await daemon.pace()
    if copy is None or copy.job is not job:
        raise failed("operation failed: the domain is gone")
    if job.stage is Stage.DONE:
        copy.job, copy.incoming = None, False
        copy.reason = libvirt.VIR_DOMAIN_RUNNING_MIGRATED
        daemon.lifecycle(
            copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED
        )
        return
    copy.reason = libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
    daemon.lifecycle(
        copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED
    )
    raise failed("operation failed: the stream of pages broke")


async def _resume_incoming(daemon: Libvirtd, copy: Copy) -> None:
    """The destination waits for pages again."""
    copy.reason = libvirt.VIR_DOMAIN_RUNNING_POSTCOPY
    daemon.lifecycle(
        copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY
    )


__all__ = ["SHUTOFF", "attend", "confirm", "finish", "migrate", "prepare", "recover"]
