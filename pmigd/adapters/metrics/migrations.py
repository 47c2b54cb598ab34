"""Counters and histograms of migrations: the primary record, moved by each step.

Families without a ``direction`` label are about outgoing migrations only: every migration has one
source, so a sum over all hosts counts each once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.downtime import Pause, pause_of
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.track import Track, has_begun
from pmigd.core.figures import FIGURES
from pmigd.core.model import Direction, Migration, MigrationId, Result, Sample, State
from pmigd.core.problem import Code

DURATIONS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
# 0.3 s is QEMU's default limit, so "within the limit" is exact.
_DOWNTIMES: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15),
    *(0.3, 0.5, 1, 2, 3, 5, 10, 30, 60),
)
_QUEUE_WAITS: Final = (0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600)
_ITERATIONS: Final = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)
_POSTCOPIES: Final = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)

STARTED: Final = Family(
    "pmigd_migrations_started_total",
    "counter",
    "Migrations that work was begun on, those that others started included.",
    ("direction", "transport"),
)
FINISHED: Final = Family(
    "pmigd_migrations_finished_total",
    "counter",
    "Migrations that ended, those that were cancelled in the queue included.",
    ("direction", "transport", "result"),
)
FAILURES: Final = Family(
    "pmigd_migration_failures_total",
    "counter",
    "Failed migrations by cause. An incoming one that somebody aborted is among them: a destination"
    " is not told why it was to come to nothing.",
    ("direction", "reason"),
)
REJECTED: Final = Family(
    "pmigd_migrations_rejected_total",
    "counter",
    "Submissions that were refused at once, by cause.",
    ("reason",),
)
RECOVERED: Final = Family(
    "pmigd_migrations_recovered_total",
    "counter",
    "Migrations that were found under way after a restart of pmigd and taken up again.",
)
ACTIONS: Final = Family(
    "pmigd_migration_actions_total",
    "counter",
    "What was done to running migrations to bring them to an end.",
    ("action",),
)
QUEUE_WAIT: Final = Family(
    "pmigd_migration_queue_wait_seconds",
    "histogram",
    "Time from the submission of a migration to its start.",
    buckets=_QUEUE_WAITS,
)
DURATION: Final = Family(
    "pmigd_migration_duration_seconds",
    "histogram",
    "Time from the start of an outgoing migration to its end."
    " One whose end nobody saw (it was unresolved) is left out.",
    ("result",),
    buckets=DURATIONS,
)
DOWNTIME: Final = Family(
    "pmigd_migration_downtime_seconds",
    "histogram",
    "Measured pause of the guest in an outgoing migration that succeeded; never a forecast. In"
    " post-copy a lower bound.",
    ("mode",),
    buckets=_DOWNTIMES,
)
DISCARDED: Final = Family(
    "pmigd_migration_downtime_discarded_total",
    "counter",
    "Migrations for which libvirt measured a pause that cannot be true:"
    " the clocks of the two hosts differ.",
)
POSTCOPY: Final = Family(
    "pmigd_migration_postcopy_duration_seconds",
    "histogram",
    "Time that an outgoing migration which succeeded was in post-copy.",
    buckets=_POSTCOPIES,
)
SETUP: Final = Family(
    "pmigd_migration_setup_seconds",
    "summary",
    "Time QEMU took to set outgoing migrations up.",
)
ITERATIONS: Final = Family(
    "pmigd_migration_memory_iterations",
    "histogram",
    "Passes over the memory that outgoing migrations took, however they ended.",
    buckets=_ITERATIONS,
)
TRANSFERRED: Final = Family(
    "pmigd_migration_transferred_bytes_total",
    "counter",
    "Bytes of guests that crossed the network, counted while they do."
    " Incoming ones at the end, and not with post-copy: libvirt does not tell before, or at all.",
    ("direction", "kind"),
)
PAGES: Final = Family(
    "pmigd_migration_pages_total",
    "counter",
    "Memory pages sent by outgoing migrations. A constant one holds one byte over and over, a"
    " compressed one went as its difference (xbzrle); libvirt does not count those that other"
    " methods compress.",
    ("kind",),
)
REQUESTS: Final = Family(
    "pmigd_migration_postcopy_requests_total",
    "counter",
    "Pages that the guest asked for before they had been sent, in outgoing post-copy.",
)

FAMILIES: Final = (
    STARTED,
    FINISHED,
    FAILURES,
    REJECTED,
    RECOVERED,
    ACTIONS,
    QUEUE_WAIT,
    DURATION,
    DOWNTIME,
    DISCARDED,
    POSTCOPY,
    SETUP,
    ITERATIONS,
    TRANSFERRED,
    PAGES,
    REQUESTS,
)

_GROWING: Final = tuple(figure for figure in FIGURES if figure.counter)
_ID_LENGTH: Final = 36


class MigrationFigures:
    """Turns the steps of migrations into counters and histograms."""

    def __init__(self, registry: CollectorRegistry, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._tracks: dict[MigrationId, Track] = {}
        self._started = _counter(STARTED, registry, labels.DIRECTIONS, labels.TRANSPORTS)
        self._finished = _counter(
            FINISHED, registry, labels.DIRECTIONS, labels.TRANSPORTS, labels.RESULTS
        )
        self._failures = _counter(FAILURES, registry, labels.DIRECTIONS, labels.REASONS)
        self._rejected = _counter(REJECTED, registry, labels.REASONS)
        self._recovered = _counter(RECOVERED, registry)
        self._actions = _counter(ACTIONS, registry, labels.ACTIONS)
        self._queue_wait = QUEUE_WAIT.histogram(registry)
        self._duration = _histogram(DURATION, registry, labels.RESULTS)
        self._downtime = _histogram(DOWNTIME, registry, labels.MODES)
        self._discarded = _counter(DISCARDED, registry)
        self._postcopy = POSTCOPY.histogram(registry)
        self._setup = SETUP.summary(registry)
        self._iterations = ITERATIONS.histogram(registry)
        self._transferred = _counter(TRANSFERRED, registry, labels.DIRECTIONS, labels.KINDS)
        self._pages = _counter(PAGES, registry, labels.PAGES)
        self._requests = _counter(REQUESTS, registry)

    def changed(self, before: Migration | None, after: Migration) -> None:
        """Count what one step did."""
        if before is not None and before.state.terminal:
            return
        track = self._tracks.get(after.id)
        if track is None:
            track = self._tracks[after.id] = Track.begin(
                before, after, tuple(figure.name for figure in _GROWING)
            )
        if after.adopted and not track.recovered:
            track.recovered = True
            self._recovered.inc()
        if has_begun(after) and not track.started:
            track.started = True
            self._count_start(after)
        known = before.numbered if before is not None else 0
        for command in after.commands:
            if command.id > known and (label := labels.action_of(command)):
                self._actions.labels(label).inc()
        track.postcopy.step(before.state if before is not None else None, after.state, self._mono())
        for sample in _new_samples(before, after):
            self._count_growth(after.direction, track, sample)
        if after.progress is not None:
            track.progress(after.progress)
        if after.state.terminal:
            del self._tracks[after.id]
            self._count_end(before, after, track)

    def forgotten(self, m: Migration) -> None:
        """`m` takes no further step."""
        self._tracks.pop(m.id, None)

    def rejected(self, code: Code) -> None:
        """A submission was refused."""
        self._rejected.labels(str(code.kind.reason)).inc()

    def progressed_at(self, m: Migration) -> datetime | None:
        """When less of `m` remained to be sent than ever before."""
        track = self._tracks.get(m.id)
        return track.progressed_at if track is not None else None

    def _count_start(self, m: Migration) -> None:
        self._started.labels(str(m.direction), str(m.request.transport)).inc()
        if m.started_at is not None and not m.external:
            waited = (m.started_at - m.created_at).total_seconds()
            self._queue_wait.observe(max(0.0, waited), _exemplar(m))

    def _count_growth(self, direction: Direction, track: Track, sample: Sample) -> None:
        outgoing = direction is Direction.OUTGOING
        for figure in _GROWING:
            grown = track.growth[figure.name].by(getattr(sample, figure.name))
            match figure.counter:
                case "transferred_bytes":
                    self._transferred.labels(str(direction), figure.kind).inc(grown)
                case "pages" if outgoing:
                    self._pages.labels(figure.kind).inc(grown)
                case "postcopy_requests" if outgoing:
                    self._requests.inc(grown)

    def _count_end(self, before: Migration | None, m: Migration, track: Track) -> None:
        direction, transport = str(m.direction), str(m.request.transport)
        result = m.state.label
        self._finished.labels(direction, transport, result).inc()
        if m.state is State.FAILED:
            self._failures.labels(direction, labels.reason_of(m)).inc()
        if m.direction is Direction.INCOMING or m.result is None or not has_begun(m):
            return
        duration_s = duration_of(before, m)
        if duration_s is not None:
            self._duration.labels(result).observe(duration_s, _exemplar(m))
        self._count_pause(m, m.result, pause_of(m))
        if m.state is State.SUCCEEDED and track.postcopy.seconds is not None:
            self._postcopy.observe(track.postcopy.seconds, _exemplar(m))
        if m.result.iterations is not None and m.result.iterations > 0:
            self._iterations.observe(m.result.iterations, _exemplar(m))
        last = m.completed or m.progress
        if last is not None and last.setup_ms is not None:
            self._setup.observe(last.setup_ms / 1000)

    def _count_pause(self, m: Migration, result: Result, pause: Pause) -> None:
        if pause.discarded:
            self._discarded.inc()
        if pause.seconds is not None:
            self._downtime.labels(str(result.mode)).observe(pause.seconds, _exemplar(m))


def duration_of(before: Migration | None, m: Migration) -> float | None:
    """How long `m`, which has just ended, took; None if that was not seen or it never began."""
    unseen = before is not None and before.state is State.UNRESOLVED
    if m.result is None or unseen or not has_begun(m):
        return None
    return m.result.duration_s


def _new_samples(before: Migration | None, after: Migration) -> list[Sample]:
    old = (before.progress, before.completed) if before is not None else (None, None)
    new = (after.progress, after.completed)
    return [b for a, b in zip(old, new, strict=True) if b is not None and b is not a]


def _exemplar(m: Migration) -> dict[str, str] | None:
    # The client library checks the length only after it has counted: never give it too much.
    if len(m.id) > _ID_LENGTH:
        return None
    return {"migration": m.id} | ({"trace_id": m.trace.trace_id} if m.trace is not None else {})


def _counter(family: Family, registry: CollectorRegistry, *sets: tuple[str, ...]) -> Counter:
    """A counter whose every series stands at 0, so that ``increase()`` sees the first event."""
    counter = family.counter(registry)
    for values in product(*sets) if sets else ():
        counter.labels(*values)
    return counter


def _histogram(family: Family, registry: CollectorRegistry, values: tuple[str, ...]) -> Histogram:
    histogram = family.histogram(registry)
    for value in values:
        histogram.labels(value)
    return histogram
