"""The limits of this host's libvirt daemons: which figure counts, and how much of it is usable.

Pure functions of what was read. A figure is the one of the best source that has it: the running
daemon (virt-admin), its configuration file, libvirt's own default. Where two daemons serve a
migration (virtproxyd and virtqemud on modular hosts), the smaller limit binds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pmigd.core.holdings import Account, Limits, Resource
from pmigd.core.model import Now

LIVE_KEPT_S: Final = 60.0
"""What a daemon said itself counts for this long after it has stopped answering."""

DEFAULTS: Final[Mapping[str, int]] = {
    "max_clients": 5000,
    "max_anonymous_clients": 20,
    "min_workers": 5,
    "max_workers": 20,
    "prio_workers": 5,
    "max_client_requests": 5,
    "migration_port_min": 49152,
    "migration_port_max": 49215,
}
"""libvirt's defaults (libvirtd.conf, qemu.conf), the same from 9.0 on."""


class Source(StrEnum):
    """Where a figure comes from, best first."""

    VIRT_ADMIN = "virt-admin"
    CONF = "conf"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source said at one time: figures by the names they have in libvirt's files."""

    source: Source
    read_at: Now
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figure:
    """One limit. `read_at` is None for a default; figures that differ only in it are equal."""

    value: int
    source: Source
    read_at: Now | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Use:
    """What a daemon has in use, by its own word. All its clients count, not only migrations.

    `free_workers` are those of `workers` that wait for a call; `queued_calls` wait for a worker.
    """

    clients: int
    anonymous_clients: int
    workers: int
    free_workers: int
    queued_calls: int
    read_at: Now = field(compare=False)

    @property
    def busy_workers(self) -> int:
        """Workers inside a call."""
        return self.workers - self.free_workers


@dataclass(frozen=True, slots=True)
class DaemonLimits:
    """The limits of one daemon, named as in its configuration file.

    `use` is None when it is not known now; `problem` says why live figures, or those of the
    file, could not be read last time.
    """

    daemon: str
    max_clients: Figure
    max_anonymous_clients: Figure
    min_workers: Figure
    max_workers: Figure
    prio_workers: Figure
    max_client_requests: Figure
    use: Use | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of this host. Two that are equal differ in nothing but the age of the figures.

    `daemons` begins with the one that runs the guests. The ports are the first and the last that
    incoming migrations may listen on (qemu.conf); `problem` says why qemu.conf was not read.
    """

    daemons: tuple[DaemonLimits, ...]
    migration_port_min: Figure
    migration_port_max: Figure
    problem: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that could not be read, in plain words."""
        told = (*(daemon.problem for daemon in self.daemons), self.problem)
        return tuple(problem for problem in told if problem)


@dataclass(frozen=True, slots=True)
class Bound:
    """How much of a resource migrations may hold on this host: `usable` = limit - `reserve`.

    `daemon` is the one whose limit it is. `note` says what is wrong with the limit, or "".
    """

    resource: Resource
    daemon: str
    limit: int
    source: Source
    reserve: int
    usable: int
    note: str = ""


def daemon_limits(
    daemon: str, *, live: Reading | None, conf: Reading | None, now: Now, problem: str = ""
) -> DaemonLimits:
    """Put together what is known of one daemon. A `live` that is too old no longer counts."""
    if live is not None and now.mono - live.read_at.mono > LIVE_KEPT_S:
        live = None
    readings = [reading for reading in (live, conf) if reading is not None]
    return DaemonLimits(
        daemon=daemon,
        max_clients=_best("max_clients", readings),
        max_anonymous_clients=_best("max_anonymous_clients", readings),
        min_workers=_best("min_workers", readings),
        max_workers=_best("max_workers", readings),
        prio_workers=_best("prio_workers", readings),
        max_client_requests=_best("max_client_requests", readings),
        use=_use(live),
        problem=problem,
    )


def host_limits(
    daemons: Iterable[DaemonLimits], qemu_conf: Reading | None, problem: str = ""
) -> HostLimits:
    """Put together what is known of this host."""
    readings = [qemu_conf] if qemu_conf is not None else []
    return HostLimits(
        daemons=tuple(daemons),
        migration_port_min=_best("migration_port_min", readings),
        migration_port_max=_best("migration_port_max", readings),
        problem=problem,
    )


def usable(limit: int, reserve: int) -> tuple[int, int]:
    """How many of `limit` migrations may hold, and the reserve that is really kept.

    The reserve is cut so that two remain, one to leave with and one to come with, where `limit`
    is at least 4. Below that one remains: more would leave nothing for an abort.
    """
    may_hold = max(2, limit - reserve) if limit >= 4 else 1
    return may_hold, max(0, limit - may_hold)


