"""The spans that the steps of a migration leave behind."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from pmigd.adapters.tracing import Tracing, to_collector
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.model import Direction, Job, Migration, Postcopy, State
from pmigd.core.problem import Code, Problem
from pmigd.core.trace import Trace
from tests.support.build import (
    ABSENT,
    ARRIVED,
    LEFT,
    PREPARED,
    RUNS_AGAIN,
    T0,
    Reply,
    at,
    migration,
    returned,
    sample,
)
from tests.support.collector import Collector

CALLED = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "1112131415161718", 1)
OWN = replace(CALLED, parent_id=None)
GONE = ev.Looked(LEFT, ARRIVED, sample(downtime_ms=40, downtime_net_ms=30, iteration=4))


class Story:
    """A migration whose steps are traced."""

    def __init__(self, **changes: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing("hosta", SimpleSpanProcessor(self.exporter))
        self.now = 0.0
        self.migration = migration(**changes)
        self.tracing.changed(None, self.migration)

    def happens(self, *events: ev.Event | Reply, every_s: float = 1.0) -> Migration:
        for event in events:
            self.now += every_s
            before = self.migration
            if isinstance(event, Reply):
                event = event.to(before)
            self.migration = engine.step(before, event, at(self.now)).migration
            self.tracing.changed(before, self.migration)
        return self.migration

    def restarted(self) -> None:
        """Another life of pmigd, with nothing but what the journal kept."""
        self.tracing = Tracing("hosta", SimpleSpanProcessor(self.exporter))
        self.migration = engine.durable(self.migration)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def whole(self) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name.endswith("migration")]
        return span

    @property
    def phases(self) -> list[tuple[str, float, float]]:
        """Name, begin and end (seconds after T0) of each child span."""
        return [
            (span.name, seconds(span.start_time), seconds(span.end_time))
            for span in self.spans
            if span is not self.whole
        ]


def seconds(ns: int | None) -> float:
    assert ns is not None
    return round(ns / 1e9 - T0.timestamp(), 3)


SUCCEEDS = (
    ev.Admitted(),
    PREPARED,
    ev.Sampled(Job.OUTGOING, sample()),
    ev.SwitchedOver(),
    ev.Left(),
    returned(None),
    GONE,
)


def test_an_sdk_that_fails_takes_no_step_with_it() -> None:
    class Fails(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("out of order")

    story = Story(trace=CALLED)
    story.tracing = Tracing("hosta", Fails())
    with capture_logs() as lines:
        assert story.happens(*SUCCEEDS).state is State.SUCCEEDED
    assert {line["event"] for line in lines} == {"no span could be made"}
    assert {line["trace_id"] for line in lines} == {CALLED.trace_id}


def test_a_migration_is_one_span_with_its_phases_end_to_end() -> None:
    story = Story(trace=CALLED)
    story.happens(*SUCCEEDS)
    assert story.migration.state is State.SUCCEEDED
    assert story.phases == [
        ("queued", 0, 1),
        ("preparing", 1, 3),
        ("precopy", 3, 4),
        ("finishing", 4, 7),
    ]
    whole = story.whole
    assert whole.name == "outgoing migration"
    assert (seconds(whole.start_time), seconds(whole.end_time)) == (0, 7)
    assert whole.status.status_code is StatusCode.UNSET
    assert whole.kind is SpanKind.INTERNAL


def test_it_is_the_callers_child_and_its_phases_are_its_own() -> None:
    story = Story(trace=CALLED)
    story.happens(*SUCCEEDS)
    whole = story.whole
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == CALLED.trace_id
    assert f"{whole.context.span_id:016x}" == CALLED.span_id
    assert whole.parent is not None
    assert whole.parent.is_remote
    assert f"{whole.parent.span_id:016x}" == CALLED.parent_id
    for span in story.spans:
        if span is not whole:
            assert span.parent is not None
            assert f"{span.parent.span_id:016x}" == CALLED.span_id
    ids = {span.context.span_id for span in story.spans if span.context is not None}
    assert len(ids) == len(story.spans)
    traces = {span.context.trace_id for span in story.spans if span.context is not None}
    assert len(traces) == 1


def test_without_a_caller_it_is_the_root_of_the_trace_that_it_was_given() -> None:
    story = Story(trace=OWN)
    story.happens(*SUCCEEDS)
    whole = story.whole
    assert whole.parent is None
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == OWN.trace_id
    assert f"{whole.context.span_id:016x}" == OWN.span_id


def test_it_says_who_went_where_and_how_it_ended() -> None:
    story = Story(trace=OWN)
    m = story.happens(*SUCCEEDS)
    assert dict(story.whole.attributes or {}) == {
        "pmigd.migration.id": m.id,
        "pmigd.domain.name": "web1",
        "pmigd.domain.uuid": m.domain.uuid,
        "pmigd.peer": "hostb",
        "pmigd.direction": "outgoing",
        "pmigd.external": False,
        "pmigd.adopted": False,
        "pmigd.transport": "native",
        "pmigd.state": "succeeded",
        "pmigd.mode": "precopy",
        "pmigd.downtime_ms": 40,
        "pmigd.downtime_net_ms": 30,
        "pmigd.transferred_bytes": 1 << 20,
        "pmigd.iterations": 4,
    }
    resource = story.whole.resource.attributes
    assert resource["service.name"] == "pmigd"
    assert resource["host.name"] == "hosta"


def test_a_failure_is_an_error_with_its_code_and_without_libvirts_words() -> None:
    story = Story(trace=OWN)
    problem = Problem(Code.DESTINATION_UNREACHABLE, "libvirt quotes <domain>hunter2</domain>")
    story.happens(ev.Admitted(), ev.PrepareFailed(problem))
    whole = story.whole
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.status.description == "destination_unreachable"
    assert (whole.attributes or {})["error.type"] == "destination_unreachable"
    assert "hunter2" not in "".join(span.to_json() for span in story.spans)


def test_a_cancelled_one_is_no_error() -> None:
    story = Story(trace=OWN)
    asked = ev.AbortAsked("root", "asked for by root")
    story.happens(*SUCCEEDS[:3], asked, returned(Problem(Code.CONNECTION_BROKE, "")))
    story.happens(ev.Looked(RUNS_AGAIN, ABSENT))
    whole = story.whole
    assert story.migration.state is State.CANCELLED
    assert whole.status.status_code is StatusCode.UNSET
    assert (whole.attributes or {})["pmigd.state"] == "cancelled"
    assert [event.name for event in whole.events] == ["perform", "abort"]


def test_every_stretch_of_a_state_is_a_span() -> None:
    """Post-copy that breaks and goes on, and a migration that was put back into the queue."""
    story = Story(trace=OWN, request={"postcopy": Postcopy.ALLOWED})
    away = Problem(Code.LIBVIRT_UNAVAILABLE, "")
    story.happens(ev.Admitted(), ev.PrepareFailed(away), *SUCCEEDS[:3])
    story.happens(ev.PostcopyBegan(), ev.PostcopyBroke(), ev.PostcopyBegan(), ev.Left(), GONE)
    names = [name for name, _, _ in story.phases]
    assert names[:5] == ["queued", "preparing", "queued", "preparing", "precopy"]
    assert names[5:8] == ["postcopy", "postcopy_paused", "postcopy"]
    ends = [(begin, end) for _, begin, end in story.phases]
    for (_, end), (begin, _) in pairwise(ends):
        assert begin == end
    assert ends[0][0] == 0
    assert ends[-1][1] == seconds(story.whole.end_time)


def test_a_restart_in_the_middle_does_not_show() -> None:
    straight, broken = Story(trace=CALLED), Story(trace=CALLED)
    straight.happens(*SUCCEEDS)
    broken.happens(*SUCCEEDS[:3])
    broken.restarted()
    broken.happens(*SUCCEEDS[3:])
    assert broken.phases == straight.phases
    assert broken.whole.context == straight.whole.context
    assert broken.whole.parent == straight.whole.parent
    assert broken.whole.start_time == straight.whole.start_time


@pytest.mark.parametrize(
    "trace",
    [None, replace(CALLED, flags=0), replace(CALLED, span_id=None)],
    ids=["no trace", "not sampled", "begun while tracing was off"],
)
def test_no_spans_are_made_of(trace: Trace | None) -> None:
    story = Story(trace=trace)
    story.happens(*SUCCEEDS)
    assert story.spans == ()


def test_an_incoming_one_names_its_source() -> None:
    story = Story(
        trace=CALLED,
        direction=Direction.INCOMING,
        external=True,
        source="hostc",
        destination="hosta",
        state=State.PREPARING,
        started_at=T0,
    )
    story.happens(ev.Arrived(), ev.Looked(ARRIVED, ABSENT))
    attributes = story.whole.attributes or {}
    assert story.whole.name == "incoming migration"
    assert attributes["pmigd.peer"] == "hostc"
    assert "pmigd.transport" not in attributes  # nobody said


# The way to the collector


class Stuck(SpanExporter):
    """A collector that takes a batch and never comes back."""

    def __init__(self) -> None:
        self.asked, self.free = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.free.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.free.set()


def test_a_collector_that_hangs_holds_up_nobody_and_fills_nothing() -> None:
    stuck = Stuck()
    processor = BatchSpanProcessor(
        stuck, max_queue_size=8, max_export_batch_size=4, schedule_delay_millis=1
    )
    tracing = Tracing("hosta", processor)
    try:
        for number in range(50):
            before = migration(trace=OWN)
            tracing.changed(before, replace(before, state=State.PREPARING, state_since=T0))
            if number == 4:
                assert stuck.asked.wait(30)
        # All fifty were handed over while the first batch was still on its way.
        assert not stuck.free.is_set()
    finally:
        stuck.free.set()
        tracing.stop()


@pytest.fixture
def sdk_logger() -> Iterator[logging.Logger]:
    """The SDK's own logger, as it was afterwards."""
    logger = logging.getLogger("opentelemetry")
    before = (logger.propagate, logger.level, list(logger.handlers))
    yield logger
    logger.propagate, logger.level, logger.handlers[:] = before


@pytest.fixture
def collector() -> Iterator[Collector]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    collector = Collector(listener)
    yield collector
    collector.close()


def test_a_collector_that_refuses_is_said_once_and_so_is_its_return(
    sdk_logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    collector: Collector,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    url = f"{collector.endpoint}/v1/traces"
    tracing = to_collector("hosta", url)
    with capture_logs() as said:
        for status in (403, 403, 200, 200):
            collector.status = status
            before = migration(trace=OWN)
            tracing.changed(before, replace(before, state=State.PREPARING, state_since=T0))
            tracing._processor.force_flush()
        tracing.stop()
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("spans cannot be sent", "warning"),
        ("spans can be sent again", "info"),
    ]
    assert said[0]["endpoint"] == url
    assert "403" in said[0]["detail"]
    assert caplog.records == []
    assert [span.name for span in collector.spans] == ["queued"] * 2
    assert collector.headers["authorization"] == "Bearer abc"


def test_times_are_exact_to_the_microsecond() -> None:
    story = Story(trace=OWN, created_at=datetime.fromisoformat("2026-01-02T03:04:05.123456+00:00"))
    story.happens(*SUCCEEDS)
    assert story.whole.start_time == 1767323045_123456_000
