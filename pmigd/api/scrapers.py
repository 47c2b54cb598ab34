"""Who may read the metrics over TCP: as the web configuration file says, for every path."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from aiohttp import web

from pmigd.api.guard import Guard
from pmigd.api.peerbackend import Intrusion
from pmigd.api.problems import Handler, problem_answer
from pmigd.core.problem import Code, Problem

Admittance = Literal["in", "password", "certificate", "busy"]
"""Whether a request is let in, or what keeps it out: its password, its certificate, or that too
many passwords wait for their check."""

_ANSWERS: Final[dict[Admittance, tuple[Problem, dict[str, str]]]] = {
    "password": (
        Problem(Code.NOT_AUTHENTICATED, "A user and the right password are needed."),
        {"WWW-Authenticate": "Basic"},
    ),
    "certificate": (
        Problem(Code.NOT_ADMITTED, "No name of the client's certificate is allowed."),
        {},
    ),
    "busy": (
        Problem(Code.TOO_BUSY, "Too many passwords wait for their check."),
        {"Retry-After": "1"},
    ),
}


class Scrapers(Protocol):
    """The daemon: :class:`pmigd.daemon.scraping.Scraping`."""

    async def admits(
        self, credentials: tuple[str, str] | None, certificate: Mapping[str, Any]
    ) -> Admittance:
        """Whether a request is let in. `credentials` are user and password, if they were given;
        `certificate` is what TLS verified, empty if nothing."""


SCRAPERS: Final = web.AppKey("scrapers", Scrapers)
GUARD: Final = web.AppKey("scrapers_guard", Guard)


@web.middleware
async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody read who may not."""
    scrapers = request.app[SCRAPERS]
    certificate = request.get_extra_info("peercert") or {}
    verdict = await scrapers.admits(_credentials(request), certificate)
    if verdict == "in":
        return await handler(request)
    problem, headers = _ANSWERS[verdict]
    why: Intrusion = "too_many" if verdict == "busy" else "not_allowed"
    request.app[GUARD].refused(why, request.remote or "unknown", problem.detail)
    response = problem_answer(problem, request)
    response.headers.update(headers)
    response.force_close()
    return response


def _credentials(request: web.Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode(errors="surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None
