"""How the metrics are served over TCP: TLS and passwords of the web configuration file.

The file and its certificates are looked at every second and read again when they changed. What
cannot be used is said, and what was read before stays in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from pmigd.adapters import web
from pmigd.adapters.metrics import Metrics
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.api.guard import Guard
from pmigd.api.scrapers import Admittance
from pmigd.config.schema import Config

LOOK_EVERY_S: Final = 1.0
READ_DEADLINE_S: Final = 5.0

log = structlog.get_logger()


class Scraping:
    """The listeners for Prometheus (:class:`pmigd.api.scrapers.Scrapers`)."""

    def __init__(self, metrics: Metrics, files: CallPool) -> None:
        self._metrics = metrics
        self._files = files
        self._path: Path | None = None
        self._current = web.WebConfig()
        self._stamps: web.Stamps = {}
        self.pool = CallPool("passwords", 1)
        self._passwords = web.Passwords(self.pool)
        self.guard = Guard(metrics.scrape_refused, event="scraper refused", plain=True)

    async def admits(
        self, credentials: tuple[str, str] | None, certificate: Mapping[str, Any]
    ) -> Admittance:
        """Whether a request is let in."""
        now = self._current
        if now.names is not None and now.names.isdisjoint(_names(certificate)):
            return "certificate"
        if not now.users:
            return "in"
        if credentials is None:
            return "password"
        try:
            right = await self._passwords.right(now.users, *credentials)
        except (web.TooManyWaiting, Overdue):
            return "busy"
        return "in" if right else "password"

    async def prepare(self, config: Config) -> Callable[[], None]:
        """Read the file; what takes up what it says, and what is shown. Raises WebConfigRefused or
        Overdue."""
        path = Path(config.metrics.web_config) if config.metrics.web_config else None
        fresh = web.WebConfig()
        if path is not None:
            fresh = await self._files.call("web config", READ_DEADLINE_S, lambda: web.read(path))

        def take() -> None:
            self._metrics.show_domains(config.metrics.per_domain_metrics)
            self._path = path
            self._take(fresh)
            self._metrics.web_config_read(None if path is None else True)
            if path is not None:
                log.info("web configuration read", tls=fresh.context is not None)

        return take

    async def run(self) -> None:
        """Read the file again whenever it changed."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._path is not None:
                await self._look(self._path)

    def stop(self) -> None:
        """Check no more passwords."""
        self.pool.stop()

    async def _look(self, path: Path) -> None:
        """Read the file if it changed. What cannot be used is said."""
        stamps = self._stamps

        def changed() -> web.WebConfig | None:
            return web.read(path) if not stamps or web.stamps_of(stamps) != stamps else None

        try:
            fresh = await self._files.call("web config", READ_DEADLINE_S, changed)
        except (web.WebConfigRefused, Overdue) as error:
            if isinstance(error, web.WebConfigRefused):
                self._stamps = error.stamps
            log.error("web configuration cannot be used", detail=str(error))
            self._metrics.web_config_read(False)
            return
        if fresh is not None and path == self._path:
            self._take(fresh)
            log.info("web configuration read", tls=fresh.context is not None)
            self._metrics.web_config_read(True)

    def _take(self, fresh: web.WebConfig) -> None:
        self._current, self._stamps = fresh, fresh.stamps
        self._metrics.certificate_in_force("metrics", fresh.ends)
        self.guard.context = fresh.context


def _names(certificate: Mapping[str, Any]) -> set[str]:
    return {text for _, text in certificate.get("subjectAltName", ())}
