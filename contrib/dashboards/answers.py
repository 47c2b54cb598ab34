"""Ask Prometheus what a dashboard asks, as Grafana asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrib.dashboards.questions import Choice, View, panels
from contrib.lab import Prometheus, Series

Json = Mapping[str, Any]


def answer(prometheus: Prometheus, view: View, expression: str, *, instant: bool) -> list[Series]:
    """One expression, at the end of the view or over all of it. LabError if it is refused."""
    asked = view.expression(expression)
    if instant:
        return prometheus.instant(asked, view.end)
    return prometheus.over(asked, view.start, view.end, view.step)


def answers(prometheus: Prometheus, view: View, model: Json) -> dict[str, list[list[Series]]]:
    """All that a dashboard asks: for each panel and annotation by its name, one for each query."""
    found: dict[str, list[list[Series]]] = {}
    for panel in panels(model):
        found[panel["title"]] = [
            answer(prometheus, view, target["expr"], instant=target["instant"])
            for target in panel["targets"]
        ]
    for annotation in model["annotations"]["list"]:
        found[annotation["name"]] = [answer(prometheus, view, annotation["expr"], instant=False)]
    return found


def values(prometheus: Prometheus, view: View, choice: Choice) -> Sequence[str]:
    """What a variable of a dashboard offers."""
    metric = view.expression(choice.metric)
    asked: dict[str, str | float] = {"match[]": metric, "start": view.start, "end": view.end}
    found: list[str] = prometheus.ask(f"label/{choice.label}/values", **asked)
    return found
