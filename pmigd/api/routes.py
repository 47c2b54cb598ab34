"""The table of resources: path, method, role, schemas.

The application and the OpenAPI document are both made from it, so they cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pmigd.api import handlers
from pmigd.api.problems import Handler
from pmigd.api.query import CURSOR, DOMAIN, KEY, LIMIT, STATE, TRACEPARENT, WAIT, Parameter
from pmigd.core.roles import Role
from pmigd.wire.host import Diagnosis, Domains, Health, LimitsJson, PeersJson, Readiness, Status
from pmigd.wire.migration import CheckResult, MigrationJson, Page, SettingsJson, StreamEvent
from pmigd.wire.request import MigrationRequest, NoBody, ResolveRequest, SettingsRequest


@dataclass(frozen=True, slots=True)
class Route:
    """One resource and method. `takes` and `gives` are the body's schemas.

    `also` are further statuses with which the same schema is given.
    """

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
    also: tuple[int, ...] = ()


_NDJSON: Final = "application/x-ndjson"

ROUTES: Final = (
    Route(
        "POST",
        "/v1/check",
        Role.OPERATOR,
        handlers.check,
        "Everything that speaks against a migration; nothing is started",
        MigrationRequest,
        CheckResult,
    ),
    Route(
        "POST",
        "/v1/migrations",
        Role.OPERATOR,
        handlers.submit,
        "Queue a migration",
        MigrationRequest,
        MigrationJson,
        202,
        parameters=(KEY, TRACEPARENT),
    ),
    Route(
        "GET",
        "/v1/migrations",
        Role.VIEWER,
        handlers.listing,
        "Migrations, newest first",
        gives=Page,
        parameters=(STATE, DOMAIN, LIMIT, CURSOR),
    ),
    Route(
        "GET",
        "/v1/migrations/{id}",
        Role.VIEWER,
        handlers.one,
        "One migration, at once or when it has ended",
        gives=MigrationJson,
        parameters=(WAIT,),
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/abort",
        Role.OPERATOR,
        handlers.abort,
        "Abort it; the guest stays where it is",
        NoBody,
        MigrationJson,
        202,
        also=(200,),
    ),
    Route(
        "PATCH",
        "/v1/migrations/{id}",
        Role.OPERATOR,
        handlers.change,
        "Change settings of one that waits or runs",
        SettingsRequest,
        MigrationJson,
    ),
    Route(
        "GET",
        "/v1/migrations/{id}/settings",
        Role.VIEWER,
        handlers.settings,
        "The settings in force",
        gives=SettingsJson,
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/suspend",
        Role.OPERATOR,
        handlers.suspend,
        "Pause the guest so that it finishes",
        NoBody,
        MigrationJson,
        202,
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/postcopy",
        Role.OPERATOR,
        handlers.postcopy,
        "Let the guest move now and its memory follow",
        NoBody,
        MigrationJson,
        202,
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/recover",
        Role.OPERATOR,
        handlers.recover,
        "Go on with a broken post-copy",
        NoBody,
        MigrationJson,
        202,
    ),
    Route(
        "POST",
        "/v1/migrations/{id}/resolve",
        Role.OPERATOR,
        handlers.resolve,
        "Close an unresolved one by hand",
        ResolveRequest,
        MigrationJson,
    ),
    Route(
        "GET",
        "/v1/migrations/{id}/events",
        Role.VIEWER,
        handlers.events_of_one,
        "Changes of one migration until it ends, or until a line 'lagged': the reader was too slow",
        gives=StreamEvent,
        content_type=_NDJSON,
    ),
    Route(
        "GET",
        "/v1/events",
        Role.VIEWER,
        handlers.events,
        "Changes of all migrations from now on, until a line 'lagged': the reader was too slow",
        gives=StreamEvent,
        content_type=_NDJSON,
    ),
    Route(
        "GET", "/v1/domains", Role.VIEWER, handlers.domains, "This host's domains", gives=Domains
    ),
    Route(
        "GET",
        "/v1/limits",
        Role.VIEWER,
        handlers.limits,
        "What migrations may hold on this host, and hold now",
        gives=LimitsJson,
    ),
    Route("GET", "/v1/peers", Role.VIEWER, handlers.peers, "The configured peers", gives=PeersJson),
    Route("GET", "/v1/status", Role.VIEWER, handlers.status, "How the daemon is", gives=Status),
    Route(
        "GET",
        "/v1/diagnose",
        Role.OPERATOR,
        handlers.diagnose,
        "A support bundle without secrets",
        gives=Diagnosis,
    ),
    Route("GET", "/v1/openapi.json", None, handlers.openapi, "This description"),
    Route("GET", "/healthz", None, handlers.healthz, "The event loop is alive", gives=Health),
    Route(
        "GET",
        "/readyz",
        None,
        handlers.readyz,
        "libvirt connected and journal writable",
        gives=Readiness,
        also=(503,),
    ),
    Route(
        "GET",
        "/metrics",
        Role.VIEWER,
        handlers.metrics,
        "Metrics for Prometheus",
        content_type="text/plain",
    ),
)
