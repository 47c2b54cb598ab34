"""Requests on the API's socket."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.labels import Bounded, member

MAX_ROUTES: Final = 64
_DURATIONS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)

REQUESTS: Final = Family(
    "pmigd_api_requests_total",
    "counter",
    "Requests that were answered. The route is a template, never a path.",
    ("method", "route", "code"),
    "no such request since the start",
)
DURATION: Final = Family(
    "pmigd_api_request_duration_seconds",
    "histogram",
    "Time to answer; requests that wait or stream take as long as they were asked to.",
    ("route",),
    "no such request since the start",
    buckets=_DURATIONS,
)

FAMILIES: Final = (REQUESTS, DURATION)


class ApiMetrics:
    """Counts and times requests. Series appear with the first request of a kind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._routes = Bounded(MAX_ROUTES)
        self._requests = REQUESTS.counter(registry)
        self._duration = DURATION.histogram(registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        route = self._routes(route)
        method = member(method, labels.METHODS, labels.OTHER)
        self._requests.labels(method, route, str(status)).inc()
        self._duration.labels(route).observe(seconds)
