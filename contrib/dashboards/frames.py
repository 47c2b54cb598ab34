"""What each panel shows of Prometheus' answers: series, cells, rows, words. Pure.

It does what Grafana does with the answers as far as the dashboards of pmigd go, so that a picture
tells what the panel would tell. Everything is decided here; draw.js only draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from contrib.dashboards import units
from contrib.dashboards.questions import View
from contrib.lab import Series

Json = Mapping[str, Any]
Row = dict[str, str | float]

_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# As a person sees them on a dark page; the first are for series without a colour of their own.
_PALETTE: Final = (
    *("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#8ab8ff", "#ff7383", "#37872d"),
    *("#fade2a", "#3274d9", "#fa6400", "#a352cc", "#96d98d", "#c0d8ff", "#e02f44", "#ffb357"),
)
_COLORS: Final = {
    "green": "#73bf69",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "text": "#d8d9da",
}
_BACKGROUND: Final = "#181b1f"


def color(name: str) -> str:
    """A colour of a dashboard for a style sheet."""
    return _COLORS.get(name, name)


def legend(text: str, labels: Mapping[str, str]) -> str:
    """The name of a series."""
    return _LEGEND.sub(lambda match: labels.get(match[1], ""), text).strip()


def panel(model: Json, view: View, answers: Sequence[Sequence[Series]]) -> Json:
    """One panel as it is drawn; `answers` are those of its queries, in their order."""
    draw = {
        "stat": _stat,
        "timeseries": _graph,
        "heatmap": _heatmap,
        "state-timeline": _states,
        "table": _table,
    }[model["type"]]
    grid = model["gridPos"]
    what = {"kind": model["type"], "title": model["title"], "grid": grid}
    return what | {"from": view.start, "to": view.end, **draw(model, view, answers)}


def marks(annotation: Json, view: View, answer: Iterable[Series]) -> Json:
    """An annotation as it is drawn: spans of time, those of one event in one."""
    spans: list[list[float]] = []
    for series in answer:
        value_is_time = annotation["useValueForTime"]
        moments = [v / 1000 if value_is_time else t for t, v in series.points if v > 0]
        last: list[float] = []
        for moment in moments:
            if last and moment <= last[1] + view.step:
                last[1] = moment
            else:
                last = [moment, moment]
                spans.append(last)
    inside = [span for span in spans if view.start <= span[0] <= view.end]
    return {"color": color(annotation["iconColor"]), "spans": sorted(inside)}


def _named(model: Json, answers: Sequence[Sequence[Series]]) -> list[tuple[str, Series]]:
    return [
        (legend(target["legendFormat"], series.labels), series)
        for target, answer in zip(model["targets"], answers, strict=True)
        for series in answer
    ]


def _override(model: Json, name: str, wanted: str) -> Any:
    """What a series (or a column) has of its own; None if nothing."""
    for override in model["fieldConfig"]["overrides"]:
        for changed in override["properties"]:
            if override["matcher"]["options"] == name and changed["id"] == wanted:
                return changed["value"]
    return None


def _threshold_color(thresholds: Json, value: float) -> str:
    found = "text"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return color(found)


def _word(defaults: Json, value: float) -> tuple[str, str] | None:
    """The word and the colour that stand for a value."""
    for mapping in defaults.get("mappings", ()):
        option = mapping["options"].get(f"{value:g}")
        if option is not None:
            return option["text"], color(option["color"])
    return None


def _stat(model: Json, _: View, answers: Sequence[Sequence[Series]]) -> Json:
    defaults = model["fieldConfig"]["defaults"]
    named = _named(model, answers)
    mode = model["options"]["textMode"]
    values = []
    for name, series in named:
        value = series.points[-1][1]
        text = units.written(value, defaults["unit"], defaults.get("decimals"))
        thresholds = _override(model, name, "thresholds") or defaults["thresholds"]
        shown, shade = _word(defaults, value) or (text, _threshold_color(thresholds, value))
        if mode == "name":
            values.append({"name": "", "text": name, "color": shade})
        else:
            values.append({"name": name if len(named) > 1 else "", "text": shown, "color": shade})
    return {"values": values}


def _times(view: View) -> list[float]:
    steps = round((view.end - view.start) / view.step)
    return [view.start + number * view.step for number in range(steps + 1)]


def _column(series: Series, view: View, length: int) -> list[float | None]:
    """The values of a series at the times of the graph."""
    column: list[float | None] = [None] * length
    for at, value in series.points:
        column[round((at - view.start) / view.step)] = value
    return column


def _shade(model: Json, name: str, number: int) -> str:
    """The colour of a series: its own, or the next one."""
    if own := _override(model, name, "color"):
        return color(own["fixedColor"])
    mode = model["fieldConfig"]["defaults"].get("color", {})
    if mode.get("mode") == "shades":
        return _blended(color(mode["fixedColor"]), 1 - number % 5 / 6)
    return _PALETTE[number % len(_PALETTE)]


def _blended(shade: str, opacity: float) -> str:
    """A colour as it is seen over the background: what is stacked lies over what is behind it."""
    over, under = (bytes.fromhex(text[1:]) for text in (shade, _BACKGROUND))
    mixed = (round(o * opacity + u * (1 - opacity)) for o, u in zip(over, under, strict=True))
    return "#" + bytes(mixed).hex()


def _graph(model: Json, view: View, answers: Sequence[Sequence[Series]]) -> Json:
    defaults = model["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    times = _times(view)
    stacked = custom["stacking"]["mode"] == "normal"
    opacity = custom["fillOpacity"] / 100
    below = [0.0] * len(times)
    columns: list[list[float | None]] = []
    drawn = []
    for number, (name, series) in enumerate(_named(model, answers)):
        shade = _shade(model, name, number)
        column = _column(series, view, len(times))
        if stacked:
            below = [b + (v or 0) for b, v in zip(below, column, strict=True)]
            column = list(below)
        fill = _blended(shade, opacity) if stacked else f"{shade}{round(opacity * 255):02x}"
        columns.append(column)
        drawn.append({"name": name, "color": shade, "fill": fill, "values": column})
    line_at = [step["value"] for step in defaults.get("thresholds", {}).get("steps", ())][1:]
    values = [v for column in columns for v in column if v is not None]
    marks_at, low_high = _axis(defaults, [*values, *line_at])
    return {
        "times": times,
        # What is stacked highest is drawn first, and what lies in front of it after it.
        "series": drawn[::-1] if stacked else drawn,
        "names": [{"name": each["name"], "color": each["color"]} for each in drawn],
        "style": custom["drawStyle"],
        "stepped": custom["lineInterpolation"] == "stepAfter",
        "scale": custom["scaleDistribution"]["type"],
        "ticks": [
            {"at": at, "text": text}
            for at, text in zip(marks_at, units.labels(marks_at, defaults["unit"]), strict=True)
        ],
        "range": low_high,
        "line_at": line_at if custom["thresholdsStyle"]["mode"] != "off" else [],
    }


def _axis(defaults: Json, values: Sequence[float]) -> tuple[list[float], tuple[float, float]]:
    """The marks of the axis, and where it begins and ends."""
    scale = defaults["custom"]["scaleDistribution"]["type"]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if scale == "log":
        positive = [value for value in values if value > 0] or [1.0]
        marks_at = units.powers(min(positive), max(positive))
    elif scale == "symlog":
        marks_at = [0.0, *units.powers(1.0, max(high, 1.0))]
    else:
        low = min(low, defaults.get("min", low))
        high = max(high, defaults["custom"].get("axisSoftMax", high))
        whole = defaults.get("decimals") == 0 and defaults["unit"] == "none"
        marks_at = units.ticks(low, high, defaults["unit"], whole=whole)
    return marks_at, (marks_at[0], marks_at[-1])


def _heatmap(model: Json, view: View, answers: Sequence[Sequence[Series]]) -> Json:
    times = _times(view)
    ordered = sorted(answers[0], key=lambda series: float(series.labels["le"]))
    below = [0.0] * len(times)
    cells = []
    for series in ordered:
        column = [v or 0.0 for v in _column(series, view, len(times))]
        # A bucket holds those below it as well.
        cells.append([max(0.0, c - b) for c, b in zip(column, below, strict=True)])
        below = column
    unit = model["options"]["yAxis"]["unit"]
    return {
        "times": times,
        "step": view.step,
        "bounds": [units.written(float(series.labels["le"]), unit) for series in ordered],
        "cells": cells,
        "most": max((cell for row in cells for cell in row), default=0.0),
    }


def _states(model: Json, view: View, answers: Sequence[Sequence[Series]]) -> Json:
    defaults = model["fieldConfig"]["defaults"]
    times = _times(view)
    rows = []
    for name, series in _named(model, answers):
        column = _column(series, view, len(times))
        spans = []
        for value, run in groupby(range(len(column)), key=lambda n, c=column: c[n]):  # type: ignore[misc]
            if value is None:
                continue
            places = list(run)
            text, shade = _word(defaults, value) or (f"{value:g}", _COLORS["text"])
            begin, end = times[places[0]], times[places[-1]] + view.step
            spans.append({"from": begin, "to": end, "text": text, "color": shade})
        rows.append({"name": name, "spans": spans})
    return {"times": times, "rows": sorted(rows, key=lambda row: str(row["name"]))}


def rows(model: Json, answers: Sequence[Sequence[Series]]) -> list[Row]:
    """The rows of a table by the names of its fields, merged as Grafana merges them.

    Those become one whose fields that all queries have agree, unless another field of both differs.
    """
    several = len(answers) > 1
    frames: list[list[Row]] = [
        [
            {**series.labels, f"Value #{target['refId']}" if several else "Value": value}
            for series in answer
            for _, value in series.points[-1:]
        ]
        for target, answer in zip(model["targets"], answers, strict=True)
    ]
    present = [set().union(*frame) for frame in frames if frame]
    shared = sorted(set.intersection(*present)) if present else []
    merged: list[Row] = []
    for row in (row for frame in frames for row in frame):
        for known in merged:
            alike = all(known.get(name) == row.get(name) for name in shared)
            if alike and all(known.get(name, value) == value for name, value in row.items()):
                known.update(row)
                break
        else:
            merged.append(dict(row))
    return merged


def _table(model: Json, _: View, answers: Sequence[Sequence[Series]]) -> Json:
    organize = next(t["options"] for t in model["transformations"] if t["id"] == "organize")
    names: Mapping[str, str] = organize["renameByName"]
    found = rows(model, answers)
    for sort in model["options"]["sortBy"]:
        field = next(name for name, shown in names.items() if shown == sort["displayName"])
        found.sort(key=lambda row: row.get(field, 0), reverse=sort["desc"])
    there = [name for name in names if any(name in row for row in found)]

    def cell(row: Row, name: str) -> str:
        value = row.get(name, "")
        unit = _override(model, names[name], "unit")
        return value if isinstance(value, str) else units.written(value, unit)

    return {
        "columns": [names[name] for name in there],
        "rows": [[cell(row, name) for name in there] for row in found],
    }
