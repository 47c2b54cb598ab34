"""A small daemon that speaks the contract's socket API, for tests of the client only.

It knows nothing about migrations: a test says which exist, and what a stream carries next.
"""

from __future__ import annotations

import json
import queue
import socket as sockets
import socketserver
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pmigd.core.states import State

TERMINAL = {state.value for state in State if state.terminal}

CUT = object()
"""In a script: the connection breaks here, as when the daemon is killed."""
DEADLINE_S = 20.0


def migration(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A migration object with every field of the contract."""
    base: dict[str, Any] = {
        "id": f"0199c1d2-7a00-7000-8000-{number:012x}",
        "domain": {"name": "web1", "uuid": "5f6b2a70-0000-4000-8000-000000000001"},
        "source": "hosta",
        "destination": "hostb",
        "direction": "outgoing",
        "state": "precopy",
        "external": False,
        "problem": None,
        "waiting_for": None,
        "progress": None,
        "result": None,
        "actions": [],
        "adopted": False,
        "created_at": "2026-11-21T10:00:00Z",
        "started_at": None,
        "finished_at": None,
        "request": {"domain": "web1", "destination": "hostb", "live": True, "migrate_uri": None},
    }
    return {**base, **changes}


def progress(percent: int = 45, **changes: Any) -> dict[str, Any]:
    """A sample of a 4 GiB guest."""
    total = 4 * 1024**3
    base: dict[str, Any] = {
        "memory_total_bytes": total,
        "memory_processed_bytes": total * percent // 100,
        "memory_remaining_bytes": total - total * percent // 100,
        "disk_total_bytes": 0,
        "disk_processed_bytes": 0,
        "disk_remaining_bytes": 0,
        "bytes_per_second": 118 * 1024**2,
        "memory_bytes_per_second": 118 * 1024**2,
        "disk_bytes_per_second": None,
        "dirty_bytes_per_second": 12 * 1024**2,
        "iteration": 3,
        "throttle_percent": None,
        "expected_downtime_ms": 90,
        "downtime_limit_ms": 300,
        "eta_s": 19,
        "sampled_at": "2026-11-21T10:00:05Z",
        "outpaced": False,
    }
    return {**base, **changes}


RESULT = {
    "duration_s": 23.4,
    "downtime_ms": 85,
    "downtime_net_ms": 60,
    "transferred_bytes": 4509715661,
    "iterations": 5,
    "mode": "precopy",
}

SETTINGS = {
    "max_downtime_ms": 300,
    "bandwidth_mib_s": 0,
    "postcopy_bandwidth_mib_s": 100,
    "compression_cache_bytes": None,
    "timeout_s": 0.0,
    "on_timeout": "abort",
}

PROBLEM = {
    "type": "about:blank",
    "title": "The destination was not reached",
    "status": 502,
    "detail": "hostb does not answer",
    "code": "destination_unreachable",
    "remedy": "Check the network.",
    "retryable": True,
    "errors": [],
}


LIMITS = {
    "host": "hosta",
    "queued": 0,
    "resources": [],
    "daemons": [],
    "given": {"granted": 0, "waiting": 0},
    "problems": [],
}


STATUS = {
    "name": "hosta",
    "version": "0.1.0",
    "started_at": "2026-11-21T09:00:00Z",
    "ready": True,
    "missing": {},
    "libvirt": {"connected": True, "version": "9.0.0"},
    "journal": {"writable": True},
    "limits": {"max_outgoing": 4, "max_incoming": 2, "held_outgoing": 0, "held_incoming": 0},
    "migrations": {},
}


def waits(**changes: Any) -> dict[str, Any]:
    """What a queued migration waits for."""
    base: dict[str, Any] = {
        "resource": "outgoing_slot",
        "host": "hosta",
        "used": 1,
        "limit": 1,
        "position": 3,
        "since": "2026-11-21T10:00:00Z",
        "detail": "",
        "eta_s": None,
    }
    return {**base, **changes}


def peer(name: str, **changes: Any) -> dict[str, Any]:
    """A peer without a pmigd."""
    base: dict[str, Any] = {
        "name": name,
        "uri": f"qemu+tls://{name}/system",
        "migrate_uri": None,
        "pmigd": None,
        "queued": 0,
        "running": 0,
        "given": {"granted": 0, "waiting": 0},
        "libvirt_version": "12.5.0",
        "hypervisor_version": "11.0.0",
        "defects": [],
    }
    return {**base, **changes}


def event(kind: str, about: dict[str, Any]) -> dict[str, Any]:
    """A line of a stream."""
    return {"event": kind, "at": "2026-11-21T10:00:06Z", "migration": about}


def finding(level: str, code: str, **changes: Any) -> dict[str, Any]:
    """One thing that a check found."""
    base = {
        "code": code,
        "level": level,
        "detail": f"About {code}.",
        "remedy": "Do something about it.",
        "field": None,
    }
    return {**base, **changes}


def problem(status: int, code: str, **changes: Any) -> dict[str, Any]:
    """A problem+json object."""
    base = {
        "type": f"urn:pmigd:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": "something is wrong",
        "code": code,
        "remedy": "Do something about it.",
        "retryable": False,
        "errors": [],
    }
    return {**base, **changes}


@dataclass
class Request:
    """What the client sent."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    stub: Stub

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        self.stub.connections.append(connection)
        return connection, ("unix", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def _serve(self) -> None:
        stub = self.server.stub
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        request = Request(
            self.command,
            parts.path,
            parse_qs(parts.query),
            {k.lower(): v for k, v in self.headers.items()},
            json.loads(raw) if raw else None,
        )
        with stub.changed:
            stub.requests.append(request)
            stub.changed.notify_all()
        if stub.break_next > 0 and self.command == "POST":
            stub.break_next -= 1
            stub.answer(request)  # accepted, and then the answer is lost
            self.connection.shutdown(sockets.SHUT_RDWR)
            return
        planned = stub.answers.get((request.method, request.path))
        if planned is None and request.path.endswith("/events"):
            self._stream(request.path)
            return
        status, body = planned or stub.answer(request)
        self._answer(status, body)

    def _answer(self, status: int, body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _stream(self, path: str) -> None:
        stub = self.server.stub
        parts = path.split("/")
        one = parts[3] if len(parts) == 5 else None
        if one is not None and one not in stub.migrations:
            self._answer(404, problem(404, "unknown_migration"))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"\n")
        if one is not None:
            current = stub.migrations[one]
            self._chunk(json.dumps(event("state", current)).encode() + b"\n")
            if current["state"] in TERMINAL:
                self._chunk(b"")
                return
        while True:
            line = stub.script.get(timeout=DEADLINE_S)
            if line is CUT:
                self.connection.shutdown(sockets.SHUT_RDWR)
                return
            stub.migrations[line["migration"]["id"]] = line["migration"]
            self._chunk(json.dumps(line).encode() + b"\n")
            if one is not None and line["migration"]["state"] in TERMINAL:
                self._chunk(b"")
                return


@dataclass
class Stub:
    """The daemon. ``answers`` overrides what an address says: (method, path) -> (status, body)."""

    socket: Path
    migrations: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: list[sockets.socket] = field(default_factory=list)
    script: queue.Queue[Any] = field(default_factory=queue.Queue)
    changed: threading.Condition = field(default_factory=threading.Condition)
    page: int = 200
    break_next: int = 0
    submitted: dict[str, str] = field(default_factory=dict)
    peers: list[dict[str, Any]] = field(
        default_factory=lambda: [peer("hostb", migrate_uri="tcp://10.0.0.2"), peer("hostc")]
    )
    limits: dict[str, Any] = field(default_factory=lambda: dict(LIMITS))
    domains: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "web1", "uuid": "u1", "state": "running"}]
    )
    findings: list[dict[str, Any]] = field(default_factory=list)
    _server: _Server | None = None

    def start(self) -> None:
        """Listen."""
        self._server = _Server(str(self.socket), _Handler)
        self._server.stub = self
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        """Go away as a killed daemon does."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(sockets.SHUT_RDWR)
        self.connections.clear()
        self.socket.unlink(missing_ok=True)

    def add(self, *items: dict[str, Any]) -> None:
        """Know these migrations."""
        self.migrations.update({item["id"]: item for item in items})

    def say(self, *lines: Any) -> None:
        """What the streams carry next."""
        for line in lines:
            self.script.put(line)

    def sent(self, method: str, path: str, count: int = 1) -> Request:
        """Wait for the client's ``count``-th such request and return it."""

        def matching() -> list[Request]:
            return [r for r in self.requests if (r.method, r.path) == (method, path)]

        with self.changed:
            assert self.changed.wait_for(lambda: len(matching()) >= count, DEADLINE_S), (
                f"no {method} {path}: {self.requests}"
            )
            return matching()[count - 1]

    def answer(self, request: Request) -> tuple[int, Any]:
        """What the contract says."""
        match request.method, request.path.split("/")[2:]:
            case "GET", ["migrations"]:
                return 200, self._list(request.query)
            case "POST", ["migrations"]:
                return 202, self._submit(request)
            case "GET", ["migrations", one] if one in self.migrations:
                return 200, self.migrations[one]
            case "POST", ["check"]:
                ready = all(f["level"] != "block" for f in self.findings)
                return 200, {"findings": self.findings, "ready": ready, "prediction": None}
            case "PATCH", ["migrations", one] if one in self.migrations:
                return 200, self.migrations[one]
            case "GET", ["migrations", one, "settings"] if one in self.migrations:
                return 200, SETTINGS
            case (
                "POST",
                ["migrations", one, "abort" | "postcopy" | "suspend" | "recover"],
            ) if one in self.migrations:
                return 202, self.migrations[one]
            case "POST", ["migrations", one, "resolve"] if one in self.migrations:
                self.migrations[one] = {**self.migrations[one], "state": request.body["as"]}
                return 200, self.migrations[one]
            case "GET", ["peers"]:
                return 200, {"items": self.peers}
            case "GET", ["limits"]:
                return 200, self.limits
            case "GET", ["status"]:
                states = Counter(m["state"] for m in self.migrations.values())
                return 200, {**STATUS, "migrations": states}
            case "GET", ["domains"]:
                return 200, {"items": self.domains}
            case _:
                return 404, problem(404, "unknown_migration")

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        found = sorted(self.migrations.values(), key=lambda m: str(m["id"]), reverse=True)
        if "state" in query:
            found = [m for m in found if m["state"] in query["state"]]
        if "domain" in query:
            found = [m for m in found if m["domain"]["name"] in query["domain"]]
        begin = int(query.get("cursor", ["0"])[0])
        following = begin + self.page
        return {
            "items": found[begin:following],
            "next_cursor": str(following) if following < len(found) else None,
        }

    def _submit(self, request: Request) -> dict[str, Any]:
        key = request.headers.get("idempotency-key", "")
        if key in self.submitted:
            return self.migrations[self.submitted[key]]
        fresh = migration(
            len(self.migrations) + 1,
            state="queued",
            domain={"name": request.body["domain"], "uuid": "u1"},
            destination=request.body["destination"],
            request=request.body,
        )
        self.add(fresh)
        if key:
            self.submitted[key] = fresh["id"]
        return fresh
