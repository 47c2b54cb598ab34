"""HTTPS for the pmigd of other hosts: TLS proves who asks, and each may speak for itself only.

It never decides about leases or guests; the daemon behind it does.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from aiohttp import web

from pmigd.adapters.peer.names import certificate_names, covers
from pmigd.api.exchange import COMING, Coming, body_of, stream
from pmigd.api.guard import Guard
from pmigd.api.peerbackend import Intrusion, PeerBackend
from pmigd.api.problems import Handler, ProblemResponse, answer, explained
from pmigd.core.problem import Code, refuse
from pmigd.schema.validate import show
from pmigd.wire import peer as wire
from pmigd.wire.peer import Exchange, FromSource
from pmigd.wire.request import parse

BACKEND: Final = web.AppKey("peer_backend", PeerBackend)
GUARD: Final = web.AppKey("guard", Guard)

_EPOCH: Final = re.compile(r"[A-Za-z0-9]{0,64}\Z")
_INTRUSIONS: Final[dict[Code, Intrusion]] = {
    Code.PEER_NOT_ALLOWED: "not_allowed",
    Code.PEER_FALSE_NAME: "false_name",
    Code.BODY_TOO_LARGE: "too_large",
    Code.REQUEST_TOO_SLOW: "too_slow",
    Code.UNSUPPORTED_MEDIA_TYPE: "malformed",
    Code.BAD_JSON: "malformed",
    Code.INVALID_REQUEST: "malformed",
    Code.UNKNOWN_RESOURCE: "unknown_resource",
    Code.METHOD_NOT_ALLOWED: "unknown_resource",
}


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """One exchange, and what the daemon does with it: (daemon, proven name, body) -> answer."""

    exchange: Exchange[Any, Any]
    act: Callable[[PeerBackend, str, Any], Awaitable[Any]]


ROWS: Final = (
    ExchangeRow(wire.ASK, lambda backend, peer, ask: backend.ask(peer, ask)),
    ExchangeRow(wire.REPORT, lambda backend, peer, report: backend.report(peer, report)),
    ExchangeRow(wire.LOOK, lambda backend, peer, question: backend.look(peer, question)),
    ExchangeRow(wire.EXAMINE, lambda backend, peer, question: backend.examine(peer, question)),
)


def make_peer_app(backend: PeerBackend, guard: Guard) -> web.Application:
    """The application behind the guarded door."""
    app = web.Application(middlewares=[_proven])
    app[BACKEND], app[GUARD], app[COMING] = backend, guard, Coming()
    for row in ROWS:
        exchange = row.exchange
        app.router.add_route(exchange.method, exchange.path, _handler(row), name=exchange.name)
    app.router.add_get(wire.HELLO.path, _hello, name=wire.HELLO.name, allow_head=False)
    app.router.add_get(wire.EVENTS.path, _events, name=wire.EVENTS.name, allow_head=False)
    return app


def _handler(row: ExchangeRow) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        takes = row.exchange.takes
        body = None if takes is None else await _message(request, takes)
        return answer(await row.act(request.app[BACKEND], _peer(request), body))

    return handle


async def _hello(request: web.Request) -> web.Response:
    """Who this is, to a peer that greets with its epoch."""
    epoch = request.query.get("epoch", "")
    if not _EPOCH.match(epoch):
        raise refuse(Code.INVALID_REQUEST, "epoch must be at most 64 letters and digits.")
    return answer(request.app[BACKEND].hello(_peer(request), epoch))


async def _events(request: web.Request) -> web.StreamResponse:
    return await stream(request, request.app[BACKEND].events(_peer(request)))


async def _message(request: web.Request, kind: type[Any]) -> Any:
    """The body, if it is JSON of that kind, and not in the name of another host."""
    if request.content_type != "application/json":
        raise refuse(Code.INVALID_REQUEST, "The content type must be application/json.")
    message = parse(kind, await body_of(request))
    if isinstance(message, FromSource) and not covers(_names(request), message.source):
        raise refuse(
            Code.PEER_FALSE_NAME,
            f"The certificate of '{_peer(request)}' does not cover {show(message.source)}.",
        )
    return message


@web.middleware
async def _proven(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody ask who is not proven and allowed; answer with a problem, and count."""
    began = monotonic()
    peer: str | None = None

    async def checked(request: web.Request) -> web.StreamResponse:
        nonlocal peer
        peer = _peer(request)
        return await handler(request)

    response: web.StreamResponse | None = None
    try:
        response = await explained(request, checked)
    finally:
        if peer is not None:
            request.app[BACKEND].observe_peer(
                peer,
                request.match_info.route.name or "unknown",
                monotonic() - began,
                failed=response is None or response.status >= 400,
            )
    if isinstance(response, ProblemResponse) and response.problem.code in _INTRUSIONS:
        why = _INTRUSIONS[response.problem.code]
        request.app[GUARD].refused(why, request.remote or "unknown", response.problem.detail)
        response.force_close()
    return response


def _peer(request: web.Request) -> str:
    """The name that its certificate proves. Refused: none of its names is allowed."""
    names = _names(request)
    peer = request.app[GUARD].allowed.proven(names)
    if peer is None:
        shown = ", ".join(names)[:200] or "it has none"
        raise refuse(Code.PEER_NOT_ALLOWED, f"No name of its certificate is allowed: {shown}.")
    return peer


def _names(request: web.Request) -> tuple[str, ...]:
    return certificate_names(request.get_extra_info("peercert") or {})
