"""A client that also says what it should not, and looks closely at every answer."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from contrib.lab import Host
from contrib.lab.deadlines import until
from pmigd.core.problem import Code

PROMPT_S: Final = 3.0
"""Every refusal, and every other client, is answered within this: whoever waits for libvirt (4 s),
for a head or for a body (10 s) is later, and on a busy machine nobody else is."""
UNKNOWN_ID: Final = "01990000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Answer:
    """One answer, and how long it took. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def open_socket(path: str, timeout: float = 30.0) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


class Api:
    """The API of one host's pmigd, as root sees it."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def connect(self, timeout: float = 30.0) -> socket.socket:
        """A connection on which nothing was said yet."""
        return open_socket(self.host.pmigd.socket, timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """One request. A body of bytes, or an iterable of them (chunked), is sent as it is."""
        if isinstance(body, dict | list | str):
            body = json.dumps(body).encode()
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            return self.say(_chunked(method, path, given, body), timeout=timeout)
        began = time.monotonic()
        reply = self.host.pmigd.client(timeout).ask(method, path, body, headers=given)
        return Answer(reply.status, reply.headers, reply.content, time.monotonic() - began)

    def say(self, raw: bytes, *, timeout: float = 30.0) -> Answer:
        """Send bytes, whatever they are, and read one answer."""
        with self.connect(timeout) as sock:
            began = time.monotonic()
            sock.sendall(raw)
            return read_answer(sock, began)

    def get(self, path: str) -> Any:
        """What is at `path`, which must be there."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def refused(
        self,
        code: Code,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        within_s: float = PROMPT_S,
    ) -> dict[str, Any]:
        """The request is refused with `code` in time, and the next client is served as before."""
        answer = self.ask(method, path, body, headers=headers)
        problem = self.is_problem(answer, code)
        assert answer.seconds < within_s
        self.serves()
        return problem

    def refuses_migration(self, code: Code, **fields: Any) -> dict[str, Any]:
        """A submission with these fields is refused with `code`."""
        return self.refused(code, "POST", "/v1/migrations", fields)

    def is_problem(self, answer: Answer, code: Code) -> dict[str, Any]:
        """The answer is this problem, with everything that belongs to one."""
        assert answer.headers.get("content-type") == "application/problem+json", answer
        problem: dict[str, Any] = answer.json
        assert problem["code"] == code, problem
        assert answer.status == problem["status"] == code.kind.status
        assert problem["type"] == f"urn:pmigd:problem:{code}"
        assert problem["title"] == code.kind.title
        assert problem["remedy"] == code.kind.remedy
        assert problem["retryable"] is code.kind.retryable
        assert problem["detail"]
        assert all(error.keys() == {"field", "message"} for error in problem["errors"])
        # Nothing of what the client sent may do anything to a terminal or fill a log.
        assert "".join(problem["detail"].splitlines()).isprintable()
        assert len(answer.raw) < 32 * 1024
        return problem

    def serves(self) -> None:
        """A normal client is answered promptly."""
        answer = self.ask("GET", "/v1/status")
        assert answer.status == 200
        assert answer.seconds < PROMPT_S

    def submit(self, domain: str, destination: str = "hostb", **fields: Any) -> dict[str, Any]:
        """A migration that was accepted."""
        body = {"domain": domain, "destination": destination, **fields}
        answer = self.ask("POST", "/v1/migrations", body)
        assert answer.status == 202, answer
        migration: dict[str, Any] = answer.json
        assert answer.headers["location"] == f"/v1/migrations/{migration['id']}"
        return migration

    def migration(self, iden: str) -> dict[str, Any]:
        """One migration."""
        found: dict[str, Any] = self.get(f"/v1/migrations/{iden}")
        return found

    def ended(self, iden: str) -> dict[str, Any]:
        """One migration, when it is terminal."""
        found: dict[str, Any] = self.get(f"/v1/migrations/{iden}?wait=25")
        ended = found["state"] in ("succeeded", "failed", "cancelled")
        assert ended, f"{found}\n{self.host.pmigd.log_tail()}"
        return found

    def reaches(self, iden: str, state: str, timeout: float = 20.0) -> None:
        """A migration comes to be in `state`."""
        until(
            lambda: self.migration(iden)["state"] == state,
            f"{iden} {state}",
            timeout=timeout,
            evidence=self.host.pmigd.log_tail,
        )

    def abort(self, iden: str) -> None:
        """Abort a migration and see it end."""
        answer = self.ask("POST", f"/v1/migrations/{iden}/abort")
        assert answer.status in (200, 202), f"{answer}\n{self.host.pmigd.log_tail()}"
        assert self.ended(iden)["state"] == "cancelled"

    def open(self) -> list[dict[str, Any]]:
        """All migrations that are not terminal."""
        items = self.get("/v1/migrations?limit=200")["items"]
        return [m for m in items if m["state"] not in ("succeeded", "failed", "cancelled")]


def read_answer(sock: socket.socket, began: float | None = None) -> Answer:
    """The next answer on a connection."""
    response = http.client.HTTPResponse(sock)
    with closing(response):
        response.begin()
        return _read(response, time.monotonic() if began is None else began)


def _read(response: http.client.HTTPResponse, began: float) -> Answer:
    raw = response.read()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, raw, time.monotonic() - began)


def _chunked(method: str, path: str, headers: Mapping[str, str], body: Iterable[bytes]) -> bytes:
    fields = {"Host": "localhost", "Transfer-Encoding": "chunked", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*body, b""))
    return "\r\n".join(lines).encode() + chunks


def fields_of(problem: Mapping[str, Any]) -> list[str]:
    """The fields that a problem names."""
    return [error["field"] for error in problem["errors"]]