def bounds(
    limits: HostLimits, *, reserve_workers: int, reserve_clients: int
) -> dict[Resource, Bound]:
    """How much of each resource migrations may hold on this host, and who says so."""
    return {
        bound.resource: bound
        for bound in (
            _with_reserve(Resource.CLIENT, limits, "max_clients", reserve_clients),
            _bound(Resource.ANONYMOUS_CLIENT, limits, "max_anonymous_clients", 0),
            _with_reserve(Resource.WORKER, limits, "max_workers", reserve_workers),
            # At its limit of requests libvirt stops reading a connection, keepalives included.
            _bound(Resource.CLIENT_REQUEST, limits, "max_client_requests", 1),
            _ports(limits),
        )
    }


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the configuration allows, in migrations; the reserves in workers and clients."""

    max_outgoing: int = 1
    max_incoming: int = 1
    max_preparing: int = 2
    ssh_startups: int = 10
    reserve_workers: int = 5
    reserve_clients: int = 100


def admission_limits(
    host: HostLimits,
    allowance: Allowance,
    account: Account,
    before: Limits | None = None,
    hung: Mapping[str, int] = MappingProxyType({}),
) -> Limits:
    """What admission goes by: the configuration's slots, the daemons' limits, and others' use.

    Whatever a daemon has in use beyond what migrations hold by `account` is others'. A worker is
    others' only if it was so at the reading `before` as well: most calls are over at once. Those in
    `hung` calls are known to be gone, whether the daemon is asked for its use or not.
    """
    found = bounds(
        host, reserve_workers=allowance.reserve_workers, reserve_clients=allowance.reserve_clients
    )
    usable_of = {
        Resource.OUTGOING_SLOT: allowance.max_outgoing,
        Resource.INCOMING_SLOT: allowance.max_incoming,
        Resource.PREPARING_SLOT: allowance.max_preparing,
        Resource.SSH_STARTUP: allowance.ssh_startups,
    } | {resource: bound.usable for resource, bound in found.items()}
    uses = [daemon.use for daemon in host.daemons if daemon.use is not None]
    busy = max((use.busy_workers for use in uses), default=0) - account.used(Resource.WORKER)
    clients = max((use.clients for use in uses), default=0) - account.used(Resource.CLIENT)
    strangers = max((use.anonymous_clients for use in uses), default=0)
    busy_before = before.busy if before is not None else 0
    return Limits(
        usable=usable_of,
        others={
            Resource.WORKER: max(0, min(busy, busy_before), sum(hung.values())),
            Resource.CLIENT: max(0, clients),
            Resource.ANONYMOUS_CLIENT: max(0, strangers - account.used(Resource.ANONYMOUS_CLIENT)),
        },
        workers=found[Resource.WORKER].limit,
        busy=max(0, busy),
        hung=hung,
    )


def _best(name: str, readings: Iterable[Reading]) -> Figure:
    for reading in readings:
        if name in reading.figures:
            return Figure(reading.figures[name], reading.source, reading.read_at)
    return Figure(DEFAULTS[name], Source.DEFAULT)


def _use(live: Reading | None) -> Use | None:
    if live is None:
        return None
    return Use(
        clients=live.figures["clients"],
        anonymous_clients=live.figures["anonymous_clients"],
        workers=live.figures["workers"],
        free_workers=live.figures["free_workers"],
        queued_calls=live.figures["queued_calls"],
        read_at=live.read_at,
    )


def _smallest(limits: HostLimits, name: str) -> tuple[str, Figure]:
    figures: list[tuple[str, Figure]] = [(d.daemon, getattr(d, name)) for d in limits.daemons]
    return min(figures, key=lambda pair: pair[1].value)


def _bound(resource: Resource, limits: HostLimits, name: str, reserve: int) -> Bound:
    daemon, figure = _smallest(limits, name)
    may_hold = max(1, figure.value - reserve)
    kept = max(0, figure.value - may_hold)
    return Bound(resource, daemon, figure.value, figure.source, kept, may_hold)


def _with_reserve(resource: Resource, limits: HostLimits, name: str, reserve: int) -> Bound:
    daemon, figure = _smallest(limits, name)
    may_hold, kept = usable(figure.value, reserve)
    note = ""
    if may_hold < 2:
        note = (
            f"{name} of {daemon} is only {figure.value}: one migration at a time, and its abort may"
            f" find nothing left. Raise it to {reserve + 2} or more."
        )
    elif kept < reserve:
        note = (
            f"{name} of {daemon} is only {figure.value}: reserve_{resource}s is cut from {reserve}"
            f" to {kept}. Raise {name} to {reserve + 2} or more."
        )
    return Bound(resource, daemon, figure.value, figure.source, kept, may_hold, note)


def _ports(limits: HostLimits) -> Bound:
    first, last = limits.migration_port_min, limits.migration_port_max
    count = last.value - first.value + 1
    source = Source.CONF if Source.CONF in (first.source, last.source) else Source.DEFAULT
    daemon = limits.daemons[0].daemon
    note = ""
    if count < 1:  # the file cannot be what the daemon runs by
        count = 1
        note = (
            "migration_port_max in qemu.conf is below migration_port_min:"
            f" {daemon} will not start with it. Correct it."
        )
    return Bound(Resource.MIGRATION_PORT, daemon, count, source, 0, count, note)
