"""Grafana's classic dashboard model, as far as the dashboards of pmigd need it.

Panels are written out in full, as Grafana saves them, so that nothing hangs on a version's defaults
and every part can be checked against Grafana's own types. In expressions ``@`` stands for the
matchers of the chosen job and instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

Json = dict[str, Any]

SCHEMA_VERSION: Final = 39
_COLUMNS: Final = 24
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
_DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}

GREEN: Final = "green"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
PURPLE: Final = "purple"
GREY: Final = "#8e8e8e"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel. An empty `legend` is for tables only.

    With `exemplars` Grafana draws those of the histogram as well: which migration it was.
    """

    expression: str
    legend: str = ""
    exemplars: bool = False


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
            "refId": _LETTERS[position],
            "datasource": _DATASOURCE,
            "expr": _chosen(query.expression),
            "format": self.format,
            "instant": self.instant,
            "range": not self.instant,
            "legendFormat": query.legend,
            "exemplar": query.exemplars,
        }


def _chosen(expression: str) -> str:
    return expression.replace("@", _CHOSEN)


def _steps(base: str, *steps: tuple[str, float]) -> Json:
    """Colours by value: `base`, and others from a value on."""
    first: list[Json] = [{"color": base, "value": None}]
    return {
        "mode": "absolute",
        "steps": first + [{"color": color, "value": value} for color, value in steps],
    }


def _words(words: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Words and colours in place of values."""
    options = {
        str(value): {"index": index, "text": text, "color": color}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def _fixed(name: str, color: str) -> Json:
    """A series by its legend, always in the same colour."""
    return _override(name, color={"mode": "fixed", "fixedColor": color})


def _override(name: str, **properties: Any) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def stat(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    decimals: int | None = None,
    red: Mapping[str, float] | None = None,
    red_below: Mapping[str, float] | None = None,
    words: Mapping[int, tuple[str, str]] | None = None,
    names_only: bool = False,
) -> Panel:
    """A number, or several with their legends.

    `red` says for a legend from which value on it is red, `red_below` below which. `words` stand
    for values; with `names_only` the legends are shown in place of the numbers.
    """
    defaults: Json = {"thresholds": _steps("text")}
    steps = {name: _steps("text", (RED, value)) for name, value in (red or {}).items()}
    steps |= {name: _steps(RED, ("text", value)) for name, value in (red_below or {}).items()}
    if decimals is not None:
        defaults["decimals"] = decimals
    if words is not None:
        defaults["mappings"] = _words(words)
    return Panel(
        "stat",
        title,
        description,
        unit,
        queries,
        width=3,
        height=4,
        instant=True,
        defaults=defaults,
        options={
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "name" if names_only else "auto",
            "wideLayout": False,
        },
        overrides=tuple(_override(name, thresholds=each) for name, each in steps.items()),
    )


_LEGEND: Final[Json] = {
    "calcs": [],
    "displayMode": "list",
    "placement": "bottom",
    "showLegend": True,
}
_TOOLTIP: Final[Json] = {"mode": "multi", "sort": "desc"}


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    style: str = "line",
    stacked: bool = False,
    whole: bool = False,
    scale: Json | None = None,
    up_to: float | None = None,
    line_at: float | None = None,
    colors: Mapping[str, str] | None = None,
    shades: str = "",
) -> Panel:
    """Lines over time; `style` "bars" is for what happened, "points" for single events.

    `whole` numbers change in steps and are shown without decimals. The axis goes `up_to` there at
    least, and `line_at` is drawn across. `colors` are for series, by legend; `shades` of one colour
    are for all of them.
    """
    custom: Json = {
        "drawStyle": style,
        "lineInterpolation": "stepAfter" if whole else "linear",
        "lineWidth": 1,
        "fillOpacity": {"bars": 80, "line": 40 if stacked else 5, "points": 0}[style],
        "pointSize": 8 if style == "points" else 5,
        "showPoints": "always" if style == "points" else "auto",
        # Series end when a migration does: no line is drawn over the gap.
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "scaleDistribution": scale or LINEAR,
        "thresholdsStyle": {"mode": "off" if line_at is None else "dashed"},
    }
    defaults: Json = {"custom": custom}
    if shades:
        defaults["color"] = {"mode": "shades", "fixedColor": shades}
    if up_to is not None:
        custom["axisSoftMax"] = up_to
    if scale is None:
        defaults["min"] = 0
    if whole:
        defaults["decimals"] = 0
    if line_at is not None:
        defaults["thresholds"] = _steps("transparent", (RED, line_at))
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        queries,
        width=8,
        height=8,
        defaults=defaults,
        options={"legend": _LEGEND, "tooltip": _TOOLTIP},
        overrides=tuple(_fixed(name, color) for name, color in (colors or {}).items()),
    )


LINEAR: Final[Json] = {"type": "linear"}
LOG: Final[Json] = {"type": "log", "log": 10}
SYMLOG: Final[Json] = {"type": "symlog", "log": 10, "linearThreshold": 1}
"""Like LOG, for figures that may be 0."""


def heatmap(title: str, description: str, histogram: str, *, exemplars: bool = False) -> Panel:
    """How the seconds of a histogram were spread. Its buckets are rows of the same height."""
    each = f"sum by (le) (increase({histogram}_bucket{{@}}[$__rate_interval]))"
    return Panel(
        "heatmap",
        title,
        description,
        "s",
        (Query(each, "{{le}}", exemplars),),
        width=8,
        height=8,
        format="heatmap",
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "exponent": 0.5,
                "fill": "dark-orange",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Oranges",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        },
    )


def states(
    title: str, description: str, words: Mapping[int, tuple[str, str]], query: Query
) -> Panel:
    """A band for each series, coloured by what its value means."""
    return Panel(
        "state-timeline",
        title,
        description,
        "none",
        (query,),
        width=8,
        height=8,
        defaults={"custom": {"fillOpacity": 70, "lineWidth": 0}, "mappings": _words(words)},
        options={
            "alignValue": "left",
            "legend": {**_LEGEND, "showLegend": False},
            "mergeValues": True,
            "rowHeight": 0.8,
            "showValue": "auto",
            "tooltip": _TOOLTIP,
        },
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and where it is from, the label `source` or a query.

    The name of a column with a query is its heading, and `source` is the expression; `unit` is for
    those. Of a query without a heading only the labels are used. `links_to` is the uid of the
    dashboard that a value leads to, as its variable `instance`.
    """

    heading: str
    source: str
    unit: str = ""
    links_to: str = ""


def table(title: str, description: str, *columns: Column, newest_by: str = "") -> Panel:
    """Rows put together from instant queries: Grafana merges those whose shared labels agree.

    Columns with a unit are queries, and those without a heading; the others are labels. Rows are
    in descending order of the column `newest_by`.
    """
    asked = [column for column in columns if column.unit]
    shown = [column for column in columns if column.heading]
    # Grafana numbers the values only where there are several queries.
    values = [f"Value #{letter}" for letter in _LETTERS[: len(asked)]] if asked[1:] else ["Value"]
    fields = {column.source: value for column, value in zip(asked, values, strict=True)}
    names = {fields.get(column.source, column.source): column.heading for column in shown}
    overrides = [_override(c.heading, unit=c.unit) for c in shown if c.unit]
    overrides += [
        _override(c.heading, links=[_to_dashboard(c.links_to)]) for c in shown if c.links_to
    ]
    return Panel(
        "table",
        title,
        description,
        "none",
        tuple(Query(column.source) for column in asked),
        width=24,
        height=8,
        format="table",
        instant=True,
        defaults={"custom": {"align": "left", "cellOptions": {"type": "auto"}, "inspect": False}},
        options={
            "cellHeight": "sm",
            "frameIndex": 0,
            "showHeader": True,
            "sortBy": [{"desc": True, "displayName": newest_by}] if newest_by else [],
        },
        overrides=tuple(overrides),
        transformations=(
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {},
                    "indexByName": {name: index for index, name in enumerate(names)},
                    "renameByName": names,
                },
            },
        ),
    )


