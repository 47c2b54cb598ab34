"""The two aiohttp applications: the API on the UNIX socket, and the metrics for Prometheus."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from pmigd.api import handlers
from pmigd.api.auth import needs
from pmigd.api.backend import Backend
from pmigd.api.exchange import COMING, Coming
from pmigd.api.guard import Guard
from pmigd.api.handlers import DESCRIPTION
from pmigd.api.openapi import document
from pmigd.api.problems import BACKEND, Handler, explain
from pmigd.api.query import reads
from pmigd.api.routes import ROUTES
from pmigd.api.scrapers import GUARD, SCRAPERS, Scrapers, admitted

_METRICS_PATHS: Final[dict[str, tuple[Handler, str]]] = {
    "/metrics": (handlers.metrics, "Metrics for Prometheus"),
    "/-/healthy": (handlers.healthz, "The event loop is alive"),
    "/-/ready": (handlers.readyz, "libvirt connected and journal writable"),
}
_LANDING: Final = (
    "<!doctype html><title>pmigd</title><h1>pmigd</h1><ul>"
    + "".join(
        f'<li><a href="{path}">{path}</a>: {text}' for path, (_, text) in _METRICS_PATHS.items()
    )
    + "</ul>"
)


def make_app(backend: Backend) -> web.Application:
    """The application on the UNIX socket."""
    app = web.Application(middlewares=[explain])
    app[BACKEND], app[COMING] = backend, Coming()
    for route in ROUTES:
        # Monitoring adds parameters of its own to what is not under /v1.
        strict = route.path.startswith("/v1/")
        handler = reads(route.parameters, route.handler, strict=strict)
        checked = needs(route.role, handler)
        app.router.add_route(route.method, route.path, checked)
    app[DESCRIPTION] = document()
    return app


def make_metrics_app(backend: Backend, scrapers: Scrapers, guard: Guard) -> web.Application:
    """The application on the TCP listeners for Prometheus: it reads, and only metrics."""

    async def landing(_request: web.Request) -> web.Response:
        return web.Response(text=_LANDING, content_type="text/html")

    app = web.Application(middlewares=[explain, admitted])
    app[BACKEND], app[SCRAPERS], app[GUARD] = backend, scrapers, guard
    app.router.add_get("/", landing)
    for path, (handler, _) in _METRICS_PATHS.items():
        app.router.add_get(path, handler)
    return app
