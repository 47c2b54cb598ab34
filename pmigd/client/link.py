"""What the blocking client and the one for asyncio share below the API: a request and its answer.

Written once, as coroutines over a ``Transport``. That of the blocking client never suspends, so
``run`` takes a coroutine from its beginning to its end without a loop.

One connection per request. Never repeats a request by itself: whether a repeat is safe is known
only to the caller. Every wait has a deadline.
"""

from __future__ import annotations

import json
import os
import socket
from time import monotonic

from pmigd.client import errors, http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from typing import Protocol, Self, TypeVar

    from pmigd.client.errors import ClientError, JsonObject

    T = TypeVar("T")
    Query = Sequence[tuple[str, str]]

    class Link(Protocol):
        """A connection. Both raise OSError, which is TimeoutError after ``timeout_s``."""

        async def send(self, data: bytes, timeout_s: float) -> None:
            """Send all of it."""

        async def receive(self, timeout_s: float) -> bytes:
            """What arrives next; nothing at the end."""

        def close(self) -> None:
            """Let go of it."""

        def shut(self) -> None:
            """End it; also from another thread, where whoever reads sees the end."""

    class Transport(Protocol):
        """Links to one socket."""

        path: str

        def link(self, sock: socket.socket) -> Link:
            """What to speak with, over a connected socket that does not block."""

        async def pause(self, seconds: float) -> None:
            """Wait."""


DEFAULT_SOCKET = "/run/pmigd/pmigd.sock"
CONNECT_S = 5.0
ANSWER_S = 30.0
IDLE_S = 30.0
"""A stream has a heartbeat every few seconds; this long without one means it is dead."""


def default_socket() -> str:
    """The daemon's socket where nobody names one: $PMIGD_SOCKET, else the usual place."""
    return os.environ.get("PMIGD_SOCKET") or DEFAULT_SOCKET


