"""The daemon's figures, for metrics and clients. Only arranges what others know, and how late the
event loop is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from pmigd.adapters.journal import Journal
from pmigd.adapters.limits import Limits as Mirror
from pmigd.adapters.metrics import Metrics, PoolFigures, Snapshot
from pmigd.adapters.pool import CallPool
from pmigd.config.schema import Config
from pmigd.core.admission import Standing
from pmigd.core.holdings import Account, Resource
from pmigd.core.holdings import Limits as InForce
from pmigd.core.leases import Lease
from pmigd.core.limits import Allowance, DaemonLimits, Figure, HostLimits, bounds
from pmigd.core.model import Direction
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate
from pmigd.daemon.granting import Granting
from pmigd.daemon.limiting import Limiting
from pmigd.daemon.watcher import Watcher
from pmigd.wire.host import DaemonUse, LeaseCounts, Limits, ResourceLimit

_FIGURE_OF: Mapping[Resource, str] = {
    Resource.CLIENT: "max_clients",
    Resource.ANONYMOUS_CLIENT: "max_anonymous_clients",
    Resource.WORKER: "max_workers",
    Resource.CLIENT_REQUEST: "max_client_requests",
}


LAG_PROBE_S: Final = 0.25
LAGS_KEPT_S: Final = 60


@dataclass(eq=False)
class Figures:
    """See the module. `config` is the one in force, `threads` all of those for blocking calls."""

    config: Callable[[], Config]
    journal: Journal
    mirror: Mirror
    gate: Gate
    migrations: Controller
    granting: Granting
    limiting: Limiting
    watcher: Watcher
    threads: Sequence[CallPool]
    mono: Callable[[], float]
    lags: deque[float] = field(
        init=False, default_factory=lambda: deque(maxlen=round(LAGS_KEPT_S / LAG_PROBE_S))
    )

    async def probe_lag(self, metrics: Metrics) -> None:
        """Measure how late the loop is, until cancelled."""
        while True:
            began = monotonic()
            await asyncio.sleep(LAG_PROBE_S)
            lag_s = max(0.0, monotonic() - began - LAG_PROBE_S)
            self.lags.append(lag_s)
            metrics.loop_lag(lag_s)

    def loop(self) -> dict[str, float]:
        """How late the event loop was: now, and at most within the last minute. Seconds."""
        lags = self.lags or [0.0]
        return {"lag_s": round(lags[-1], 4), "lag_most_s": round(max(lags), 4)}

    def pools(self) -> tuple[PoolFigures, ...]:
        """How busy the threads for blocking calls are."""
        return tuple(
            PoolFigures(p.name, busy=p.busy, size=p.size, waiting=p.waiting, overdue=p.overdue)
            for p in self.threads
        )

    def limits(self) -> Limits:
        """What migrations may hold on this host, and hold now."""
        return limits_view(
            self.config().daemon.name,
            self.gate.account,
            self.gate.limits,
            self.mirror.current,
            self.limiting.allowance,
            queued=len(self.gate.queue),
            leases=self.granting.book,
            now_mono=self.mono(),
        )

    def snapshot(self) -> Snapshot:
        """This host at this moment, for a scrape."""
        gate, running, limits = self.gate, self.migrations.running(), self.config().limits
        head = next(self.migrations.queued(), None)
        waits = gate.why(head, running) if head else None
        given = counts(self.granting.book)
        ours = [m for m in running if m.direction is Direction.OUTGOING and not m.external]
        unused = sum(lease.standing is Standing.GRANTED for lease in gate.leases.values())
        return Snapshot(
            migrations=running,
            waiting_oldest=head.created_at if head else None,
            head_waits=waits.resource if waits else None,
            queued=len(gate.queue),
            left_behind=self.watcher.left_behind,
            limits={
                Direction.OUTGOING: limits.max_outgoing,
                Direction.INCOMING: limits.max_incoming,
            },
            daemons=self.mirror.current.daemons,
            held={resource: gate.account.used(resource) for resource in Resource},
            leases={
                (Direction.INCOMING, "granted"): given.granted,
                (Direction.INCOMING, "waiting"): given.waiting,
                (Direction.OUTGOING, "granted"): unused
                + sum(gate.door(m.destination).leases for m in ours),
                (Direction.OUTGOING, "waiting"): len(gate.leases) - unused,
            },
            peers_up={name: door.shut is None for name, door in gate.doors.items() if door.leases},
            pools=self.pools(),
            journal_writable=self.journal.writable,
            now_mono=self.mono(),
        )


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
