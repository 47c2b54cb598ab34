"""How many series there are, counted in what the real exporter sends: a part of measuring.md."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from contrib.bench.exporter import Exporter
from pmigd.adapters.metrics.host import MAX_CALLS
from pmigd.adapters.metrics.recent import KEPT, KEPT_S


def _peer(of: Exporter) -> None:
    of.peers_up = {"hostb": True}


def _certificate(of: Exporter) -> None:
    of.metrics.certificate_in_force("migration", datetime.now(UTC))


def _call(of: Exporter) -> None:
    of.metrics.libvirt_call("job_stats", 0.001, failed=False)


def _request(of: Exporter) -> None:
    of.metrics.api_request("GET", "/metrics", 200, 0.001)


def _migration(of: Exporter) -> None:
    of.run(1)


def _full_migration(of: Exporter) -> None:
    of.run(1, full=True)


def _ended(of: Exporter) -> None:
    of.arrive(of.run(1))


ADDED: Final[tuple[tuple[str, Callable[[Exporter], None]], ...]] = (
    ("a peer whose pmigd is configured", _peer),
    ("a certificate of its own: for peers, for Prometheus, QEMU's", _certificate),
    (f"a kind of libvirt call, once made; at most {MAX_CALLS}", _call),
    ("a route of the API, once asked for", _request),
    ("a migration under way", _migration),
    ("the same with limits of time and bandwidth, disks and auto-converge", _full_migration),
    (f"one that succeeded, for {KEPT_S / 60:g} minutes; at most {KEPT}", _ended),
)
"""What adds series, and how it comes about."""


def table() -> str:
    """The table in Markdown."""
    idle = Exporter().series()
    rows = [("a host that has just started", f"{idle}")]
    for what, happen in ADDED:
        exporter = Exporter()
        happen(exporter)
        rows.append((what, f"+{exporter.series() - idle}"))
    return "\n".join(["| | series |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
