"""HTTP over the daemon's UNIX socket, with the standard library.

One connection per request. Never repeats a request by itself: whether a repeat is safe is known
only to the caller. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from pmigd.cli.errors import BrokenError, JsonObject, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_SOCKET = "/run/pmigd/pmigd.sock"
CONNECT_S = 5.0
ANSWER_S = 30.0
IDLE_S = 30.0
"""A stream has a heartbeat every few seconds; this long without one means it is dead."""

_NOT_RUNNING = "is the daemon running? systemctl status pmigd"


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection whose address is a path."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect within CONNECT_S; raises OSError."""
        deadline = time.monotonic() + CONNECT_S
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(CONNECT_S)
                sock.connect(self._path)
            except BlockingIOError:
                # With a timeout set the socket does not block, and a full backlog shows as EAGAIN
                # at once instead of as a wait.
                sock.close()
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
            except BaseException:
                sock.close()
                raise
            else:
                sock.settimeout(self._timeout_s)
                self.sock = sock
                return


class Stream:
    """An open NDJSON answer. Lines are read by one thread; ``close`` may come from another."""

    def __init__(
        self, connection: _UnixConnection, response: http.client.HTTPResponse, path: str
    ) -> None:
        self._connection = connection
        self._response = response
        # http.client lets go of the socket when the answer says "Connection: close".
        self._sock = connection.sock
        self._path = path

    def objects(self) -> Iterator[JsonObject | None]:
        """Each object as it comes, None for a heartbeat; ends when the daemon closes the stream.

        Raises BrokenError when the connection breaks or stays silent for IDLE_S.
        """
        try:
            for line in self._response:
                text = line.strip()
                if not text:
                    yield None
                    continue
                try:
                    untrusted = json.loads(text)
                except ValueError:
                    if line.endswith(b"\n"):
                        raise _not_pmigd(self._path) from None
                    return  # cut in the middle of a line: the same as the end
                if isinstance(untrusted, dict):
                    yield untrusted
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BrokenError(self._path, _reason(error), _NOT_RUNNING) from error

    def close(self) -> None:
        """End the stream; a reader in another thread sees the end of the answer."""
        with contextlib.suppress(OSError):
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_RDWR)


class Client:
    """The socket API as methods. Holds no connection between calls."""

    def __init__(self, path: str, *, answer_s: float = ANSWER_S) -> None:
        self.path = path
        self._answer_s = answer_s

    def get(
        self, path: str, query: Sequence[tuple[str, str]] = (), *, extra_s: float = 0.0
    ) -> JsonObject:
        """GET one object; ``extra_s`` is how long the daemon was asked to hold the answer.

        Raises RefusedError, UnreachableError, BrokenError.
        """
        return self._call("GET", path, query, None, {}, self._answer_s + extra_s)

    def post(
        self, path: str, body: JsonObject | None = None, headers: Mapping[str, str] | None = None
    ) -> JsonObject:
        """POST one object or nothing. Raises RefusedError, UnreachableError, BrokenError."""
        return self._call("POST", path, (), body, dict(headers or {}), self._answer_s)

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """PATCH one object. Raises RefusedError, UnreachableError, BrokenError."""
        return self._call("PATCH", path, (), body, {}, self._answer_s)

    def items(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Iterator[JsonObject]:
        """Every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, [*query, ("cursor", cursor)] if cursor else query)
            yield from (item for item in page.get("items") or [] if isinstance(item, dict))
            following = page.get("next_cursor")
            if not following or following == cursor:
                return
            cursor = str(following)

    def stream(self, path: str) -> Stream:
        """Open an NDJSON stream. Raises RefusedError, UnreachableError, BrokenError."""
        connection, response = self._send(
            "GET", path, (), None, {"Accept": "application/x-ndjson"}, IDLE_S
        )
        if response.status >= 400:
            with contextlib.closing(connection):
                raise RefusedError(self._problem(response, self._read(response)))
        return Stream(connection, response, self.path)

    def _call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: JsonObject | None,
        headers: dict[str, str],
        timeout_s: float,
    ) -> JsonObject:
        connection, response = self._send(method, path, query, body, headers, timeout_s)
        with contextlib.closing(connection):
            content = self._read(response)
        if response.status >= 400:
            raise RefusedError(self._problem(response, content))
        if not content.strip():
            return {}
        try:
            untrusted = json.loads(content)
        except ValueError:
            untrusted = None
        if not isinstance(untrusted, dict):
            raise _not_pmigd(self.path)
        return untrusted

    def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: JsonObject | None,
        headers: dict[str, str],
        timeout_s: float,
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise _unreachable(self.path, error) from error
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers = {**headers, "Content-Type": "application/json"}
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            connection.request(method, target, content, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise BrokenError(self.path, _reason(error), _NOT_RUNNING) from error
        except BaseException:
            connection.close()
            raise

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(self.path, _reason(error), _NOT_RUNNING) from error

    def _problem(self, response: http.client.HTTPResponse, content: bytes) -> JsonObject:
        try:
            untrusted = json.loads(content)
        except ValueError:
            untrusted = None
        if isinstance(untrusted, dict) and ("title" in untrusted or "detail" in untrusted):
            return {"status": response.status, **untrusted}
        return {
            "title": response.reason or "Error",
            "status": response.status,
            "detail": content.decode(errors="replace").strip()[:500],
            "errors": [],
        }


def migration_path(migration_id: str, *parts: str) -> str:
    """The path of one migration, or of what lies below it."""
    return "/".join(("/v1/migrations", quote(migration_id, safe=""), *parts))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return f"the connection was lost ({error.strerror})"
    return f"the connection was lost ({error})" if str(error) else "the connection was lost"


def _not_pmigd(path: str) -> UnreachableError:
    return UnreachableError(
        path, "what answers here is not pmigd", "check --socket and PMIGD_SOCKET"
    )


def _unreachable(path: str, error: OSError) -> UnreachableError:
    match error:
        case PermissionError():
            return UnreachableError(
                path,
                "permission denied",
                "run as root, or have an administrator add you to the group pmigd"
                " (then log in again)",
            )
        case FileNotFoundError():
            return UnreachableError(path, "no such socket", _NOT_RUNNING)
        case ConnectionRefusedError():
            return UnreachableError(path, "nobody listens on this socket", _NOT_RUNNING)
        case BlockingIOError() | TimeoutError():
            return UnreachableError(
                path, "the daemon does not accept connections in time", _NOT_RUNNING
            )
        case _:
            return UnreachableError(
                path, error.strerror or str(error), "check --socket and PMIGD_SOCKET"
            )
