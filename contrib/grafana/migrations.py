"""What both dashboards show of migrations that ended."""

from __future__ import annotations

from typing import Final

from contrib.grafana import model
from contrib.grafana.model import RED, Annotation, Column, Panel, table
from pmigd.core.states import State

OUT: Final = 'direction="outgoing"'
COLORS: Final[dict[str, str]] = {
    state.label: getattr(model, state.about.colour.upper()) for state in State if state.about.colour
}
"""Of phases and results."""

FAILED: Final = Annotation(
    "Failed migrations",
    "sum by (instance, result) (increase(pmigd_migrations_finished_total"
    f'{{@, {OUT}, result="failed"}}[$__rate_interval])) > 0',
    "{{result}} on {{instance}}",
    RED,
)


def _figure(name: str, matchers: str) -> str:
    """A final figure of those whose info has the matchers, as the last scrape saw it."""
    return (
        f"last_over_time(pmigd_recent_migration_{name}{{@}}[$__range])"
        " * on (job, instance, migration) max by (job, instance, migration)"
        f" (last_over_time(pmigd_recent_migration_info{{{matchers}}}[$__range]))"
    )


def ended(title: str, description: str, matchers: str, *between: Column) -> Panel:
    """The migrations that ended, those of `matchers`, newest first; `between` say where."""
    return table(
        title,
        description,
        Column("", f"last_over_time(pmigd_recent_migration_info{{{matchers}}}[$__range])", "none"),
        Column("Ended", f"1000 * {_figure('end_timestamp_seconds', matchers)}", "dateTimeAsIso"),
        Column("Guest", "domain"),
        *between,
        Column("Result", "result"),
        Column("Reason", "reason"),
        Column("Mode", "mode"),
        Column("Duration", _figure("duration_seconds", matchers), "s"),
        Column("Pause", _figure("downtime_seconds", matchers), "s"),
        Column("Transferred", _figure("transferred_bytes", matchers), "bytes"),
        Column("Migration", "migration"),
        newest_by="Ended",
    )
