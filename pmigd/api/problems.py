"""Every error as problem+json (RFC 9457). Nothing leaves the socket as a traceback or as text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic
from typing import Final

import msgspec
import structlog
from aiohttp import web

from pmigd.api.backend import Backend
from pmigd.api.head import judge
from pmigd.core.printable import printable
from pmigd.core.problem import Code, Problem, Refused
from pmigd.wire.migration import problem_view

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BACKEND: Final = web.AppKey("backend", Backend)

PROBLEM_TYPE: Final = "application/problem+json"

log = structlog.get_logger()
_encoder = msgspec.json.Encoder()


def answer(value: object, status: int = 200, **headers: str) -> web.Response:
    """`value` as JSON."""
    return web.Response(
        body=_encoder.encode(value),
        status=status,
        content_type="application/json",
        headers=headers,
    )


class ProblemResponse(web.Response):
    """`problem` as problem+json."""

    def __init__(self, problem: Problem, instance: str | None = None) -> None:
        view = problem_view(problem, instance)
        super().__init__(body=_encoder.encode(view), status=view.status, content_type=PROBLEM_TYPE)
        self.problem = problem


def raw_problem(problem: Problem) -> bytes:
    """`problem` as a whole HTTP answer, for a client that has not made a request."""
    body = _encoder.encode(problem_view(problem))
    status = HTTPStatus(problem.code.kind.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {PROBLEM_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def problem_answer(problem: Problem, request: web.Request) -> ProblemResponse:
    """The answer to `request` that `problem` explains."""
    return ProblemResponse(problem, printable(request.path, 256))


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever goes wrong below with a problem, and count the request."""
    began = monotonic()

    async def noted(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            if request.method == "POST":
                request.app[BACKEND].counts.rejected(refused.problem.code)
            raise

    response: web.StreamResponse | None = None
    try:
        response = await explained(request, noted)
    finally:
        route = request.match_info.route.resource
        request.app[BACKEND].counts.api_request(
            request.method if route is not None else "OTHER",
            route.canonical if route is not None else "unknown",
            response.status if response is not None else 499,
            monotonic() - began,
        )
    return response


async def explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer of `handler`, or the problem that it ran into."""
    try:
        judge(request)
        return await handler(request)
    except Refused as refused:
        return problem_answer(refused.problem, request)
    except web.HTTPNotFound:
        problem = Problem(Code.UNKNOWN_RESOURCE, f"There is nothing at {request.path[:200]!r}.")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem_answer(Problem(Code.METHOD_NOT_ALLOWED, f"It has: {allowed}."), request)
        response.headers["Allow"] = allowed
        return response
    except web.HTTPException as error:
        problem = Problem(Code.INVALID_REQUEST, error.reason)
    except ConnectionError:
        raise  # the client is gone: nobody is left to answer
    except Exception:
        log.exception("request failed", method=request.method, path=request.path[:200])
        problem = Problem(Code.INTERNAL, "The daemon's log has the details.")
    return problem_answer(problem, request)
