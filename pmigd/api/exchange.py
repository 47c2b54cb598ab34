"""Bodies that come in and streams that go out: each with a deadline and a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import msgspec
from aiohttp import web

from pmigd.core.problem import Code, refuse
from pmigd.wire.request import BODY_LIMIT_BYTES

BODY_DEADLINE_S: Final = 10.0
HEARTBEAT_S: Final = 5.0
"""A blank line in a silent stream, so that both sides notice when the other is gone."""
STALLED_S: Final = 20.0
"""How long a reader of a stream may take nothing before it is let go."""

_encoder = msgspec.json.Encoder()


async def body_of(request: web.Request, *, empty: object = None) -> Any:
    """The body as JSON, `empty` standing in for no body at all."""
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT_BYTES, request.content_length or 0)
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            raw = await request.read()
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
    await response.write_eof()
    return response


def _coming(objects: AsyncIterator[object]) -> asyncio.Task[object]:
    async def following() -> object:
        return await anext(objects, None)

    return asyncio.get_running_loop().create_task(following(), name="stream")


async def _write(request: web.Request, response: web.StreamResponse, line: bytes) -> None:
    """Send a line; who does not take it in time loses the connection, and its memory with it."""
    try:
        async with asyncio.timeout(STALLED_S):
            await response.write(line)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader of a stream took nothing") from None
