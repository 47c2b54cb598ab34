"""Limits and peers as they are shown to clients. Only arranges what others know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pmigd.core.holdings import Account, Resource
from pmigd.core.holdings import Limits as InForce
from pmigd.core.leases import Lease
from pmigd.core.limits import Allowance, DaemonLimits, Figure, HostLimits, bounds
from pmigd.wire.host import DaemonUse, LeaseCounts, Limits, ResourceLimit

_FIGURE_OF: Mapping[Resource, str] = {
    Resource.CLIENT: "max_clients",
    Resource.ANONYMOUS_CLIENT: "max_anonymous_clients",
    Resource.WORKER: "max_workers",
    Resource.CLIENT_REQUEST: "max_client_requests",
}


def limits_view(
    host: str,
    account: Account,
    in_force: InForce,
    read: HostLimits,
    allowance: Allowance,
    *,
    queued: int,
    leases: Iterable[Lease],
    now_mono: float,
) -> Limits:
    """Everything about this host's limits."""
    configured = {
        Resource.OUTGOING_SLOT: allowance.max_outgoing,
        Resource.INCOMING_SLOT: allowance.max_incoming,
        Resource.PREPARING_SLOT: allowance.max_preparing,
        Resource.SSH_STARTUP: allowance.ssh_startups,
    }
    rows = [
        ResourceLimit(
            resource=resource,
            used=account.used(resource),
            others=0,
            usable=limit,
            limit=limit,
            reserve=0,
            source="config",
            daemon=None,
            age_s=None,
            note="",
        )
        for resource, limit in configured.items()
    ]
    found = bounds(
        read, reserve_workers=allowance.reserve_workers, reserve_clients=allowance.reserve_clients
    )
    for resource, bound in found.items():
        figure = _figure(resource, bound.daemon, read)
        rows.append(
            ResourceLimit(
                resource=resource,
                used=account.used(resource),
                others=in_force.others.get(resource, 0),
                usable=bound.usable,
                limit=bound.limit,
                reserve=bound.reserve,
                source=bound.source.value,
                daemon=bound.daemon,
                age_s=_age(figure, now_mono),
                note=" ".join(filter(None, (bound.note, _hung(resource, in_force)))),
            )
        )
    return Limits(
        host=host,
        queued=queued,
        resources=tuple(rows),
        daemons=tuple(_daemon(daemon) for daemon in read.daemons),
        given=counts(leases),
        problems=read.problems,
    )


def _hung(resource: Resource, in_force: InForce) -> str:
    words = in_force.hung_words if resource is Resource.WORKER else ""
    return f"{words}." if words else ""


def counts(leases: Iterable[Lease]) -> LeaseCounts:
    """How many are in force and how many wait."""
    granted = [lease.granted for lease in leases]
    return LeaseCounts(granted=sum(granted), waiting=len(granted) - sum(granted))


def _figure(resource: Resource, daemon: str, read: HostLimits) -> Figure:
    name = _FIGURE_OF.get(resource)
    if name is None:
        return read.migration_port_max
    found = next(d for d in read.daemons if d.daemon == daemon)
    figure: Figure = getattr(found, name)
    return figure


def _age(figure: Figure, now_mono: float) -> float | None:
    return None if figure.read_at is None else round(now_mono - figure.read_at.mono, 1)


def _daemon(daemon: DaemonLimits) -> DaemonUse:
    use = daemon.use
    return DaemonUse(
        daemon=daemon.daemon,
        clients=use.clients if use else None,
        clients_limit=daemon.max_clients.value,
        anonymous_clients=use.anonymous_clients if use else None,
        anonymous_clients_limit=daemon.max_anonymous_clients.value,
        workers=use.workers if use else None,
        workers_free=use.free_workers if use else None,
        workers_limit=daemon.max_workers.value,
        queued_calls=use.queued_calls if use else None,
        problem=daemon.problem,
    )
