"""libvirt's numbers and dictionaries in the core's words. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import libvirt

from pmigd.core import events as ev
from pmigd.core.fields import Row
from pmigd.core.figures import FIGURES
from pmigd.core.model import (
    Because,
    Direction,
    Domain,
    Job,
    Plan,
    Power,
    Sample,
)
from pmigd.core.problem import Code, refuse
from pmigd.core.request import ROWS, UNLIMITED_MIB_S, Transport

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


_PLANNED: Final[Mapping[str, Callable[[Plan], Any]]] = {
    "live": lambda p: p.request.live and not p.request.offline,
    "persistent": lambda p: p.persist_destination,
    "undefinesource": lambda p: p.undefine_source,
    "migrate_uri": _data_uri,
    "bandwidth_mib_s": _bandwidth,
}
"""The fields of which the plan says something else than the request."""


def flags_of(plan: Plan) -> int:
    """The plan as VIR_MIGRATE_* flags. Raises Refused for a flag that this libvirt lacks.

    POSTCOPY_RESUME is set by recovery alone.
    """
    flags = 0
    for row in ROWS:
        name = row.flag_for(_planned(row, plan))
        if name:
            value = getattr(libvirt, name, None)
            if value is None:
                raise refuse(
                    Code.UNSUPPORTED_BY_LIBVIRT, f"libvirt on the source does not know {name}."
                )
            flags |= value
    return flags


def params_of(plan: Plan) -> dict[str, Any]:
    """The plan as typed parameters of migrateToURI3 and migrate3, by libvirt's names.

    The binding gives each the type that libvirt wants; versions that do not know one are refused
    before (:mod:`pmigd.core.versions`). Raises Refused for one that this binding would give a wrong
    type.
    """
    params: dict[str, Any] = {}
    for row in ROWS:
        value = _planned(row, plan)
        if row.about.param and value is not None and value != row.default:
            params[row.about.param] = list(value) if isinstance(value, tuple) else value
    for name in _TYPED_SINCE_9_4 & params.keys():
        # An older binding does not know that these are small numbers, and libvirt refuses others.
        if not hasattr(libvirt, "VIR_MIGRATE_PARAM_COMPRESSION_ZSTD_LEVEL"):
            raise refuse(
                Code.UNSUPPORTED_BY_LIBVIRT,
                f"'{name}' needs libvirt-python >= 9.4 on source; libvirt itself is new enough.",
            )
    return params


def _planned(row: Row, plan: Plan) -> Any:
    return _PLANNED[row.path](plan) if row.path in _PLANNED else row.of(plan.request)


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
