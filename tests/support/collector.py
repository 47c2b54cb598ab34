"""A collector of spans: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

ERROR = Status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Span:
    """One span as it came; ids in hex, `parent_id` "" for a root, times in nanoseconds."""

    host: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]


class Collector:
    """Listens on `listener` from its first moment on; answers with `status`."""

    def __init__(self, listener: socket.socket) -> None:
        self.status = 200
        self.asked = 0
        self.headers: dict[str, str] = {}
        self.spans: list[Span] = []
        self._free = threading.Event()
        self._free.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked += 1
                collector.headers = {k.lower(): v for k, v in self.headers.items()}
                collector._free.wait()
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200 and self.path == "/v1/traces":
                    collector.spans += decoded(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status if self.path == "/v1/traces" else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """Who hung up while it was kept waiting is nobody's fault."""

        self._server = Server(("", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where pmigd is to send its spans."""
        address, port = self._server.socket.getsockname()[:2]
        return f"http://{address}:{port}"

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Take requests and answer none of them meanwhile."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def of(self, trace_id: str) -> list[Span]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def close(self) -> None:
        """Stop listening."""
        self._free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def decoded(body: bytes) -> list[Span]:
    """The spans of one export."""
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    found = []
    for resource_spans in request.resource_spans:
        resource = _values(resource_spans.resource.attributes)
        assert resource["service.name"] == "pmigd"
        for scope_spans in resource_spans.scope_spans:
            found += [
                Span(
                    host=resource["host.name"],
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    failed=span.status.code == ERROR,
                    attributes=_values(span.attributes),
                )
                for span in scope_spans.spans
            ]
    return found


def _values(pairs: Any) -> dict[str, Any]:
    return {p.key: getattr(p.value, p.value.WhichOneof("value") or "string_value") for p in pairs}
