"""The table of resources: path, method, role, schemas.

The application and the OpenAPI document are both made from it, so they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pmigd.api import handlers
from pmigd.api.problems import Handler
from pmigd.core.roles import Role
from pmigd.wire.migration import Migration, Page, StreamEvent
from pmigd.wire.request import MigrationRequest, NoBody, ResolveRequest


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header."""

    name: str
    description: str
    schema: dict[str, Any]
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Route:
    """One resource and method. `takes` and `gives` are the body's schemas."""

    method: str
    path: str
    role: Role | None
    handler: Handler
    summary: str
    takes: type | None = None
    gives: type | None = None
    status: int = 200
    content_type: str = "application/json"
    parameters: tuple[Parameter, ...] = field(default=())


_TEXT: Final = {"type": "string"}
_STATES: Final = Parameter("state", "Only these states; may be repeated.", _TEXT)
_DOMAIN: Final = Parameter("domain", "Only migrations of this name or UUID.", _TEXT)
_LIMIT: Final = Parameter(
    "limit",
    "Items of a page.",
    {"type": "integer", "minimum": 1, "maximum": handlers.PAGE_MAX},
)
_CURSOR: Final = Parameter("cursor", "next_cursor of the page before.", _TEXT)
_WAIT: Final = Parameter(
    "wait",
    "Seconds to wait for the end.",
    {"type": "number", "minimum": 0, "maximum": handlers.WAIT_MAX_S},
)
_KEY: Final = Parameter(
    "Idempotency-Key", "Makes a repeat return the first one.", _TEXT, where="header"
)
_NDJSON: Final = "application/x-ndjson"

ROUTES: Final = (
    Route(
        "POST",
        "/v1/migrations",
        Role.OPERATOR,
        handlers.submit,
        "Queue a migration",
        MigrationRequest,
        Migration,
        202,
        parameters=(_KEY,),
    ),
    Route(
        "GET",
        "/v1/migrations",
        Role.VIEWER,
        handlers.listing,
        "Migrations, newest first",
        gives=Page,
        parameters=(_STATES, _DOMAIN, _LIMIT, _CURSOR),
    ),
    Route(
        "GET",
        "/v1/migrations/{id}",
        Role.VIEWER,
        handlers.one,
        "One migration, at once or when it has ended",
        gives=Migration,
        parameters=(_WAIT,),
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/abort",
        Role.OPERATOR,
        handlers.abort,
        "Abort it; the guest stays where it is",
        NoBody,
        Migration,
        202,
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/resolve",
        Role.OPERATOR,
        handlers.resolve,
        "Close an unresolved one by hand",
        ResolveRequest,
        Migration,
    ),
    Route(
        "GET",
        "/v1/migrations/{id}/events",
        Role.VIEWER,
        handlers.events_of_one,
        "Changes of one migration until it ends",
        gives=StreamEvent,
        content_type=_NDJSON,
    ),
    Route(
        "GET",
        "/v1/events",
        Role.VIEWER,
        handlers.events,
        "Changes of all migrations from now on",
        gives=StreamEvent,
        content_type=_NDJSON,
    ),
    Route("GET", "/v1/domains", Role.VIEWER, handlers.domains, "This host's domains"),
    Route("GET", "/v1/peers", Role.VIEWER, handlers.peers, "The configured peers"),
    Route("GET", "/v1/status", Role.VIEWER, handlers.status, "How the daemon is"),
    Route("GET", "/healthz", None, handlers.healthz, "The event loop is alive"),
    Route("GET", "/readyz", None, handlers.readyz, "libvirt connected and journal writable"),
    Route(
        "GET",
        "/metrics",
        Role.VIEWER,
        handlers.metrics,
        "Metrics for Prometheus",
        content_type="text/plain",
    ),
)
