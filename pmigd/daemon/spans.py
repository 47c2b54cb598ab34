"""Spans of migrations, where the configuration names a collector; else nothing at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import structlog

from pmigd.adapters.pool import CallPool, Overdue
from pmigd.config.schema import Config
from pmigd.core.model import Migration
from pmigd.core.trace import ENTROPY_BYTES, Trace, begin

if TYPE_CHECKING:
    from pmigd.adapters.tracing import Tracing

OPEN_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 1.0

log = structlog.get_logger()


class Spans:
    """Opened and closed in the threads of `names`."""

    def __init__(self, names: CallPool) -> None:
        self._names = names
        self._tracing: Tracing | None = None

    async def open(self, config: Config) -> None:
        """Be ready to make spans. Raises nothing: guests can be moved without."""
        url = config.tracing.url
        if url is None:
            return

        def load() -> Tracing:
            # Only here: the package may be missing, and takes its time to load.
            from pmigd.adapters.tracing import to_collector

            return to_collector(config.daemon.name, url)

        try:
            self._tracing = await self._names.call("tracing", OPEN_DEADLINE_S, load)
        except Exception as error:  # noqa: BLE001 - whatever the SDK wants, guests can be moved
            missing = isinstance(error, ImportError)
            mend = (
                "pip install 'pmigd[otel]'" if missing else "mend it (OTEL_* in the environment?)"
            )
            remedy = f"{mend} and restart pmigd, or take tracing.endpoint out of the configuration"
            log.error("no spans are made", detail=str(error), remedy=remedy)

    async def close(self) -> None:
        """Send what there is, if the collector takes it in time."""
        if self._tracing is not None:
            with contextlib.suppress(Overdue):
                await self._names.call("tracing", CLOSE_DEADLINE_S, self._tracing.stop)

    def begin(self, caller: Trace | None) -> Trace | None:
        """A new migration's place in a trace: see :data:`pmigd.daemon.controller.BeginTrace`."""
        return caller if self._tracing is None else begin(caller, os.urandom(ENTROPY_BYTES))

    def changed(self, before: Migration | None, after: Migration) -> None:
        """A migration has gone a step."""
        if self._tracing is not None:
            self._tracing.changed(before, after)
