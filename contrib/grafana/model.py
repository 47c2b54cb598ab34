"""Grafana's classic dashboard model, as far as the dashboards of pmigd need it.

In expressions ``@`` stands for the matchers of the chosen job and instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

SCHEMA_VERSION: Final = 39
_COLUMNS: Final = 24
_CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
_DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel. An empty `legend` is for tables only."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. `unit` is Grafana's identifier, `width` of 24 columns."""

    kind: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int
    height: int
    format: str = "time_series"
    instant: bool = False
    defaults: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """The panel at a place of the grid."""
        model: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": _DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {
                "defaults": {"unit": self.unit, **self.defaults},
                "overrides": list(self.overrides),
            },
            "options": self.options,
            "targets": [self._target(*numbered) for numbered in enumerate(self.queries)],
        }
        if self.transformations:
            model["transformations"] = list(self.transformations)
        return model

    def _target(self, position: int, query: Query) -> Json:
        return {
            "refId": chr(ord("A") + position),
            "datasource": _DATASOURCE,
            "expr": query.expression.replace("@", _CHOSEN),
            "format": self.format,
            "instant": self.instant,
            "range": not self.instant,
            "legendFormat": query.legend,
        }


def stat(
    title: str,
    description: str,
    unit: str,
    expression: str,
    *,
    red_from: float | None = None,
    red_below: float | None = None,
) -> Panel:
    """One number. From `red_from` on, or below `red_below`, it is red."""
    steps: list[Json] = [{"color": "text", "value": None}]
    if red_from is not None:
        steps.append({"color": "red", "value": red_from})
    if red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "text", "value": red_below}]
    return Panel(
        "stat",
        title,
        description,
        unit,
        (Query(expression, title),),
        width=3,
        height=4,
        instant=True,
        defaults={"thresholds": {"mode": "absolute", "steps": steps}},
        options={"colorMode": "value", "graphMode": "none", "reduceOptions": _LAST},
    )


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    bars: bool = False,
) -> Panel:
    """Lines over time, or bars for what happened within a step."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 60 if bars else 10,
        "showPoints": "auto",
        # Series end when a migration does: no line is drawn over the gap.
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none"},
    }
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        queries,
        width=8,
        height=8,
        defaults={"custom": custom, "min": 0},
        options={
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def heatmap(title: str, description: str, histogram: str) -> Panel:
    """How the seconds of a histogram were spread."""
    each = f"sum by (le) (increase({histogram}_bucket{{@}}[$__rate_interval]))"
    return Panel(
        "heatmap",
        title,
        description,
        "s",
        (Query(each, "{{le}}"),),
        width=8,
        height=8,
        format="heatmap",
        options={"calculate": False, "yAxis": {"unit": "s"}, "color": {"scheme": "Oranges"}},
    )


def states(title: str, description: str, query: Query) -> Panel:
    """A band for each series, there while its value is 1."""
    return Panel(
        "state-timeline",
        title,
        description,
        "none",
        (query,),
        width=8,
        height=8,
        defaults={"mappings": [{"type": "value", "options": {"1": {"text": "yes"}}}]},
        options={"mergeValues": True, "showValue": "never"},
    )


def table(
    title: str,
    description: str,
    columns: Sequence[tuple[str, str, str]],
    *,
    hidden: Iterable[str] = (),
) -> Panel:
    """Rows put together from instant queries; a column is its heading, its unit, its expression.

    Grafana puts those together whose labels do not differ. Of a column without a heading only the
    labels are shown.
    """
    overrides = tuple(
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "unit", "value": unit}],
        }
        for name, unit, _ in columns
        if name
    )
    values = {f"Value #{chr(ord('A') + n)}": name for n, (name, _, _) in enumerate(columns)}
    renamed = {value: name for value, name in values.items() if name}
    # Grafana numbers the values only where there are several.
    unnamed = [value for value, name in values.items() if not name]
    left_out = dict.fromkeys(("Time", "__name__", "job", "Value", *unnamed, *hidden), True)
    return Panel(
        "table",
        title,
        description,
        "none",
        tuple(Query(expression) for _, _, expression in columns),
        width=24,
        height=8,
        format="table",
        instant=True,
        options={"showHeader": True},
        overrides=overrides,
        transformations=(
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": left_out, "renameByName": renamed}},
        ),
    )


_LAST: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the head of a dashboard: the values of a label."""

    name: str
    query: str
    multi: bool = True

    def json(self) -> Json:
        """Whatever there is, unless something is chosen; looked up when the time range changes."""
        every: Json = {"includeAll": True, "allValue": ".+"} if self.multi else {}
        current = {"selected": True, "text": "All", "value": "$__all"} if self.multi else {}
        return {
            "name": self.name,
            "label": self.name.capitalize(),
            "type": "query",
            "datasource": _DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "multi": self.multi,
            "current": current,
            "refresh": 2,
            "sort": 1,
            **every,
        }


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    rows: Mapping[str, Sequence[Panel]],
) -> str:
    """The JSON of a dashboard, ending in one newline."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }
    model = {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["pmigd"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source, *(variable.json() for variable in variables)]},
        "annotations": {"list": [_FAILED]},
        "panels": _placed(rows),
    }
    return json.dumps(model, indent=2) + "\n"


_FAILED: Final[Json] = {
    "name": "Failed migrations",
    "datasource": _DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": "sum by (instance, result) (increase(pmigd_migrations_finished_total"
    f'{{{_CHOSEN}, direction="outgoing", result="failed"}}[$__rate_interval])) > 0',
    "titleFormat": "{{result}} on {{instance}}",
}


def _placed(rows: Mapping[str, Sequence[Panel]]) -> list[Json]:
    """The panels from left to right, and on a new line where they do not fit."""
    placed: list[Json] = []
    y = 0
    for title, panels in rows.items():
        grid = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
        placed.append(
            {"id": len(placed) + 1, "type": "row", "title": title, "gridPos": grid, "panels": []}
        )
        x, y, line = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y, line = 0, y + line, 0
            placed.append(panel.json(len(placed) + 1, x, y))
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return placed
