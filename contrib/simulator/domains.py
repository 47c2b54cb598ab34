"""What a libvirt daemon answers about its guests, and does to them, when a client asks.

Looking reads only. Each command looks on the spot at what must hold for it, as the daemon's own
code does under the guest's lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Final

import libvirt

from contrib.simulator.job import Job as MigrationJob
from contrib.simulator.job import Stage
from contrib.simulator.libvirtd import JOB_LOCK_S, Libvirtd
from contrib.simulator.world import PAUSED, Copy, libvirt_error, no_domain, refused
from pmigd.adapters.libvirt import translate
from pmigd.core.facts import DomainFacts
from pmigd.core.model import Because, Direction, Job, Power, Sample, View
from pmigd.core.ports import Settings

_OPERATION: Final = {
    Direction.OUTGOING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
    Direction.INCOMING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
}


def job_of(copy: Copy) -> Job:
    """The job that libvirt has on a copy."""
    if copy.incoming:
        return Job.INCOMING
    return Job.NONE if copy.job is None else Job.OUTGOING


async def lookup(daemon: Libvirtd, name_or_uuid: str) -> DomainFacts:
    """A domain by UUID or name."""
    for copy in daemon.machine.copies.values():
        if name_or_uuid in (copy.guest.domain.uuid, copy.guest.name):
            return DomainFacts(copy.guest.domain, await view(daemon, copy))
    raise no_domain(name_or_uuid)


async def listing(daemon: Libvirtd) -> list[DomainFacts]:
    """All of them; their jobs are not asked for."""
    return [DomainFacts(copy.guest.domain, _state(copy)) for copy in daemon.machine.copies.values()]


async def view(daemon: Libvirtd, copy: Copy) -> View:
    """State and job. The job of a guest whose QEMU hangs is not known."""
    found = _state(copy)
    if found.gone or copy.incoming:
        return replace(found, job=job_of(copy))
    async with daemon.monitor(copy):
        return replace(_state(copy), job=job_of(copy))


async def look(
    daemon: Libvirtd, uuid: str, completed: Direction | None, at: datetime
) -> tuple[View, Sample | None]:
    """A copy, and the final statistics of a migration, if they are still there."""
    copy = daemon.machine.copies.get(uuid)
    if copy is None:
        return View(Power.ABSENT), None
    found = await view(daemon, copy)
    if daemon.machine.copies.get(uuid) is not copy:
        return View(Power.ABSENT), None
    final = None
    if completed is Direction.OUTGOING and found.because is Because.MIGRATED:
        final = Sample(at, elapsed_ms=1000, iteration=3, downtime_ms=40)
    return found, final


async def stats(daemon: Libvirtd, uuid: str, at: datetime) -> tuple[Job, Sample | None]:
    """Statistics of the running job."""
    copy = daemon.machine.copies.get(uuid)
    if copy is None or not copy.active:
        return Job.NONE, None
    if copy.incoming:
        return Job.INCOMING, None
    async with daemon.monitor(copy):
        if copy.job is None:
            return Job.NONE, None
        return Job.OUTGOING, translate.sample_of(copy.job.stats(), at)


async def abort(daemon: Libvirtd, uuid: str, *, by: str) -> None:
    """Abort whatever job the domain has; `by` is the migration it is meant for, or "somebody"."""
    copy = daemon.active(uuid)
    if copy.incoming:
        raise refused("cannot abort incoming migration; use virDomainDestroy instead")
    async with daemon.monitor(copy):
        job = copy.job
        if job is None:
            raise refused("no job is active on the domain")
        if job.stage in (Stage.POSTCOPY, Stage.BROKEN):
            raise refused("cannot abort migration in post-copy mode")
        meant(daemon, job, by, "aborts")
        daemon.world.note(f"libvirt of {daemon.name} aborts the migration of {copy.guest.name}")
        job.aborted = True
        job.cancel()


def meant(daemon: Libvirtd, job: MigrationJob | None, by: str, what: str) -> None:
    """A command of pmigd's must hit the migration that it was meant for, and no other."""
    if by != "somebody" and (job is None or job.owner != by):
        other = "no migration at all" if job is None else job.owner or "somebody else's migration"
        daemon.world.fault(f"wrong target: pmigd {what} {other}, and means {by or 'nobody'}")


async def start_postcopy(daemon: Libvirtd, uuid: str, *, by: str) -> None:
    """Switch to post-copy."""
    copy = daemon.active(uuid)
    if copy.incoming:
        await _locked()
    async with daemon.monitor(copy):
        job = copy.job
        if job is None:
            raise refused("post-copy can only be started while outgoing migration is in progress")
        if not job.may_postcopy:
            raise refused("switching to post-copy requires migration to be started with it")
        if daemon.refuses > 0:
            daemon.refuses -= 1
            raise refused("QEMU is not ready for post-copy")
        if job.stage is not Stage.PRECOPY:
            raise refused("post-copy can only be started while outgoing migration is in progress")
        meant(daemon, job, by, "switches")
        job.start_postcopy()
        for reason, detail in (
            (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED),
            (libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY),
        ):
            daemon.pause(copy, reason, detail)


