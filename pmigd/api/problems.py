"""Every error as problem+json (RFC 9457). Nothing leaves the socket as a traceback or as text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import msgspec
import structlog
from aiohttp import web

from pmigd.api.backend import Backend
from pmigd.core.problem import Code, Problem, Refused
from pmigd.wire.migration import problem_view

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BACKEND: Final = web.AppKey("backend", Backend)

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


def problem_answer(problem: Problem, request: web.Request) -> web.Response:
    """`problem` as problem+json."""
    view = problem_view(problem, instance=request.path[:256])
    return web.Response(
        body=_encoder.encode(view), status=view.status, content_type="application/problem+json"
    )


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever goes wrong below with a problem, and count the request."""
    began = monotonic()
    response: web.StreamResponse | None = None
    try:
        response = await _explained(request, handler)
    finally:
        route = request.match_info.route.resource
        request.app[BACKEND].observe_request(
            request.method if route is not None else "OTHER",
            route.canonical if route is not None else "unknown",
            response.status if response is not None else 499,
            monotonic() - began,
        )
    return response


async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        if request.method == "POST":
            request.app[BACKEND].observe_rejection(refused)
        return problem_answer(refused.problem, request)
    except web.HTTPRequestEntityTooLarge:
        problem = Problem(Code.BODY_TOO_LARGE, "The body is larger than 1 MiB.")
    except web.HTTPNotFound:
        problem = Problem(Code.UNKNOWN_RESOURCE, f"There is nothing at {request.path[:200]!r}.")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        problem = Problem(Code.METHOD_NOT_ALLOWED, f"It has: {allowed}.")
    except web.HTTPException as error:
        problem = Problem(Code.INVALID_REQUEST, error.reason)
    except ConnectionError:
        raise  # the client is gone: nobody is left to answer
    except Exception:
        log.exception("request failed", method=request.method, path=request.path[:200])
        problem = Problem(Code.INTERNAL, "The daemon's log has the details.")
    return problem_answer(problem, request)