def _to_dashboard(uid: str) -> Json:
    url = f"/d/{uid}?var-instance=${{__value.text}}&${{__url_time_range}}"
    return {"title": "Show this host", "url": url}


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the head of a dashboard: the values of a label."""

    name: str
    query: str
    multi: bool = True

    def json(self) -> Json:
        """Whatever there is, unless something is chosen; looked up when the time range changes."""
        every: Json = {"includeAll": True, "allValue": ".+"} if self.multi else {}
        current = {"selected": True, "text": "All", "value": "$__all"} if self.multi else None
        return {
            "name": self.name,
            "label": self.name.capitalize(),
            "type": "query",
            "datasource": _DATASOURCE,
            "query": {"query": self.query, "refId": self.name},
            "multi": self.multi,
            **({"current": current} if current else {}),
            "refresh": 2,
            "sort": 1,
            **every,
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the graphs, where the expression is above 0.

    With `at_value` its value is when it happened, in milliseconds. One that is not `shown` can be
    switched on at the head of the dashboard.
    """

    name: str
    expression: str
    title: str
    color: str
    at_value: bool = False
    shown: bool = True

    def json(self) -> Json:
        """As Grafana has it: `expr` is read by those before 12, `target` by the others."""
        expression = _chosen(self.expression)
        return {
            "name": self.name,
            "datasource": _DATASOURCE,
            "enable": self.shown,
            "hide": False,
            "iconColor": self.color,
            "expr": expression,
            "target": {"refId": "Anno", "expr": expression},
            "titleFormat": self.title,
            "useValueForTime": self.at_value,
        }


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    annotations: Sequence[Annotation],
    rows: Mapping[str, Sequence[Panel]],
) -> str:
    """The JSON of a dashboard, ending in one newline."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }
    others = {
        "title": "pmigd",
        "type": "dashboards",
        "tags": ["pmigd"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
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
        "links": [others],
        "templating": {"list": [source, *(variable.json() for variable in variables)]},
        "annotations": {"list": [annotation.json() for annotation in annotations]},
        "panels": _placed(rows),
    }
    return json.dumps(model, indent=2) + "\n"


def sized(panel: Panel, *, width: int | None = None, height: int | None = None) -> Panel:
    """The panel in another size."""
    return replace(panel, width=width or panel.width, height=height or panel.height)


def _placed(rows: Mapping[str, Sequence[Panel]]) -> list[Json]:
    """The panels from left to right, and on a new line where they do not fit."""
    placed: list[Json] = []
    y = 0
    for title, panels in rows.items():
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
        )
        x, y, line = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y, line = 0, y + line, 0
            placed.append(panel.json(len(placed) + 1, x, y))
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return placed
