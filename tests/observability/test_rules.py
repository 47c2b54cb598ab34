"""The alerts and recording rules: they parse, fire and stay silent, and name only what there is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pmigd.adapters.metrics.reference import families
from tests.support.promql import exported, faults, selectors

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "contrib/prometheus"
CASES: Final = sorted((RULES / "tests").glob("*.yml"))
DOCUMENTS: Final = [RULES / "pmigd.rules.yml", RULES / "pmigd.alerts.yml"]


def _rules(key: str) -> dict[str, dict[str, Any]]:
    groups = [g for path in DOCUMENTS for g in yaml.safe_load(path.read_text())["groups"]]
    return {rule[key]: rule for group in groups for rule in group["rules"] if key in rule}


ALERTS: Final = _rules("alert")
RECORDED: Final = _rules("record")
# "up" is Prometheus' own. What is recorded has no labels but those of the scrape.
KNOWN: Final = exported() | {name: frozenset[str]() for name in ("up", *RECORDED)}
TESTS: Final = [test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]]


def _promtool(*arguments: str | Path) -> None:
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _fed(test: dict[str, Any]) -> set[str]:
    return {series["series"].partition("{")[0] for series in test["input_series"]}


def _needed(expression: str) -> set[str]:
    """The metrics of Prometheus and pmigd that it stands on, through the rules it names."""
    names = {selector.name for selector in selectors(expression)}
    through = [_needed(RECORDED[name]["expr"]) for name in names & RECORDED.keys()]
    return (names - RECORDED.keys()).union(*through)


def test_promtool_finds_nothing_in_the_rules() -> None:
    _promtool("check", "rules", "--lint=all", "--lint-fatal", *DOCUMENTS)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_cases_come_out_as_they_should(path: Path) -> None:
    _promtool("test", "rules", path)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_stays_silent(name: str) -> None:
    needed = _needed(ALERTS[name]["expr"])
    outcomes = {
        bool(case["exp_alerts"])
        for test in TESTS
        for case in test["alert_rule_test"]
        # Silence without data proves nothing.
        if case["alertname"] == name and needed <= _fed(test)
    }
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", [*ALERTS, *RECORDED])
def test_each_expression_names_only_what_is_exported(name: str) -> None:
    rule = ALERTS.get(name) or RECORDED[name]
    assert faults(rule["expr"], KNOWN) == []


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test["name"])
def test_the_cases_are_fed_with_what_is_exported(test: dict[str, Any]) -> None:
    for series in test["input_series"]:
        assert faults(series["series"], KNOWN) == []


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert name.startswith("Pmigd")
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "{{ $" in rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    runbook = ROOT / rule["annotations"]["runbook_url"]
    assert runbook.parent == ROOT / "docs/runbooks"
    text = runbook.read_text()
    assert "**Meaning.**" in text
    assert "**Look.**" in text


def test_what_a_runbook_names_of_pmigd_is_exported() -> None:
    names = {family.name for family in families()}
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        for selector in selectors(" ; ".join(page.read_text().split("`")[1::2])):
            if selector.name.startswith("pmigd_"):
                assert selector.name in names | KNOWN.keys(), page.name


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("pmigd_nonsense > 0", ["no metric pmigd_nonsense"]),
        ('pmigd_libvirt_up{domain="a"}', ["pmigd_libvirt_up has no label domain"]),
        (
            'pmigd_migration_phase{phase="moving"} == 1',
            ["phase of pmigd_migration_phase is never moving"],
        ),
        (
            'pmigd_migration_downtime_seconds_bucket{le="1"}',
            ["le of pmigd_migration_downtime_seconds_bucket is never 1"],
        ),
        ("sum by (job, host) (pmigd_libvirt_up)", ["no metric of it has the label host"]),
        ("sum by (job) (rate(pmigd_migrations_started_total[5m])) / 1e3 and up > 0", []),
    ],
)
def test_what_does_not_exist_is_found(expression: str, found: list[str]) -> None:
    assert faults(expression, KNOWN) == found
