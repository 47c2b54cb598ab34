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

from contrib.dashboards.questions import View, choices, questions
from pmigd.adapters.metrics.reference import VALUES
from tests.support.promql import exported, faults, selectors

Json = dict[str, Any]

FOLDER: Final = Path(__file__).parents[2] / "contrib/grafana"
DASHBOARDS: Final[dict[str, Json]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("pmigd-*.json"))
}
PANELS: Final = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, model in DASHBOARDS.items()
    for panel in model["panels"]
    if panel["type"] != "row"
]
UNITS: Final = {
    *("none", "s", "bytes", "binBps", "percentunit", "ops", "reqps", "cps", "dateTimeAsIso"),
}
KNOWN: Final = exported() | {"up": frozenset[str]()}
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

each_dashboard = pytest.mark.parametrize("model", DASHBOARDS.values(), ids=DASHBOARDS)
each_panel = pytest.mark.parametrize("panel", PANELS)


def _expressions(model: Json) -> list[str]:
    return [question.expression for question in questions("", model)]


def _plain(expression: str) -> str:
    return View(start=0, end=6 * 3600, step=60, scrape_s=15).expression(expression)


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
    for choice in choices("", model):
        assert faults(f"sum by ({choice.label}) ({_plain(choice.metric)})", KNOWN) == []
    assert {a["datasource"]["uid"] for a in model["annotations"]["list"]} == {"${datasource}"}


@each_dashboard
def test_an_annotation_is_the_same_for_every_version_of_grafana(model: Json) -> None:
    for annotation in model["annotations"]["list"]:
        assert annotation["expr"] == annotation["target"]["expr"]


@each_dashboard
def test_what_it_leads_to_exists(model: Json) -> None:
    for url in re.findall(r'"url": "([^"]*)"', json.dumps(model)):
        uid, variable = re.match(r"/d/([\w-]+)\?var-(\w+)=", url).groups()
        (there,) = [other for other in DASHBOARDS.values() if other["uid"] == uid]
        assert variable in [v["name"] for v in there["templating"]["list"]]


@each_panel
def test_what_is_coloured_or_has_a_unit_of_its_own_is_in_the_panel(panel: Json) -> None:
    """Grafana says nothing of an override that matches no series, or of a column that is not."""
    named = [override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]]
    if panel["type"] == "table":
        renamed = panel["transformations"][-1]["options"]["renameByName"]
        assert set(named) <= set(renamed.values())
        assert {each["displayName"] for each in panel["options"]["sortBy"]} <= set(renamed.values())
    elif named:
        possible = {target["legendFormat"] for target in panel["targets"]}
        shown = set(re.findall(r"\{\{(\w+)\}\}", "".join(possible)))
        possible |= {v for name, values in VALUES if name.split(" ")[0] in shown for v in values}
        assert set(named) <= possible


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
            assert changed["id"] != "unit" or changed["value"] in UNITS


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
        for shift in re.findall(r"\boffset (\S+)\b", expression):
            assert shift == "$__interval", expression
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
