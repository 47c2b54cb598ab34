"""Migrations led through the real engine, with every step told to the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from prometheus_client.samples import Sample as Series

from pmigd.adapters.metrics import LeaseState, Metrics, PoolFigures, Snapshot
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.holdings import Resource
from pmigd.core.limits import DaemonLimits, Reading, Source, daemon_limits
from pmigd.core.model import (
    UNASKED,
    Because,
    Direction,
    Domain,
    Migration,
    MigrationId,
    Now,
    Plan,
    Power,
    Request,
    Sample,
    State,
    Target,
    View,
)
from tests.support.build import Reply, returned

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GIB = 1 << 30
ID = "0195a000-0000-7000-8000-{:012d}"
TARGET = Target("hostb", "qemu+tls://hostb/system")
PLAN = Plan(TARGET, Request("web1", "hostb"), persist_destination=True, undefine_source=True)
PREPARED = ev.Prepared(PLAN, Because.OTHER, paused_before=False)
ARRIVED = ev.Looked(View(Power.SHUTOFF, Because.MIGRATED), View(Power.RUNNING))
STAYED = ev.Looked(View(Power.RUNNING), View(Power.ABSENT))


@dataclass
class World:
    """One host: two clocks, the migrations on it, and its metrics."""

    mono: float = 1000.0
    queued: int = 0
    left_behind: int = 0
    waiting_oldest: datetime | None = None
    head_waits: str | None = None
    daemons: tuple[DaemonLimits, ...] = ()
    held: dict[Resource, int] = field(default_factory=dict)
    leases: dict[tuple[Direction, LeaseState], int] = field(default_factory=dict)
    peers_up: dict[str, bool] = field(default_factory=dict)
    pools: tuple[PoolFigures, ...] = ()
    journal_writable: bool = True
    open: dict[MigrationId, Migration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.mono
        self.restart()

    def restart(self) -> None:
        """Another life of pmigd: memory is lost."""
        self.metrics = Metrics(
            version="1.2.3+gabcdef",
            snapshot=self.snapshot,
            utc_now=lambda: self.now.utc,
            mono=lambda: self.mono,
        )

    @property
    def now(self) -> Now:
        return Now(self.mono, BEGAN + timedelta(seconds=self.mono - self.start))

    def snapshot(self) -> Snapshot:
        return Snapshot(
            migrations=list(self.open.values()),
            waiting_oldest=self.waiting_oldest,
            head_waits=self.head_waits,
            queued=self.queued,
            left_behind=self.left_behind,
            limits={Direction.OUTGOING: 4, Direction.INCOMING: 3},
            daemons=self.daemons,
            held=self.held,
            leases=self.leases,
            peers_up=self.peers_up,
            pools=self.pools,
            journal_writable=self.journal_writable,
            now_mono=self.mono,
        )

    def submit(self, number: int = 1, **changes: object) -> Migration:
        name = f"vm{number}"
        m = Migration(
            id=MigrationId(ID.format(number)),
            request=Request(name, "hostb"),
            domain=Domain(name, f"6b1f0d7e-0000-4000-8000-{number:012d}"),
            source="hosta",
            destination="hostb",
            target=TARGET,
            created_at=self.now.utc,
        )
        return self.became(None, replace(m, **changes))  # type: ignore[arg-type]

    def external(self, direction: Direction, number: int = 1, **changes: object) -> Migration:
        here_there = ("hosta", "") if direction is Direction.OUTGOING else ("", "hosta")
        return self.submit(
            number,
            external=True,
            direction=direction,
            state=State.PRECOPY,
            source=here_there[0],
            destination=here_there[1],
            started_at=self.now.utc,
            started_mono=self.mono,
            **changes,
        )

    def became(self, before: Migration | None, after: Migration) -> Migration:
        self.metrics.migration_changed(before, after)
        if after.open:
            self.open[after.id] = after
        else:
            self.open.pop(after.id, None)
        return after

    def happens(self, m: Migration, *events: ev.Event | Reply, after_s: float = 0.0) -> Migration:
        """Time goes by, then `m` meets the events; the new state of `m`."""
        self.mono += after_s
        for event in events:
            if isinstance(event, Reply):
                event = event.to(m)
            m = self.became(m, engine.step(m, event, self.now).migration)
        return m

    def sampled(self, m: Migration, after_s: float = 1.0, **figures: int) -> Migration:
        self.mono += after_s
        job = ev.Job.OUTGOING
        return self.happens(m, ev.Sampled(job, self.sample(**figures)))

    def sample(self, **figures: int) -> Sample:
        return Sample(at=self.now.utc, memory_total_bytes=8 * GIB, **figures)

    def running(self, number: int = 1, **changes: object) -> Migration:
        return self.happens(self.submit(number, **changes), ev.Admitted(), PREPARED)

    def finishes(self, m: Migration, after_s: float = 2.0, **final: int) -> Migration:
        """libvirt reports success with final statistics, and the destination shows the guest."""
        self.mono += after_s
        completed = ev.Completed(self.sample(**final))
        return self.happens(m, ev.SwitchedOver(), completed, returned(None), ARRIVED)

    def fails(self, m: Migration, problem: object, after_s: float = 2.0) -> Migration:
        return self.happens(m, returned(problem), STAYED, after_s=after_s)  # type: ignore[arg-type]

    def series(self) -> list[Series]:
        return [s for family in self.metrics.registry.collect() for s in family.samples]

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """The one sample of that name and exactly those labels; None: there is none."""
        found = [s.value for s in self.series() if (s.name, s.labels) == (name, labels or {})]
        assert len(found) < 2, f"{name}{labels} is there {len(found)} times"
        return found[0] if found else None

    def values(self, name: str) -> dict[str, float]:
        """Samples of that name that are not 0, by their label values."""
        return {
            ",".join(s.labels.values()): s.value
            for s in self.series()
            if s.name == name and s.value
        }


def told(daemon: str, mono: float, **figures: int) -> DaemonLimits:
    """A daemon that said its figures at that time; they are libvirt's defaults when idle."""
    idle = {
        "max_clients": 5000,
        "clients": 1,
        "anonymous_clients": 0,
        "max_workers": 20,
        "workers": 5,
        "free_workers": 5,
        "queued_calls": 0,
    }
    at = Now(mono, BEGAN)
    return daemon_limits(
        daemon, live=Reading(Source.VIRT_ADMIN, at, idle | figures), conf=None, now=at
    )


def untold(daemon: str) -> DaemonLimits:
    """A daemon that says nothing: only its file or the defaults are known."""
    return daemon_limits(daemon, live=None, conf=None, now=Now(0.0, BEGAN))


def lost_looks(m: Migration) -> list[ev.Event | Reply]:
    """What makes `m` unresolved: the destination does not answer, again and again."""
    gone = View(Power.SHUTOFF, Because.MIGRATED)
    return [returned(None), *[ev.Looked(gone, UNASKED)] * 6]
