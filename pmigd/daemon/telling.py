"""What is told of every step, and of the daemon itself: to metrics, spans, the log and systemd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from pmigd.adapters.metrics import Metrics
from pmigd.adapters.system.clock import Clock
from pmigd.adapters.system.sdnotify import Notifier
from pmigd.core.canonical import command_lines, migration_line
from pmigd.core.commands import Outcome
from pmigd.core.model import Direction, Flow, Migration, Now, State
from pmigd.core.states import STUCK
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate
from pmigd.daemon.spans import Spans

_TROUBLE: Final = frozenset({State.FAILED, *STUCK})

log = structlog.get_logger()


@dataclass(eq=False)
class Telling:
    """Tells, and decides nothing."""

    notifier: Notifier
    metrics: Metrics
    spans: Spans
    clock: Clock
    gate: Gate
    migrations: Controller

    def changed(self, before: Migration | None, after: Migration) -> None:
        """A migration has gone a step: see :data:`pmigd.daemon.controller.OnChange`."""
        self.metrics.migration_changed(before, after)
        self.spans.changed(before, after)
        if before is None or before.state is not after.state:
            now = Now(self.clock.monotonic(), self.clock.utc_now())
            line = migration_line(before, after, now)
            level = log.warning if after.state in _TROUBLE else log.info
            level(line.pop("event"), **line)
            self.notifier.status(self._summary())
        for line in command_lines(before, after):
            outcome = line["outcome"]
            trouble = outcome == Outcome.REFUSED or (outcome == Outcome.PENDING and line["waits"])
            level = log.warning if trouble else log.info
            level(line.pop("event"), **line)

    def ready(self) -> None:
        """The daemon has started."""
        self.notifier.ready(self._summary())

    def reload_begins(self) -> None:
        """A configuration is being read."""
        self.notifier.reloading(self.clock.monotonic_us())

    def reload_is_over(self, *, ok: bool) -> None:
        """It is in force, or the one before is."""
        self.metrics.config_reloaded(ok=ok)
        self.ready()

    def stopping(self) -> None:
        """The daemon is on its way out; what it itself is between two hosts of ends with it."""
        self.notifier.stopping(self._summary())
        running = len(self.migrations.running())
        log.info("stopping", running=running, queued=len(self.gate.queue))
        for migration in self._direct():
            log.warning(
                "a migration of flow direct ends with pmigd",
                migration=migration.id,
                domain=migration.domain.name,
                destination=migration.destination,
                remedy="the guest stays here: submit it again when pmigd has started",
            )

    def _summary(self) -> str:
        running, queued = len(self.migrations.running()), len(self.gate.queue)
        direct = len(self._direct())
        warning = f"; {direct} of flow direct: a stop or restart ends them" if direct else ""
        return f"{running} migrations running, {queued} queued{warning}"

    def _direct(self) -> list[Migration]:
        return [
            m
            for m in self.migrations.running()
            if not m.external
            and m.direction is Direction.OUTGOING
            and m.request.flow is Flow.DIRECT
        ]
