"""pmigd's exporter by itself: for more migrations at a time than a lab has, and to count series.

Real are the registry, the rendering and the migrations, which the real engine leads from state to
state. Not real are libvirt, whose statistics are made up, and the daemon with its listener.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pmigd import __version__
from pmigd.adapters.metrics import LeaseState, Metrics, PoolFigures, Snapshot
from pmigd.adapters.metrics.labels import POOLS
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.commands import Kind
from pmigd.core.limits import DaemonLimits, Reading, Source, daemon_limits
from pmigd.core.model import (
    Because,
    Direction,
    Domain,
    Job,
    Migration,
    MigrationId,
    Now,
    Plan,
    Power,
    Request,
    Sample,
    Target,
    View,
)
from pmigd.core.ports import HostFacts

_BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_TARGET: Final = Target("hostb", "qemu+tls://hostb.example.com/system")
# What libvirt's daemon has when it is idle; the limits are its defaults.
_IDLE: Final = {
    "max_clients": 5000,
    "clients": 1,
    "anonymous_clients": 0,
    "max_workers": 20,
    "workers": 5,
    "free_workers": 5,
    "queued_calls": 0,
}


class Exporter:
    """The metrics of one host, which has libvirt's daemon and nothing else yet.

    `peers_up` may be changed: which peers' pmigd are configured, and whether they answer.
    """

    def __init__(self) -> None:
        self.peers_up: dict[str, bool] = {}
        self._mono = 0.0
        self._running: dict[MigrationId, Migration] = {}
        self.metrics = Metrics(
            version=__version__,
            snapshot=self._snapshot,
            utc_now=lambda: self._now.utc,
            mono=lambda: self._mono,
        )
        self.metrics.libvirt_changed(True, HostFacts("", "", "9.0.0", "QEMU", "7.2.0"), 0)

    def text(self) -> str:
        """What a scrape gets now, in plain text."""
        return self.metrics.render("")[0].decode()

    def series(self) -> int:
        """How many series that has."""
        return count(self.text())

    def run(self, number: int, *, full: bool = False) -> Migration:
        """A migration of domain `number` that is in its second pass over the memory.

        With `full` it has all that can be measured of one: limits of time and of bandwidth, disks
        that are copied, auto-converge.
        """
        name = f"instance-{number:08x}"
        request = Request(name, _TARGET.name)
        sample = self._sample()
        if full:
            request = replace(request, timeout_s=600, bandwidth_mib_s=100)
            sample = replace(
                sample, disk_total_bytes=_GIB, disk_bytes_per_second=_MIB, throttle_percent=20
            )
        m = Migration(
            id=MigrationId(f"0195a000-0000-7000-8000-{number:012x}"),
            request=request,
            domain=Domain(name, f"6b1f0d7e-0000-4000-8000-{number:012x}"),
            source="hosta",
            destination=_TARGET.name,
            target=_TARGET,
            created_at=self._now.utc,
        )
        self.metrics.migration_changed(None, m)
        plan = Plan(_TARGET, request, persist_destination=True, undefine_source=True)
        return self._happens(
            m,
            ev.Admitted(),
            ev.Prepared(plan, Because.OTHER, paused_before=False),
            ev.Sampled(Job.OUTGOING, sample),
        )

    def arrive(self, m: Migration) -> Migration:
        """It succeeds."""
        return self._happens(
            m,
            ev.SwitchedOver(),
            ev.Completed(replace(self._sample(), downtime_net_ms=50, setup_ms=4)),
            ev.Answered(next(c.id for c in m.commands if c.kind is Kind.PERFORM)),
            ev.Looked(View(Power.SHUTOFF, Because.MIGRATED), View(Power.RUNNING)),
        )

    @property
    def _now(self) -> Now:
        return Now(self._mono, _BEGAN + timedelta(seconds=self._mono))

    def _happens(self, m: Migration, *events: ev.Event) -> Migration:
        for event in events:
            self._mono += 0.123
            before, m = m, engine.step(m, event, self._now).migration
            self.metrics.migration_changed(before, m)
        if m.open:
            self._running[m.id] = m
        else:
            del self._running[m.id]
        return m

    def _sample(self) -> Sample:
        """Figures as long as real ones."""
        return Sample(
            at=self._now.utc,
            memory_total_bytes=8_606_187_520,
            memory_processed_bytes=2_954_846_208,
            memory_remaining_bytes=5_612_109_824,
            memory_bytes_per_second=1_164_832_768,
            dirty_bytes_per_second=104_857_600,
            iteration=2,
            downtime_ms=187,
            downtime_limit_ms=300,
        )

    def _snapshot(self) -> Snapshot:
        states: tuple[LeaseState, ...] = ("granted", "waiting")
        return Snapshot(
            migrations=list(self._running.values()),
            waiting_oldest=None,
            head_waits=None,
            queued=0,
            left_behind=0,
            limits=dict.fromkeys(Direction, 1),
            daemons=(self._daemon(),),
            held={},
            leases={(direction, state): 0 for direction in Direction for state in states},
            peers_up=self.peers_up,
            pools=[PoolFigures(name, busy=0, size=1, waiting=0, overdue=0) for name in POOLS],
            journal_writable=True,
            now_mono=self._mono,
        )

    def _daemon(self) -> DaemonLimits:
        reading = Reading(Source.VIRT_ADMIN, self._now, _IDLE)
        return daemon_limits("libvirtd", live=reading, conf=None, now=self._now)


def count(exposition: str) -> int:
    """How many series an exposition has."""
    return sum(not line.startswith("#") for line in exposition.splitlines())
