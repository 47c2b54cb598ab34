"""What a libvirt daemon makes, at its start, of a guest that was on its way when it ended."""

from __future__ import annotations

import contextlib
from typing import Final

import libvirt

from contrib.simulator.job import Job, Stage
from contrib.simulator.libvirtd import Libvirtd
from contrib.simulator.migrating import attend, confirm, finish_postcopy, resume_after_failure
from contrib.simulator.world import PAUSED, RUNNING, Copy

LEFTOVERS: Final = 0.25
"""How often a copy that was just being started is left lying there, paused."""


def take_up(daemon: Libvirtd, copy: Copy) -> None:
    """Go on, give up or clean up, as libvirt does after a restart."""
    job = copy.job
    if job is None or not copy.active:
        return
    if job.source is copy:
        _outgoing(daemon, copy, job)
    else:
        _incoming(daemon, copy, job)


def _outgoing(daemon: Libvirtd, copy: Copy, job: Job) -> None:
    match job.stage:
        case Stage.POSTCOPY:
            job.unattended = True
            daemon.life.begin(attend(daemon, job))
        case Stage.BROKEN:
            copy.state, copy.reason = PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED
        case Stage.DONE if job.phase == "confirm" or _was_postcopy(copy):
            confirm(daemon, job)
        case Stage.DONE:
            # The guest may run at the destination: libvirt leaves the copy here as it is.
            copy.job = None
        case _:
            job.cancel()
            job.phase = "hung up"
            copy.job = None
            job.restore_speed()
            resume_after_failure(daemon, copy, job)


def _was_postcopy(copy: Copy) -> bool:
    return copy.reason in (
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
    )


def _incoming(daemon: Libvirtd, copy: Copy, job: Job) -> None:
    if copy.state == RUNNING:
        match job.stage:
            case Stage.POSTCOPY:
                daemon.life.begin(_quietly(daemon, job))
            case Stage.BROKEN:
                copy.reason = libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
            case _:
                copy.job, copy.incoming = None, False
                copy.reason = libvirt.VIR_DOMAIN_RUNNING_MIGRATED
        return
    starting = copy.reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP
    if starting and daemon.world.random.random() < LEFTOVERS:
        copy.job = None
        daemon.world.note(f"a half-started copy of {copy.guest.name} is left on {daemon.name}")
        return
    job.fail("the destination's copy is gone")
    daemon.end(copy, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED)


async def _quietly(daemon: Libvirtd, job: Job) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        await finish_postcopy(daemon, job)
