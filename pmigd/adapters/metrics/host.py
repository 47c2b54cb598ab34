"""Figures of this host: pmigd itself, its libvirt daemon, the queue, the threads, the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from platform import python_version
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.labels import Bounded, Usage, member
from pmigd.adapters.metrics.snapshot import Snapshot
from pmigd.core import states
from pmigd.core.commands import Kind
from pmigd.core.ledger import owed
from pmigd.core.model import Direction
from pmigd.core.ports import HostFacts
from pmigd.core.problem import Code

MAX_CALLS: Final = 20
_LAGS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

BUILD: Final = Family(
    "pmigd_build_info",
    "gauge",
    "1. The version of pmigd, its revision (what follows a + in the version, empty in a release),"
    " of Python and of the libvirt binding.",
    ("version", "revision", "python", "libvirt_client"),
)
LIBVIRT: Final = Family(
    "pmigd_libvirt_info",
    "gauge",
    "1. The libvirt daemon of this host when it was last connected to.",
    ("daemon_version", "hypervisor", "hypervisor_version"),
    "not connected since the start",
)
UP: Final = Family(
    "pmigd_libvirt_up", "gauge", "Whether the connection to this host's libvirt daemon stands."
)
RECONNECTS: Final = Family(
    "pmigd_libvirt_reconnects_total",
    "counter",
    "Times the connection to this host's libvirt daemon was made anew.",
)
CALLS: Final = Family(
    "pmigd_libvirt_call_duration_seconds",
    "summary",
    "Time that calls of libvirt took, waiting for a thread included. At most 20 kinds of call.",
    ("call",),
    "the call was not made since the start",
)
CALL_ERRORS: Final = Family(
    "pmigd_libvirt_call_errors_total",
    "counter",
    "Calls of libvirt that failed or did not come back within their deadline.",
    ("call",),
    "the call was not made since the start",
)
ACTIVE: Final = Family(
    "pmigd_migrations_active",
    "gauge",
    "Migrations that run now, those that others started included.",
    ("direction",),
)
LIMIT: Final = Family(
    "pmigd_migrations_limit",
    "gauge",
    "Migrations that may run at once (limits.max_outgoing, limits.max_incoming).",
    ("direction",),
)
QUEUED: Final = Family("pmigd_migrations_queued", "gauge", "Migrations that wait for their start.")
OLDEST: Final = Family(
    "pmigd_migration_oldest_queued_timestamp_seconds",
    "gauge",
    "When the migration at the head of the queue was submitted.",
    absent="the queue is empty",
)
STUCK: Final = {
    state: Family(f"pmigd_migrations_{state}", "gauge", state.about.stuck) for state in states.STUCK
}
STANDSTILL: Final = Family(
    "pmigd_migrations_standing_still",
    "gauge",
    "Migrations of which nothing has moved for 30 seconds, though libvirt goes on with them: they"
    " do not end by themselves, and their guest may be stopped.",
)
LEFT_BEHIND: Final = Family(
    "pmigd_copies_left_behind",
    "gauge",
    "Copies of guests on this host that a failed migration has left and nobody goes on with:"
    " half-made ones, and half a guest after a broken post-copy. An operator ends them.",
)
OWED: Final = Family(
    "pmigd_commands_pending",
    "gauge",
    "Commands that were asked for and are not done yet: aborts, settings and the like. One that"
    " stays means that libvirt does not answer or has no job to do it to.",
    ("command",),
)
JOURNAL: Final = Family(
    "pmigd_journal_writable",
    "gauge",
    "Whether the journal of migrations was read as a whole and can be written. While it is not,"
    " nothing is started; it is tried every two seconds.",
)
BUSY: Final = Family(
    "pmigd_executor_threads_busy",
    "gauge",
    "Threads that are inside a blocking call, overdue ones included.",
    ("pool",),
)
THREADS: Final = Family(
    "pmigd_executor_threads_limit", "gauge", "Threads that the pool may have at most.", ("pool",)
)
OVERDUE: Final = Family(
    "pmigd_executor_threads_overdue",
    "gauge",
    "Threads inside calls that should have come back by now: what they ask does not answer.",
    ("pool",),
)
WAITING: Final = Family(
    "pmigd_executor_queue_length", "gauge", "Calls that lack nothing but a free thread.", ("pool",)
)
LAG: Final = Family(
    "pmigd_event_loop_lag_seconds",
    "histogram",
    "How much later than planned the event loop woke the probe up.",
    buckets=_LAGS,
)
RELOAD_OK: Final = Family(
    "pmigd_config_last_reload_successful",
    "gauge",
    "Whether the last attempt to read the configuration succeeded.",
)
RELOADED: Final = Family(
    "pmigd_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration was last read with success.",
)
WEB_CONFIG_OK: Final = Family(
    "pmigd_web_config_last_reload_successful",
    "gauge",
    "Whether the web configuration file and its certificates, as they are now, can be used. While"
    " they cannot, the last good ones are.",
    absent="metrics.web_config is not set",
)
CERTIFICATE: Final = Family(
    "pmigd_tls_certificate_not_after_timestamp_seconds",
    "gauge",
    "When the certificate ends that this host shows to others; where it has several for one usage,"
    " the one that ends first. peer: to the pmigd of other hosts, as it was last read; metrics: to"
    " Prometheus; migration: QEMU's, as they are on the disk, looked at once a minute.",
    ("usage",),
    "no certificate is shown for it, or it cannot be read",
)
SCRAPE_REFUSALS: Final = Family(
    "pmigd_scrape_refusals_total",
    "counter",
    "Connections and requests on the listeners for Prometheus that were turned away; not_allowed"
    " is a missing or wrong password, or a certificate without an allowed name.",
    ("reason",),
)
LOG: Final = Family(
    "pmigd_log_messages_total", "counter", "Lines written to the log, by level.", ("level",)
)
LOG_UNSENT: Final = Family(
    "pmigd_log_unsent_total",
    "counter",
    "Lines that systemd's journal did not take at once (they went to stderr, if that took them),"
    " or without a journal stderr.",
)

FAMILIES: Final = (
    BUILD,
    LIBVIRT,
    UP,
    RECONNECTS,
    CALLS,
    CALL_ERRORS,
    ACTIVE,
    LIMIT,
    QUEUED,
    OLDEST,
    *STUCK.values(),
    STANDSTILL,
    LEFT_BEHIND,
    OWED,
    JOURNAL,
    BUSY,
    THREADS,
    OVERDUE,
    WAITING,
    LAG,
    RELOAD_OK,
    RELOADED,
    WEB_CONFIG_OK,
    CERTIFICATE,
    SCRAPE_REFUSALS,
    LOG,
    LOG_UNSENT,
)


class HostMetrics:
    """What is not about one migration."""

    def __init__(
        self, registry: CollectorRegistry, *, version: str, utc_now: Callable[[], datetime]
    ) -> None:
        self._utc_now = utc_now
        BUILD.gauge(registry).labels(
            version, version.partition("+")[2], python_version(), _libvirt_binding()
        ).set(1)
        self._connected = False
        self._facts: HostFacts | None = None
        self._reconnects = 0
        self._call_names = Bounded(MAX_CALLS - 1)  # and "other"
        self._calls = CALLS.summary(registry)
        self._call_errors = CALL_ERRORS.counter(registry)
        self._lag = LAG.histogram(registry)
        self._reload_ok = RELOAD_OK.gauge(registry)
        self._reloaded = RELOADED.gauge(registry)
        self._web_config_ok: bool | None = None
        self._certificates: dict[Usage, datetime | None] = {}
        self._scrape_refusals = SCRAPE_REFUSALS.counter(registry)
        for reason in (*labels.SCRAPE_REFUSALS, labels.OTHER):
            self._scrape_refusals.labels(reason)
        self._log = LOG.counter(registry)
        for level in labels.LEVELS:
            self._log.labels(level)
        self._log_unsent = LOG_UNSENT.counter(registry)
        self.config_reloaded(True)  # the daemon starts only with a good configuration

    def libvirt_call(self, name: str, seconds: float, failed: bool) -> None:
        """A call of libvirt came back, or nobody waits for it any more."""
        call = self._call_names(name)
        self._calls.labels(call).observe(seconds)
        self._call_errors.labels(call).inc(1 if failed else 0)

    def libvirt_changed(self, connected: bool, facts: HostFacts, reconnects: int) -> None:
        """The connection to this host's libvirt daemon came or went."""
        self._connected = connected
        self._reconnects = reconnects
        if connected:
            self._facts = facts

    def loop_lag(self, seconds: float) -> None:
        """The probe on the event loop woke up `seconds` late."""
        self._lag.observe(seconds)

    def config_reloaded(self, ok: bool) -> None:
        """The configuration was read again."""
        self._reload_ok.set(1 if ok else 0)
        if ok:
            self._reloaded.set(self._utc_now().timestamp())

    def web_config_read(self, ok: bool | None) -> None:
        """The web configuration file was read; None: there is none."""
        self._web_config_ok = ok

    def certificate_in_force(self, usage: Usage, ends: datetime | None) -> None:
        """What this host shows for `usage` ends then; None: it shows none."""
        self._certificates[usage] = ends

    def scrape_refused(self, why: str) -> None:
        """A connection or a request was turned away from the listeners for Prometheus."""
        self._scrape_refusals.labels(member(why, labels.SCRAPE_REFUSALS, labels.OTHER)).inc()

    def log_message(self, level: str) -> None:
        """A line was logged. A level that is not one of ours counts as info."""
        self._log.labels(member(level, labels.LEVELS, "info")).inc()

    def log_unsent(self) -> None:
        """A line was not taken by journald."""
        self._log_unsent.inc()

    def collect(self, now: Snapshot) -> Iterator[Metric]:
        """The families that are read from memory as of now."""
        yield from self._libvirt()
        yield from self._serving()
        yield from _queue(now)
        yield from _pools(now)

    def _serving(self) -> Iterator[Metric]:
        ok, certificates = WEB_CONFIG_OK.gauges(), CERTIFICATE.gauges()
        if self._web_config_ok is not None:
            ok.add_metric([], int(self._web_config_ok))
        for usage, ends in self._certificates.items():
            if ends is not None:
                certificates.add_metric([usage], ends.timestamp())
        yield from (ok, certificates)

    def _libvirt(self) -> Iterator[Metric]:
        info, up, reconnects = LIBVIRT.gauges(), UP.gauges(), RECONNECTS.counters()
        if self._facts is not None:
            f = self._facts
            info.add_metric([f.libvirt_version, f.hypervisor, f.hypervisor_version], 1)
        up.add_metric([], 1 if self._connected else 0)
        reconnects.add_metric([], self._reconnects)
        yield from (info, up, reconnects)


