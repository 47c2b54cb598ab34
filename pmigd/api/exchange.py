"""Bodies that come in and streams that go out: each with a deadline and a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from aiohttp import web

from pmigd.adapters.tasks import awaited
from pmigd.core.problem import Code, refuse
from pmigd.core.request import BODY_LIMIT_BYTES

BODY_DEADLINE_S: Final = 10.0
MAX_CHUNKS: Final = 4096
"""Of one body: a mebibyte of one-byte chunks would take a second of the loop's time."""
MAX_COMING_BYTES: Final = 16 * 1024 * 1024
"""Of all bodies of one application that have come in part: further ones are turned away."""
HEARTBEAT_S: Final = 5.0
"""A blank line in a silent stream, so that both sides notice when the other is gone."""
STALLED_S: Final = 20.0
"""How long a reader may take nothing of an answer or a stream before it is let go."""

_JSON_TYPES: Final = frozenset({"application/json", "application/x-www-form-urlencoded"})
"""What a body may call itself. The second is curl's word for whatever it is given."""
_CHUNKS_AT_ONCE: Final = 256

_encoder = msgspec.json.Encoder()


@runtime_checkable
class Inviting(Protocol):
    """A connection whose client may wait with its body until it is told to send it."""

    async def invite(self) -> None:
        """Tell it, if it waits for that."""


class Coming:
    """The bytes of all bodies that have come in part, and are not understood yet."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def one(self) -> Iterator[bytearray]:
        """Room for one body, given back at the end; :meth:`add` fills it."""
        body = bytearray()
        try:
            yield body
        finally:
            self._bytes -= len(body)

    def add(self, body: bytearray, data: bytes) -> None:
        """More of it came. Raises Refused: there is no room for it now."""
        if self._bytes + len(data) > MAX_COMING_BYTES:
            raise refuse(Code.TOO_BUSY, "Too many bodies are on their way here.")
        self._bytes += len(data)
        body += data


COMING: Final = web.AppKey("coming", Coming)


async def body_of(request: web.Request, *, empty: object = None) -> Any:
    """The body as JSON, `empty` standing in for no body at all.

    What its head says of it is judged before anything of it is read.
    """
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise _too_large("The body is larger than 1 MiB.")
    _judge_type(request)
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            raw = await _whole(request)
    except TimeoutError:
        raise refuse(
            Code.REQUEST_TOO_SLOW, f"It was not complete after {BODY_DEADLINE_S:g} s."
        ) from None
    except web.RequestPayloadError as error:
        raise refuse(Code.BAD_JSON, f"It did not arrive whole: {str(error)[:200]}") from None
    if not raw and empty is not None:
        return empty
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(Code.BAD_JSON, str(error)[:300]) from None


def _judge_type(request: web.Request) -> None:
    said = request.content_type
    given = "Content-Type" in request.headers
    if given and said not in _JSON_TYPES and not said.endswith("+json"):
        raise refuse(
            Code.UNSUPPORTED_MEDIA_TYPE, f"The content type '{said[:80]}' is not application/json."
        )


async def _whole(request: web.Request) -> bytes:
    """The body, if it stays within its limits. Raises Refused as soon as it does not."""
    if not request.body_exists:
        return b""  # aiohttp has one empty body for all requests, whose end is told only once
    if isinstance(request.protocol, Inviting):
        await request.protocol.invite()
    if not request.can_read_body:
        return b""  # aiohttp's empty body never says that it has ended, once it has been read
    coming = request.app[COMING]
    chunks = 0
    with coming.one() as body:
        async for data, ended in request.content.iter_chunks():
            coming.add(body, data)
            if len(body) > BODY_LIMIT_BYTES:
                raise _too_large("The body is larger than 1 MiB.")
            chunks += ended
            if chunks > MAX_CHUNKS:
                raise _too_large(f"The body comes in more than {MAX_CHUNKS} pieces.")
            if ended and not chunks % _CHUNKS_AT_ONCE:
                await asyncio.sleep(0)  # what has come already is read without a pause
        return bytes(body)


def _too_large(detail: str) -> Exception:
    return refuse(Code.BODY_TOO_LARGE, detail)


async def stream(request: web.Request, objects: AsyncIterator[object]) -> web.StreamResponse:
    """Answer with NDJSON: `objects`, one a line, until they end; blank lines while none comes.

    The first object is asked for before the answer begins, so that who reads the head misses none.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    coming = _coming(objects)
    try:
        await response.prepare(request)
        while True:
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_S)
            if not done:
                await _write(request, response, b"\n")
                continue
            if (value := coming.result()) is None:
                break
            await _write(request, response, _encoder.encode(value) + b"\n")
            coming = _coming(objects)
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        if isinstance(objects, AsyncGenerator):
            await objects.aclose()
    return response


def _coming(objects: AsyncIterator[object]) -> asyncio.Task[object]:
    async def following() -> object:
        return await anext(objects, None)

    return awaited("stream", following())


@asynccontextmanager
async def untaken(request: web.BaseRequest) -> AsyncIterator[None]:
    """Send something; who does not take it in time loses the connection, and its memory with it."""
    try:
        async with asyncio.timeout(STALLED_S):
            yield
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client took nothing of its answer") from None


async def _write(request: web.Request, response: web.StreamResponse, line: bytes) -> None:
    async with untaken(request):
        await response.write(line)
