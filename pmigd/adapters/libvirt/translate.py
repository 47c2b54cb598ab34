"""libvirt's numbers and dictionaries in the core's words. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import libvirt

from pmigd.core import events as ev
from pmigd.core.model import Because, Direction, Domain, Job, Plan, Power, Sample

_POWER: Final[dict[int, Power]] = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.SHUTOFF,
}

_BECAUSE: Final[dict[tuple[Power, int], Because]] = {
    (Power.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATED): Because.MIGRATED,
    (Power.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED): Because.MIGRATION_CANCELED,
    (Power.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): Because.POSTCOPY,
    (Power.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): Because.POSTCOPY_FAILED,
    (Power.PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): Because.MIGRATION,
    (Power.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): Because.POSTCOPY,
    (Power.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): Because.POSTCOPY_FAILED,
    (Power.PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): Because.STARTING_UP,
    (Power.PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): Because.USER,
    (Power.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): Because.MIGRATED,
    (Power.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): Because.SHUTDOWN,
    (Power.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): Because.DESTROYED,
    (Power.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): Because.CRASHED,
    (Power.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): Because.FAILED,
}


def power_of(state: int, reason: int) -> tuple[Power, Because]:
    """A domain's state and reason; what the core does not tell apart is OTHER."""
    power = _POWER.get(state, Power.OTHER)
    return power, _BECAUSE.get((power, reason), Because.OTHER)


def job_of(stats: Mapping[str, Any]) -> Job:
    """The kind of job that running statistics are about."""
    if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) not in (
        libvirt.VIR_DOMAIN_JOB_BOUNDED,
        libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
    ):
        return Job.NONE
    match stats.get("operation"):
        case libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return Job.OUTGOING
        case libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
            return Job.INCOMING
        case _:
            return Job.OTHER


def sample_of(stats: Mapping[str, Any], at: datetime) -> Sample:
    """Job statistics in bytes and bytes per second.

    libvirt counts dirty memory in pages per second and leaves rates out while they are zero.
    """
    page = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, 4096)
    dirty = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE)
    if not dirty and stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION, 0) <= 1:
        dirty = None  # QEMU counts from the second pass on; before, its zero means nothing
    memory_bps = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_BPS)
    disk_bps = stats.get(libvirt.VIR_DOMAIN_JOB_DISK_BPS)
    rate = None if memory_bps is None and disk_bps is None else (memory_bps or 0) + (disk_bps or 0)
    return Sample(
        at=at,
        elapsed_ms=stats.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED, 0),
        memory_total_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_TOTAL, 0),
        memory_processed_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PROCESSED, 0),
        memory_remaining_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_REMAINING, 0),
        disk_total_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_DISK_TOTAL, 0),
        disk_processed_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_DISK_PROCESSED, 0),
        disk_remaining_bytes=stats.get(libvirt.VIR_DOMAIN_JOB_DISK_REMAINING, 0),
        bytes_per_second=rate,
        dirty_bytes_per_second=None if dirty is None else dirty * page,
        iteration=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION),
        throttle_percent=stats.get(libvirt.VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE),
        downtime_ms=stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME),
        downtime_net_ms=stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME_NET),
        setup_ms=stats.get(libvirt.VIR_DOMAIN_JOB_SETUP_TIME),
        constant_pages=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_CONSTANT),
        normal_pages=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_NORMAL),
        postcopy_requests=stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS),
    )


def flags_of(plan: Plan) -> int:
    """The plan as VIR_MIGRATE_* flags. Peer-to-peer always: it survives the death of pmigd."""
    flags = libvirt.VIR_MIGRATE_PEER2PEER
    if plan.live:
        flags |= libvirt.VIR_MIGRATE_LIVE
    if plan.tunnelled:
        flags |= libvirt.VIR_MIGRATE_TUNNELLED
    if plan.persist_destination:
        flags |= libvirt.VIR_MIGRATE_PERSIST_DEST
    if plan.undefine_source:
        flags |= libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    return int(flags)


def params_of(plan: Plan) -> dict[str, Any]:
    """The plan as typed parameters of migrateToURI3."""
    params: dict[str, Any] = {}
    if plan.bandwidth_mib_s:
        params[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = plan.bandwidth_mib_s
    if plan.target.migrate_uri and not plan.tunnelled:
        params[libvirt.VIR_MIGRATE_PARAM_URI] = plan.target.migrate_uri
    return params


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that libvirt sent about a domain.

    ``began`` says that the event alone proves a migration in that direction to be under way.
    """

    domain: Domain
    event: ev.Event | None = None
    began: Direction | None = None


_SUSPENDED: Final[dict[int, ev.Event]] = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: ev.SwitchedOver(),
    # An incoming guest that stays paused has arrived; for an outgoing one this says nothing.
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: ev.Arrived(),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY: ev.PostcopyBegan(),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED: ev.PostcopyBroke(),
}
_RESUMED: Final[dict[int, ev.Event]] = {
    libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED: ev.Arrived(),
    libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY: ev.PostcopyBegan(),
    libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED: ev.PostcopyBroke(),
}


def lifecycle_notice(domain: Domain, event: int, detail: int) -> Notice | None:
    """A lifecycle event, or None when it says nothing about a migration."""
    match event:
        case libvirt.VIR_DOMAIN_EVENT_STARTED:
            if detail == libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED:
                return Notice(domain, began=Direction.INCOMING)
            return None
        case libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
            found = _SUSPENDED.get(detail)
        case libvirt.VIR_DOMAIN_EVENT_RESUMED:
            found = _RESUMED.get(detail)
        case libvirt.VIR_DOMAIN_EVENT_STOPPED:
            left = detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED
            found = ev.Left() if left else ev.GuestEnded()
        case _:
            return None
    return None if found is None else Notice(domain, found)
