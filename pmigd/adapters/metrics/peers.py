"""The channel to the pmigd of other hosts: who answers, what they ask here, and who is turned away.

A peer's name is a label of one gauge only, and only of peers that are configured: in counters there
would be as many series as hosts squared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from pmigd.adapters.metrics import labels
from pmigd.adapters.metrics.family import Family
from pmigd.adapters.metrics.labels import member
from pmigd.adapters.metrics.snapshot import Snapshot

UP: Final = Family(
    "pmigd_peer_up",
    "gauge",
    "0 for a peer whose pmigd did not answer when it was last asked for a lease, else 1."
    " While nothing is queued for it and nothing runs to it, nobody asks.",
    ("peer",),
    "no pmigd is configured for the peer",
)
REQUESTS: Final = Family(
    "pmigd_peer_request_duration_seconds",
    "summary",
    "Time that requests of peers took here; events are streams, which last as long as they are"
    " listened to.",
    ("request",),
)
ERRORS: Final = Family(
    "pmigd_peer_request_errors_total",
    "counter",
    "Requests of peers that were answered with a problem, or not at all.",
    ("request",),
)
REFUSALS: Final = Family(
    "pmigd_peer_refusals_total",
    "counter",
    "Connections and requests on the listener for peers that were turned away.",
    ("reason",),
)

FAMILIES: Final = (UP, REQUESTS, ERRORS, REFUSALS)


class PeerMetrics:
    """Counts what comes in on the listener for peers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = REQUESTS.summary(registry)
        self._errors = ERRORS.counter(registry)
        self._refusals = REFUSALS.counter(registry)
        for request in (*labels.PEER_REQUESTS, labels.OTHER):
            self._requests.labels(request)
            self._errors.labels(request)
        for reason in (*labels.PEER_REFUSALS, labels.OTHER):
            self._refusals.labels(reason)

    def request(self, request: str, seconds: float, *, failed: bool) -> None:
        """A peer's request was answered."""
        request = member(request, labels.PEER_REQUESTS, labels.OTHER)
        self._requests.labels(request).observe(seconds)
        self._errors.labels(request).inc(1 if failed else 0)

    def refused(self, why: str) -> None:
        """A connection or a request was turned away."""
        self._refusals.labels(member(why, labels.PEER_REFUSALS, labels.OTHER)).inc()


def collect(now: Snapshot) -> Iterator[Metric]:
    """Who answers, as of now."""
    up = UP.gauges()
    for peer, answers in now.peers_up.items():
        up.add_metric([peer], int(answers))
    yield up
