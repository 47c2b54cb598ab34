"""Spans of migrations, by OpenTelemetry, to a collector that understands OTLP over HTTP.

The packages are optional (``pip install 'pmigd[otel]'``), so nobody imports this module where
tracing is off. A span is made when it has ended, from what the migration itself remembers: nothing
is kept here between two steps, and a migration that outlives pmigd has one span like any other.
Sending is the business of the SDK's own thread, which drops what it has no room for. It must never
be the reason that the daemon waits, stops late or fills its log.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from pmigd import __version__
from pmigd.core.canonical import about
from pmigd.core.model import Direction, Migration, State
from pmigd.core.trace import Trace

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REASON_MAX: Final = 500

log = structlog.get_logger()


class Tracing:
    """Makes spans of the steps of migrations on `host`, and gives them to `processor`."""

    def __init__(self, host: str, processor: SpanProcessor) -> None:
        self._ids = _Ids()
        self._processor = processor
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # whether a trace is recorded is for whoever began it to say
            resource=Resource.create(
                {"service.name": "pmigd", "service.version": __version__, "host.name": host}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("pmigd", __version__)

    def changed(self, before: Migration | None, after: Migration) -> None:
        """Make the spans of what one step has brought to its end. Raises nothing."""
        try:
            self._ended(before, after)
        except Exception:  # of the SDK: no step of a migration may fail by its spans
            log.exception("no span could be made", **about(after))

    def stop(self) -> None:
        """Send what has not been sent yet. Blocks for as long as the collector keeps it waiting."""
        self._processor.shutdown()

    def _ended(self, before: Migration | None, after: Migration) -> None:
        trace = after.trace
        if before is None or trace is None or trace.span_id is None or not trace.sampled:
            return
        if after.state is before.state:
            return
        now = after.state_since or after.created_at
        phase = self._tracer.start_span(
            str(before.state),
            _inside(trace.trace_id, trace.span_id, trace.flags, remote=False),
            start_time=_ns(before.state_since or before.created_at),
        )
        phase.end(_ns(now))
        if after.state.terminal:
            self._whole(after, trace, trace.span_id, now)

    def _whole(self, m: Migration, trace: Trace, span_id: str, end: datetime) -> None:
        context = Context()
        if trace.parent_id is not None:
            context = _inside(trace.trace_id, trace.parent_id, trace.flags, remote=True)
        self._ids.next = (int(trace.trace_id, 16), int(span_id, 16))
        span = self._tracer.start_span(
            f"{m.direction} migration",
            context,
            attributes=_attributes(m),
            start_time=_ns(m.created_at),
        )
        for command in m.commands:
            span.add_event(command.action, timestamp=_ns(command.at))
        if m.state is State.FAILED:
            span.set_status(Status(StatusCode.ERROR, str(m.problem.code) if m.problem else None))
        span.end(_ns(end))


def to_collector(host: str, endpoint: str) -> Tracing:
    """Spans of `host` for the collector at the URL `endpoint`.

    The SDK's own environment variables say the rest: headers, time limits, certificates, sizes.
    """
    logger = logging.getLogger("opentelemetry")
    # The SDK complains about every batch; it is said once here, when that begins.
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    complaints = _Complaints()
    logger.addHandler(complaints)
    exporter = _Watched(OTLPSpanExporter(endpoint=endpoint), endpoint, complaints)
    return Tracing(host, BatchSpanProcessor(exporter))


class _Ids(RandomIdGenerator):
    """Random ids, but for a span that was given its own when the migration was asked for."""

    next: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.next is None else self.next[0]

    def generate_span_id(self) -> int:
        if self.next is None:
            return super().generate_span_id()
        (_, span_id), self.next = self.next, None
        return span_id


class _Complaints(logging.Handler):
    """Remembers the last things that the SDK had to say."""

    def __init__(self) -> None:
        super().__init__()
        self.said: deque[str] = deque(maxlen=2)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage()[:_REASON_MAX])


class _Watched(SpanExporter):
    """Says when spans cannot be sent and when they can again: once each time it changes."""

    def __init__(self, exporter: SpanExporter, endpoint: str, complaints: _Complaints) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._complaints = complaints
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._complaints.said.clear()
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - some versions raise what others log
            self._complaints.said.append(str(error)[:_REASON_MAX])
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed is not self._failing:
            self._failing = failed
            if failed:
                why = " ".join(self._complaints.said)
                log.warning("spans cannot be sent", endpoint=self._endpoint, detail=why)
            else:
                log.info("spans can be sent again", endpoint=self._endpoint)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _inside(trace_id: str, span_id: str, flags: int, *, remote: bool) -> Context:
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=TraceFlags(flags)
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _attributes(m: Migration) -> dict[str, AttributeValue]:
    """What is known at the end. Where OpenTelemetry has no name, it begins with ``pmigd.``."""
    incoming = m.direction is Direction.INCOMING
    found: dict[str, AttributeValue | None] = {
        "pmigd.migration.id": m.id,
        "pmigd.domain.name": m.domain.name,
        "pmigd.domain.uuid": m.domain.uuid,
        "pmigd.peer": (m.source if incoming else m.destination) or None,
        "pmigd.direction": m.direction.value,
        "pmigd.external": m.external,
        "pmigd.adopted": m.adopted,
        "pmigd.state": m.state.value,
        "error.type": str(m.problem.code) if m.problem and m.state is State.FAILED else None,
    }
    if not m.external:
        found["pmigd.transport"] = m.request.transport.value
    if m.result is not None:  # a span has its duration by itself
        figures = m.result.figures | {"mode": m.result.mode.value, "duration_s": None}
        found |= {f"pmigd.{name}": value for name, value in figures.items()}
    return {key: value for key, value in found.items() if value is not None}


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
