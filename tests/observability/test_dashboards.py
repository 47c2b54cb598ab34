"""The dashboards: what Grafana's own linter asks for, and nothing in them that does not exist.

That the committed JSON is the generated one, tests/unit/docs says.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.promql import exported, faults, selectors

Json = dict[str, Any]

FOLDER: Final = Path(__file__).parents[2] / "contrib/grafana"
DASHBOARDS: Final[dict[str, Json]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
PANELS: Final = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, model in DASHBOARDS.items()
    for panel in model["panels"]
    if panel["type"] != "row"
]
UNITS: Final = {"none", "s", "bytes", "binBps", "percentunit", "ops", "reqps", "cps"}
KNOWN: Final = exported() | {"up": frozenset[str]()}
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_MACROS: Final = {"$__rate_interval": "5m", "$__range": "6h", "$__interval": "1m"}

each_dashboard = pytest.mark.parametrize("model", DASHBOARDS.values(), ids=DASHBOARDS)
each_panel = pytest.mark.parametrize("panel", PANELS)


def _expressions(model: Json) -> list[str]:
    panels = [t["expr"] for panel in model["panels"] for t in panel.get("targets", [])]
    return panels + [annotation["expr"] for annotation in model["annotations"]["list"]]


def _plain(expression: str) -> str:
    for macro, value in _MACROS.items():
        expression = expression.replace(macro, value)
    return re.sub(r"\$(job|instance|domain)\b", ".+", expression)


@each_dashboard
def test_it_says_what_it_is(model: Json) -> None:
    assert model["schemaVersion"] == 39
    assert model["editable"] is False
    assert model["tags"] == ["pmigd"]
    assert re.fullmatch(r"pmigd-[a-z]{1,34}", model["uid"])
    assert not {"id", "__inputs"} & model.keys()


@each_dashboard
def test_the_source_of_the_data_is_chosen_first(model: Json) -> None:
    source, *others = model["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert [v["name"] for v in others][:2] == ["job", "instance"]
    for variable in others:
        assert variable["datasource"] == DATASOURCE
        assert variable["refresh"] == 2
        assert not variable["multi"] or variable["allValue"] == ".+"
        metric, label = re.fullmatch(
            r"label_values\((.*), (\w+)\)", variable["query"]["query"]
        ).groups()
        assert faults(f"sum by ({label}) ({_plain(metric)})", KNOWN) == []
    assert {a["datasource"]["uid"] for a in model["annotations"]["list"]} == {"${datasource}"}


@each_dashboard
def test_no_two_panels_share_a_number_or_a_place(model: Json) -> None:
    assert len({panel["id"] for panel in model["panels"]}) == len(model["panels"])
    for panel in model["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in itertools.combinations([p["gridPos"] for p in model["panels"]], 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


@each_panel
def test_a_panel_is_described_and_has_a_unit_and_a_source(panel: Json) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for holder in (panel, *panel["targets"]):
        assert holder["datasource"] == DATASOURCE
    for override in panel["fieldConfig"]["overrides"]:
        for changed in override["properties"]:
            assert changed["value"] in UNITS


@each_panel
def test_each_line_has_a_legend_of_labels_that_it_can_have(panel: Json) -> None:
    for target in panel["targets"]:
        assert target["legendFormat"] or target["format"] == "table"
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert faults(f"sum by ({label}) ({_plain(target['expr'])})", KNOWN) == []


@each_dashboard
def test_each_expression_names_only_what_is_exported(model: Json) -> None:
    for expression in _expressions(model):
        assert faults(_plain(expression), KNOWN) == [], expression


@each_dashboard
def test_each_selector_is_of_the_chosen_hosts(model: Json) -> None:
    chosen = {("job", "=~", "$job"), ("instance", "=~", "$instance")}
    for expression in _expressions(model):
        for selector in selectors(expression):
            assert chosen <= set(selector.matchers), expression


@each_dashboard
def test_counters_are_rates_over_an_interval_that_fits_the_scrapes(model: Json) -> None:
    for expression in _expressions(model):
        for window in re.findall(r"\brate\([^\[]*\[([^\]]*)\]", expression):
            assert window == "$__rate_interval", expression
        for window in re.findall(r"\[([^\]]*)\]", expression):
            assert window in ("$__rate_interval", "$__range"), expression
        counted = len(re.findall(r"\w_total\b", expression))
        assert len(re.findall(r"\b(?:rate|increase)\(\w+_total\b", expression)) == counted


def test_promtool_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:{name.replace('-', '_')}:n{number}", "expr": _plain(expression)}
        for name, model in DASHBOARDS.items()
        for number, expression in enumerate(_expressions(model))
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    ran = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