def run(work: Coroutine[object, object, T]) -> T:
    """The result of a coroutine whose transport blocks."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a transport that blocks has suspended")


async def connect(transport: Transport) -> Link:
    """Connect within CONNECT_S. Raises UnreachableError."""
    deadline = monotonic() + CONNECT_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(transport.path)
        except BlockingIOError as error:
            # A full backlog shows as EAGAIN at once instead of as a wait.
            sock.close()
            if monotonic() >= deadline:
                raise errors.unreachable(transport.path, error) from error
            await transport.pause(0.05)
        except OSError as error:
            sock.close()
            raise errors.unreachable(transport.path, error) from error
        except BaseException:
            sock.close()
            raise
        else:
            return transport.link(sock)


class Exchange:
    """A request that was sent, and its answer as it comes."""

    def __init__(self, path: str, link: Link) -> None:
        self._path = path
        self._link = link
        self._first = b""
        self.answer = http.Answer()

    async def begin(self, request: bytes, deadline: float) -> None:
        """Send, and read to the end of the head. Raises BrokenError, OddAnswerError."""
        unsent: OSError | None = None
        try:
            await self._link.send(request, _left(deadline))
        except OSError as error:
            unsent = error  # a refusal may be there although not all was read
        while not self.answer.status:
            try:
                self._first += await self._receive(_left(deadline))
            except errors.BrokenError:
                if unsent is not None:
                    raise errors.broken(self._path, unsent) from unsent
                raise

    async def pieces(self, idle_s: Callable[[], float]) -> AsyncIterator[bytes]:
        """The body as it comes, each piece within ``idle_s`` of the one before."""
        first, self._first = self._first, b""
        yield first
        while not self.answer.over:
            yield await self._receive(idle_s())

    async def reply(self, deadline: float) -> Reply:
        """The whole answer. Raises BrokenError, OddAnswerError."""
        parts, length = [self._first], len(self._first)
        while not self.answer.over:
            parts.append(await self._receive(_left(deadline)))
            length += len(parts[-1])
            if length > http.BODY_MAX:
                raise errors.OddAnswerError(
                    self._path, f"the answer is larger than {http.BODY_MAX // 1024**2} MiB"
                )
        return Reply(self._path, self.answer, b"".join(parts))

    async def _receive(self, timeout_s: float) -> bytes:
        try:
            return self.answer.feed(await self._link.receive(timeout_s))
        except OSError as error:
            raise errors.broken(self._path, error) from error
        except EOFError:
            why = "the answer ended early" if self.answer.status else "closed without an answer"
            raise errors.BrokenError(self._path, f"the connection was lost ({why})") from None
        except http.NotHttpError:
            raise errors.OddAnswerError(self._path) from None

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()

    def shut(self) -> None:
        """End the answer for whoever reads it, in another thread too."""
        self._link.shut()


class Reply:
    """A whole answer, whatever its status. Names of ``headers`` are in lower case."""

    __slots__ = ("_path", "_reason", "content", "headers", "status")

    def __init__(self, path: str, answer: http.Answer, content: bytes) -> None:
        self._path = path
        self._reason = answer.reason
        self.status = answer.status
        self.headers = answer.headers
        self.content = content

    def checked(self) -> Self:
        """Itself. Raises RefusedError if it is a problem."""
        if self.status >= 400:
            found = _object(self.content)
            raise errors.refused(self.status, self._reason, self.content, found)
        return self

    def object(self) -> JsonObject:
        """The object in it, empty for none. Raises RefusedError, OddAnswerError."""
        found = _object(self.checked().content)
        if found is None and self.content.strip():
            raise errors.OddAnswerError(self._path)
        return found or {}


async def ask(
    transport: Transport,
    method: str,
    path: str,
    *,
    query: Query = (),
    body: JsonObject | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    within_s: float,
) -> Reply:
    """One request and its answer, all of it within ``within_s``. Raises UnreachableError."""
    deadline = monotonic() + within_s
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    request = http.request(method, http.target(path, query), content, headers or {})
    exchange = await _begin(transport, request, deadline)
    try:
        return await exchange.reply(deadline)
    finally:
        exchange.close()


async def stream(transport: Transport, path: str, within_s: float) -> Exchange:
    """Open a stream. Raises RefusedError, UnreachableError."""
    deadline = monotonic() + within_s
    accept = {"Accept": "application/x-ndjson"}
    exchange = await _begin(transport, http.request("GET", path, None, accept), deadline)
    if exchange.answer.status >= 400:
        try:
            (await exchange.reply(deadline)).checked()
        finally:
            exchange.close()
    return exchange


async def objects(
    exchange: Exchange, path: str, idle_s: Callable[[], float]
) -> AsyncIterator[JsonObject | None]:
    """Each object of a stream as it comes, None for a heartbeat, to the end of the answer.

    A line that is cut off is the end. Raises BrokenError when the connection breaks or stays silent
    for ``idle_s``.
    """
    lines = http.Lines()
    try:
        async for piece in exchange.pieces(idle_s):
            for line in lines.feed(piece):
                if not line.strip():
                    yield None
                elif (found := _object(line)) is not None:
                    yield found
                else:
                    raise errors.OddAnswerError(path)
    except http.NotHttpError:
        raise errors.OddAnswerError(path, "a line of the stream has no end") from None


async def _begin(transport: Transport, request: bytes, deadline: float) -> Exchange:
    exchange = Exchange(transport.path, await connect(transport))
    try:
        await exchange.begin(request, deadline)
    except BaseException:
        exchange.close()
        raise
    return exchange


def _object(content: bytes) -> JsonObject | None:
    """The JSON object that untrusted bytes are, if they are one."""
    try:
        untrusted = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return untrusted if isinstance(untrusted, dict) else None


def _left(deadline: float) -> float:
    return max(0.001, deadline - monotonic())


def is_final(error: ClientError) -> bool:
    """Whether no repeat can mend it: a refusal that is not the daemon's own trouble."""
    return isinstance(error, errors.RefusedError) and error.status < 500
