"""What a dashboard asks Prometheus, as Grafana would put it. Pure: it asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Json = Mapping[str, Any]

_LABEL_VALUES: Final = re.compile(r"label_values\((?P<metric>.*), (?P<label>\w+)\)")
_SCRAPES_PER_RATE: Final = 4
_EVERY: Final = ".+"


@dataclass(frozen=True, slots=True)
class View:
    """What somebody looks at: a range of Unix times, the step (s) of graphs, what is chosen.

    `scrape_s` is the scrape interval that the data source is told of. A variable that is not chosen
    stands for everything.
    """

    start: float
    end: float
    step: float
    scrape_s: float
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def expression(self, text: str) -> str:
        """An expression with Grafana's variables replaced as Grafana replaces them."""
        rate = max(self.step + self.scrape_s, _SCRAPES_PER_RATE * self.scrape_s)
        windows = {
            "$__rate_interval": rate,
            "$__interval": self.step,
            "$__range": self.end - self.start,
        }
        for name, seconds in windows.items():
            text = text.replace(name, f"{round(seconds * 1000)}ms")
        return re.sub(r"\$(\w+)", lambda match: self._variable(match[1]), text)

    def _variable(self, name: str) -> str:
        values = self.chosen.get(name)
        # In a matcher's string a backslash is written twice.
        escaped = [re.escape(value).replace("\\", "\\\\") for value in values or ()]
        return "|".join(escaped) if values else _EVERY


@dataclass(frozen=True, slots=True)
class Question:
    """One expression of a dashboard: of which panel, and how it is asked."""

    dashboard: str
    panel: str
    ref: str
    expression: str
    instant: bool
    legend: str
    exemplar: bool
    style: str = ""

    @property
    def is_line(self) -> bool:
        """Whether its answer is drawn as a line."""
        return self.style == "line"

    @property
    def name(self) -> str:
        """Dashboard, panel and letter: unique."""
        return f"{self.dashboard}/{self.panel}/{self.ref}"


def panels(model: Json) -> Iterator[Json]:
    """The panels that show something, in the order of the grid."""
    for panel in model["panels"]:
        if panel["type"] != "row":
            yield panel


def questions(dashboard: str, model: Json) -> Iterator[Question]:
    """Everything that its panels and annotations ask."""
    for panel in panels(model):
        for target in panel["targets"]:
            yield Question(
                dashboard,
                panel["title"],
                target["refId"],
                target["expr"],
                target["instant"],
                target["legendFormat"],
                target["exemplar"],
                panel["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle", ""),
            )
    for annotation in model["annotations"]["list"]:
        yield Question(
            dashboard,
            annotation["name"],
            annotation["target"]["refId"],
            annotation["target"]["expr"],
            instant=False,
            legend=annotation["titleFormat"],
            exemplar=False,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Where the values of a variable come from."""

    dashboard: str
    variable: str
    metric: str
    label: str

    @property
    def name(self) -> str:
        """Dashboard and variable: unique."""
        return f"{self.dashboard}/${self.variable}"


def choices(dashboard: str, model: Json) -> Iterator[Choice]:
    """The variables that Prometheus is asked about."""
    for variable in model["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        if asked is None:
            raise ValueError(f"{dashboard}: ${variable['name']} is not label_values(metric, label)")
        yield Choice(dashboard, variable["name"], asked["metric"], asked["label"])