def _queue(now: Snapshot) -> Iterator[Metric]:
    active, limit, queued = ACTIVE.gauges(), LIMIT.gauges(), QUEUED.gauges()
    oldest, journal = OLDEST.gauges(), JOURNAL.gauges()
    for direction in Direction:
        running = sum(m.state.holds_slot and m.direction is direction for m in now.migrations)
        active.add_metric([str(direction)], running)
        limit.add_metric([str(direction)], now.limits[direction])
    queued.add_metric([], now.queued)
    if now.waiting_oldest is not None:
        oldest.add_metric([], now.waiting_oldest.timestamp())
    journal.add_metric([], int(now.journal_writable))
    yield from (active, limit, queued, oldest, journal)
    in_state = Counter(m.state for m in now.migrations)
    problems = Counter(m.problem.code for m in now.migrations if m.problem is not None)
    stuck = {family: in_state[state] for state, family in STUCK.items()}
    stuck |= {STANDSTILL: problems[Code.STANDSTILL], LEFT_BEHIND: now.left_behind}
    for family, number in stuck.items():
        gauge = family.gauges()
        gauge.add_metric([], number)
        yield gauge
    pending = OWED.gauges()
    waiting = Counter(c.kind for m in now.migrations for c in owed(m))
    for kind in labels.COMMANDS:
        pending.add_metric([kind], waiting[Kind(kind)])
    yield pending


def _pools(now: Snapshot) -> Iterator[Metric]:
    busy, threads = BUSY.gauges(), THREADS.gauges()
    overdue, waiting = OVERDUE.gauges(), WAITING.gauges()
    for pool in now.pools:
        busy.add_metric([pool.name], pool.busy)
        threads.add_metric([pool.name], pool.size)
        overdue.add_metric([pool.name], pool.overdue)
        waiting.add_metric([pool.name], pool.waiting)
    yield from (busy, threads, overdue, waiting)


def _libvirt_binding() -> str:
    try:
        return installed_version("libvirt-python")
    except PackageNotFoundError:  # a distribution may install it without metadata
        return ""
