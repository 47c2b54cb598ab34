"""What a request's head decides, and what becomes of a body that nobody wants.

Whoever can connect can send bytes. So nothing of a body is looked at before the head has been
judged, a body is never inflated, and one that nobody reads costs its receipt and nothing else: the
answer is sent, what still comes is thrown away unparsed for a moment, and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from aiohttp import web

from pmigd.api.exchange import untaken
from pmigd.core.problem import Code, Problem, Refused, refuse

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@runtime_checkable
class ClientLine(Protocol):
    """A connection, as far as a request's head and body are concerned."""

    def heard(self) -> None:
        """A request's head is complete."""

    def refuse(self, problem: Problem) -> web.StreamResponse:
        """The answer to a head that is not even passed on."""

    def asks_leave(self) -> None:
        """The client waits with its body until it is told to send it."""

    async def discard(self) -> None:
        """Throw away what still comes, for a moment, and let nobody ask anything more."""


class ByHead:
    """An application whose requests are judged by their heads first.

    It also sends the answers: who takes nothing of one loses the connection.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        line = request.protocol
        if not isinstance(line, ClientLine):
            raise TypeError("only a door's connections are answered")
        line.heard()
        try:
            request = _without_expectation(request, line)
        except Refused as refused:
            response = line.refuse(refused.problem)
        else:
            response = await self._answering(request)
        unread = request.body_exists and not request.content.at_eof()
        if unread:
            response.force_close()
        async with untaken(request):
            await response.prepare(request)
            await response.write_eof()
        if unread and not request.content.is_eof():
            await line.discard()
        return response


def _without_expectation(request: web.BaseRequest, line: ClientLine) -> web.BaseRequest:
    """The request as aiohttp may see it, which would invite every body at once."""
    expected = request.headers.get("Expect")
    if expected is None:
        return request
    if expected.lower() != "100-continue":
        raise refuse(Code.INVALID_REQUEST, "The only expectation known is 100-continue.")
    line.asks_leave()
    headers = request.headers.copy()
    headers.popall("Expect")
    return request.clone(headers=headers)


def judge(request: web.BaseRequest) -> None:
    """Refuse what no resource takes, whoever asks.

    Raises Refused: a body that is compressed. It could unfold to any size, and needs its time.
    """
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    transfer = request.headers.get("Transfer-Encoding", "chunked").strip().lower()
    for name, said, known in (
        ("Content-Encoding", coding, "identity"),
        ("Transfer-Encoding", transfer, "chunked"),
    ):
        if said != known:
            raise refuse(Code.UNSUPPORTED_MEDIA_TYPE, f"{name} '{said[:40]}' is not taken.")