async def pause_postcopy(daemon: Libvirtd, uuid: str, *, by: str) -> None:
    """Stop the stream of pages; both QEMUs keep what they have."""
    copy = daemon.active(uuid)
    async with daemon.monitor(copy):
        job = copy.job
        if job is None or copy.incoming or job.stage is not Stage.POSTCOPY:
            raise refused("current job is not outgoing migration in post-copy mode")
        meant(daemon, job, by, "pauses")
        job.fail("post-copy was paused")


def autostart_of(daemon: Libvirtd, uuid: str) -> bool | None:
    """Whether the guest starts with this host; None: nothing is defined that could."""
    copy = daemon.machine.copies.get(uuid)
    return copy.autostart if copy is not None and copy.defined else None


async def set_autostart(daemon: Libvirtd, uuid: str, *, on: bool) -> bool:
    """Set the flag if it differs; refused while there is a job. False: no definition."""
    copy = daemon.machine.copies.get(uuid)
    if copy is None or not copy.defined:
        return False
    if copy.autostart is not on:
        if copy.job is not None:
            await _locked()
        copy.autostart = on
    return True


async def suspend(daemon: Libvirtd, uuid: str, *, pmigd: bool) -> None:
    """Pause a guest, whatever goes on about it: libvirt asks nothing."""
    copy = daemon.active(uuid)
    if copy.incoming:
        await _locked()
    async with daemon.monitor(copy):
        if not copy.active:
            raise refused("domain is not running")
        if copy.job is not None and copy.job.stage in (Stage.POSTCOPY, Stage.BROKEN):
            await _locked()
        if copy.state == PAUSED:
            return
        job = copy.job
        copy.suspended_by_pmigd = pmigd
        copy.guest.paused_by_person = not pmigd
        if job is not None:
            daemon.pause(
                copy,
                libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
                libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED,
            )
        else:
            daemon.pause(
                copy, libvirt.VIR_DOMAIN_PAUSED_USER, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED
            )


async def resume(daemon: Libvirtd, uuid: str, *, by: str) -> None:
    """Let a paused guest run on. A guest with a migration is out of reach for it."""
    copy = daemon.active(uuid)
    if copy.job is not None or copy.incoming:
        await _locked()
    async with daemon.monitor(copy):
        if not copy.active or copy.job is not None:
            raise refused("domain is not running")
        if copy.state != PAUSED:
            return
        daemon.world.note(f"{by} lets {copy.guest.name} run on, on {daemon.name}")
        copy.guest.paused_by_person = False
        daemon.run_on(
            copy,
            libvirt.VIR_DOMAIN_RUNNING_UNPAUSED,
            libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED,
            by=by,
        )


async def settings(daemon: Libvirtd, uuid: str) -> Settings:
    """What is in force."""
    copy = daemon.active(uuid)
    if copy.incoming:
        await _locked()
    async with daemon.monitor(copy):
        return Settings(
            copy.downtime_limit_ms, copy.speed_mib_s, copy.postcopy_speed_mib_s, copy.cache_bytes
        )


async def change(daemon: Libvirtd, uuid: str, wanted: Settings) -> None:
    """Change what is not None."""
    copy = daemon.active(uuid)
    if copy.incoming:
        await _locked()
    async with daemon.monitor(copy):
        if daemon.refuses > 0:
            daemon.refuses -= 1
            raise refused("QEMU refuses the setting")
        if wanted.max_downtime_ms is not None:
            copy.downtime_limit_ms = wanted.max_downtime_ms
        if wanted.bandwidth_mib_s is not None:
            copy.speed_mib_s = wanted.bandwidth_mib_s
        if wanted.postcopy_bandwidth_mib_s is not None:
            copy.postcopy_speed_mib_s = wanted.postcopy_bandwidth_mib_s
        if wanted.compression_cache_bytes is not None:
            copy.cache_bytes = wanted.compression_cache_bytes
        if copy.job is not None:
            copy.job.changed()


async def _locked() -> None:
    """A guest that arrives lets nobody near; neither does one in post-copy suspend."""
    await asyncio.sleep(JOB_LOCK_S)
    raise libvirt_error(
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
        libvirt.VIR_FROM_QEMU,
        "Timed out during operation: cannot acquire state change lock",
    )


def _state(copy: Copy) -> View:
    power, because = translate.power_of(copy.state, copy.reason)
    return View(power, because, persistent=copy.defined, run=copy.run if copy.active else 0)
