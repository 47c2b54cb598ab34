"""libvirt's numbers and dictionaries in the core's words. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import libvirt

from pmigd.core import events as ev
from pmigd.core.figures import FIGURES
from pmigd.core.model import (
    Because,
    CopyStorage,
    Direction,
    Domain,
    Flow,
    Job,
    Plan,
    Postcopy,
    Power,
    Sample,
    Transport,
)
from pmigd.core.problem import Code, refuse

UNLIMITED_MIB_S: Final = 8_796_093_022_207
"""libvirt's largest speed, which stands for none."""

_POWER: Final[dict[int, Power]] = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.SHUTOFF,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.ASLEEP,
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
    told = {figure.name: stats[figure.libvirt] for figure in FIGURES if figure.libvirt in stats}
    if pages := told.get("dirty_bytes_per_second"):
        page = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, 4096)
        told["dirty_bytes_per_second"] = pages * page
    elif told.get("iteration", 0) <= 1:
        # QEMU counts from the second pass on; before, its zero means nothing.
        told.pop("dirty_bytes_per_second", None)
    return Sample(at, **told)


FLAGS: Final[tuple[tuple[str, Callable[[Plan], bool]], ...]] = (
    ("VIR_MIGRATE_LIVE", lambda p: p.request.live and not p.request.offline),
    ("VIR_MIGRATE_PEER2PEER", lambda p: p.request.flow is Flow.P2P),
    ("VIR_MIGRATE_TUNNELLED", lambda p: p.request.transport is Transport.TUNNELLED),
    ("VIR_MIGRATE_PERSIST_DEST", lambda p: p.persist_destination),
    ("VIR_MIGRATE_UNDEFINE_SOURCE", lambda p: p.undefine_source),
    ("VIR_MIGRATE_PAUSED", lambda p: p.request.suspend),
    ("VIR_MIGRATE_NON_SHARED_DISK", lambda p: p.request.copy_storage is CopyStorage.ALL),
    ("VIR_MIGRATE_NON_SHARED_INC", lambda p: p.request.copy_storage is CopyStorage.INC),
    (
        "VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES",
        lambda p: p.request.copy_storage_synchronous_writes,
    ),
    ("VIR_MIGRATE_CHANGE_PROTECTION", lambda p: p.request.change_protection),
    ("VIR_MIGRATE_UNSAFE", lambda p: p.request.unsafe),
    ("VIR_MIGRATE_OFFLINE", lambda p: p.request.offline),
    ("VIR_MIGRATE_COMPRESSED", lambda p: p.request.compression is not None),
    ("VIR_MIGRATE_ABORT_ON_ERROR", lambda p: p.request.abort_on_error),
    ("VIR_MIGRATE_AUTO_CONVERGE", lambda p: p.request.auto_converge is not None),
    ("VIR_MIGRATE_RDMA_PIN_ALL", lambda p: p.request.rdma_pin_all),
    ("VIR_MIGRATE_POSTCOPY", lambda p: p.request.postcopy is not Postcopy.NEVER),
    ("VIR_MIGRATE_TLS", lambda p: p.request.tls),
    ("VIR_MIGRATE_PARALLEL", lambda p: p.request.parallel_connections > 0),
    ("VIR_MIGRATE_ZEROCOPY", lambda p: p.request.zerocopy),
)
"""libvirt's flags and when a plan sets them. POSTCOPY_RESUME is set by recovery alone."""


def _compression(name: str) -> Callable[[Plan], Any]:
    return lambda p: getattr(p.request.compression, name, None)


def _auto_converge(name: str) -> Callable[[Plan], Any]:
    return lambda p: getattr(p.request.auto_converge, name, None)


def _data_uri(plan: Plan) -> str | None:
    if plan.request.transport is Transport.TUNNELLED or plan.request.offline:
        return None
    return plan.request.migrate_uri or plan.target.migrate_uri


def _bandwidth(plan: Plan) -> int | None:
    """Said also where there is no limit: libvirt would take none given, and 0, for the last speed
    that somebody set on the guest ('virsh migrate-setspeed'), also long ago and while it was idle.
    """
    if plan.request.offline:
        return None
    return plan.request.bandwidth_mib_s or UNLIMITED_MIB_S


PARAMS: Final[tuple[tuple[str, Callable[[Plan], Any]], ...]] = (
    ("migrate_uri", _data_uri),
    ("destination_name", lambda p: p.request.dname),
    ("destination_xml", lambda p: p.request.xml),
    ("persistent_xml", lambda p: p.request.persistent_xml),
    ("bandwidth", _bandwidth),
    ("bandwidth.postcopy", lambda p: p.request.postcopy_bandwidth_mib_s or None),
    (
        "bandwidth.avail.switchover",
        lambda p: p.request.available_switchover_bandwidth_mib_s or None,
    ),
    ("graphics_uri", lambda p: p.request.graphics_uri),
    ("listen_address", lambda p: p.request.listen_address),
    ("migrate_disks", lambda p: list(p.request.migrate_disks) or None),
    ("migrate_disks_detect_zeroes", lambda p: list(p.request.migrate_disks_detect_zeroes) or None),
    ("migrate_disks_target_zero", lambda p: list(p.request.migrate_disks_target_zero) or None),
    ("disks_port", lambda p: p.request.disks_port),
    ("disks_uri", lambda p: p.request.disks_uri),
    ("compression", lambda p: list(_compression("methods")(p) or ()) or None),
    ("compression.mt.level", _compression("mt_level")),
    ("compression.mt.threads", _compression("mt_threads")),
    ("compression.mt.dthreads", _compression("mt_dthreads")),
    ("compression.xbzrle.cache", _compression("xbzrle_cache_bytes")),
    ("compression.zlib.level", _compression("zlib_level")),
    ("compression.zstd.level", _compression("zstd_level")),
    ("auto_converge.initial", _auto_converge("initial")),
    ("auto_converge.increment", _auto_converge("increment")),
    ("parallel.connections", lambda p: p.request.parallel_connections or None),
    ("tls.destination", lambda p: p.request.tls_destination),
)
"""libvirt's typed parameters, by the names that its headers define, and a plan's value or None.

The binding gives each the type that libvirt wants; versions that it does not know are refused
before (:mod:`pmigd.core.versions`).
"""


def flags_of(plan: Plan) -> int:
    """The plan as VIR_MIGRATE_* flags. Raises Refused for a flag that this libvirt lacks."""
    flags = 0
    for name, wanted in FLAGS:
        if wanted(plan):
            value = getattr(libvirt, name, None)
            if value is None:
                raise refuse(
                    Code.UNSUPPORTED_BY_LIBVIRT, f"libvirt on the source does not know {name}."
                )
            flags |= value
    return flags


def params_of(plan: Plan) -> dict[str, Any]:
    """The plan as typed parameters of migrateToURI3 and migrate3.

    Raises Refused for one that this binding would give a wrong type.
    """
    found = ((name, value(plan)) for name, value in PARAMS)
    params = {name: value for name, value in found if value is not None}
    for name in _TYPED_SINCE_9_4 & params.keys():
        # An older binding does not know that these are small numbers, and libvirt refuses others.
        if not hasattr(libvirt, "VIR_MIGRATE_PARAM_COMPRESSION_ZSTD_LEVEL"):
            raise refuse(
                Code.UNSUPPORTED_BY_LIBVIRT,
                f"'{name}' needs libvirt-python >= 9.4 on source; libvirt itself is new enough.",
            )
    return params


_TYPED_SINCE_9_4: Final = frozenset({"compression.zlib.level", "compression.zstd.level"})


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
