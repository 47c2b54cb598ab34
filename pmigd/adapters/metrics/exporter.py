"""The one face of the metrics: the daemon tells it what happened, a scrape asks it what is.

Nothing here may wait, call libvirt or fail because of what a scraper sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from pmigd.adapters.metrics import capacity, live, peers
from pmigd.adapters.metrics.api import ApiMetrics
from pmigd.adapters.metrics.host import HostMetrics
from pmigd.adapters.metrics.labels import Usage
from pmigd.adapters.metrics.migrations import MigrationFigures
from pmigd.adapters.metrics.peers import PeerMetrics
from pmigd.adapters.metrics.recent import RecentMigrations
from pmigd.adapters.metrics.snapshot import Snapshot
from pmigd.core.model import Migration
from pmigd.core.ports import HostFacts
from pmigd.core.problem import Code

_OPENMETRICS: Final = "application/openmetrics-text"


class Metrics:
    """All metrics of one daemon, in a registry of its own. Everything is called on the loop.

    `snapshot` is called once a scrape; `utc_now` and `mono` are the two clocks.
    """

    def __init__(
        self,
        *,
        version: str,
        snapshot: Callable[[], Snapshot],
        utc_now: Callable[[], datetime],
        mono: Callable[[], float],
    ) -> None:
        # For the whole process, and only for metrics made from now on: a quarter fewer series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._mono = mono
        self._host = HostMetrics(self.registry, version=version, utc_now=utc_now)
        self._migrations = MigrationFigures(self.registry, mono)
        self._recent = RecentMigrations()
        self._api = ApiMetrics(self.registry)
        self._peers = PeerMetrics(self.registry)
        self._memory = _FromMemory(snapshot, self._host, self._migrations, self._recent)
        self.registry.register(self._memory)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def migration_changed(self, before: Migration | None, after: Migration) -> None:
        """A migration took a step; `before` is None for its very first one.

        To be called for every step of every migration, those of others included, but not for
        migrations that are only read from the journal: their first step in this life of pmigd
        has the journalled state as `before`.
        """
        self._recent.changed(before, after, self._mono())
        self._migrations.changed(before, after)

    def forgotten(self, m: Migration) -> None:
        """`m` was dropped from memory. What it added to the counters stays."""
        self._migrations.forgotten(m)

    def show_domains(self, show: bool) -> None:
        """Whether a scrape sees single migrations (those under way, the last ones that ended)."""
        self._memory.show_domains = show

    def rejected(self, code: Code) -> None:
        """A submission was refused at once."""
        self._migrations.rejected(code)

    def libvirt_call(self, name: str, seconds: float, failed: bool) -> None:
        """A libvirt call came back, or was given up; the signature of a call pool's observer."""
        self._host.libvirt_call(name, seconds, failed)

    def libvirt_changed(self, connected: bool, facts: HostFacts, reconnects: int) -> None:
        """The connection to the local libvirt daemon came or went; `reconnects` is the sum."""
        self._host.libvirt_changed(connected, facts, reconnects)

    def api_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the template ("/v1/migrations/{id}")."""
        self._api.request(method, route, status, seconds)

    def peer_request(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:  # noqa: ARG002
        """A request of another host's pmigd was answered. `request` is the exchange's name.

        `peer` is no label: over all hosts that would be as many series as hosts squared.
        """
        self._peers.request(request, seconds, failed=failed)

    def peer_refused(self, why: str) -> None:
        """Somebody was turned away from the listener for peers."""
        self._peers.refused(why)

    def loop_lag(self, seconds: float) -> None:
        """The probe on the event loop woke up `seconds` late."""
        self._host.loop_lag(seconds)

    def config_reloaded(self, ok: bool) -> None:
        """The configuration was read again, with or without success."""
        self._host.config_reloaded(ok)

    def web_config_read(self, ok: bool | None) -> None:
        """The web configuration file was read, with or without success; None: there is none."""
        self._host.web_config_read(ok)

    def certificate_in_force(self, usage: Usage, ends: datetime | None) -> None:
        """What this host shows for `usage` ends then; None: it shows none."""
        self._host.certificate_in_force(usage, ends)

    def scrape_refused(self, why: str) -> None:
        """Somebody was turned away from the listeners for Prometheus."""
        self._host.scrape_refused(why)

    def log_message(self, level: str) -> None:
        """A line was logged."""
        self._host.log_message(level)

    def log_unsent(self) -> None:
        """A line was not taken by journald."""
        self._host.log_unsent()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that an Accept header asks for."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The client library trips over versions that are not numbers.
            return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4
        if content_type.startswith(_OPENMETRICS):
            # No name of ours needs escaping; to look for what does would take half of the time.
            body: bytes = openmetrics.generate_latest(  # type: ignore[no-untyped-call]
                self.registry, openmetrics.ALLOWUTF8
            )
            return body, content_type
        return encode(self.registry), content_type

    def render_for_textfile(self) -> bytes:
        """The families of pmigd alone, in plain text.

        node_exporter has metrics of its own process; the same ones in a file are an error to it.
        """
        return generate_latest(_Ours(self.registry))


class _Ours(Collector):
    """What is named after pmigd."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """The families of the registry that are pmigd's own."""
        return (family for family in self._registry.collect() if family.name.startswith("pmigd_"))


class _FromMemory(Collector):
    """What is read at the scrape: fresh families each time, so that nothing stale stays."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        host: HostMetrics,
        migrations: MigrationFigures,
        recent: RecentMigrations,
    ) -> None:
        self.show_domains = True
        self._snapshot = snapshot
        self._host = host
        self._migrations = migrations
        self._recent = recent

    def describe(self) -> Iterable[Metric]:
        """Nothing: without this the registry would collect when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families that are read from memory."""
        now = self._snapshot()
        yield from self._host.collect(now)
        yield from capacity.collect(now)
        yield from peers.collect(now)
        if self.show_domains:
            yield from live.collect(now.migrations, self._migrations.progressed_at)
            yield from self._recent.collect(now.now_mono)
