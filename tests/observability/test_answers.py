"""All that the dashboards and rules ask, asked of a real Prometheus that scrapes two real hosts.

Nothing may be refused, and nothing may be empty: the traffic has something for every panel.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from contrib.dashboards import frames, page
from contrib.dashboards.answers import answer, answers, values
from contrib.dashboards.questions import Choice, Question, choices, questions
from contrib.lab.deadlines import until
from tests.observability.conftest import Watched

# The first test waits for all that is played.
pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(400)]

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final[dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "contrib/grafana").glob("pmigd-*.json"))
}
QUESTIONS: Final = [q for name, model in DASHBOARDS.items() for q in questions(name, model)]
CHOICES: Final = [c for name, model in DASHBOARDS.items() for c in choices(name, model)]
RULES: Final = [
    rule
    for path in sorted((ROOT / "contrib/prometheus").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ENDED: Final = {"completed": 3, "failed": 1, "cancelled": 1}
"""What `Traffic` brings to an end."""
RUNNING: Final = {"db1", "mail1", "files1", "web1"}


def _panel(watched: Watched, dashboard: str, title: str) -> Any:
    """What a panel shows."""
    (model,) = [p for p in DASHBOARDS[dashboard]["panels"] if p["title"] == title]
    view = watched.view(dashboard)
    found = [
        answer(watched.prometheus, view, t["expr"], instant=t["instant"]) for t in model["targets"]
    ]
    return frames.panel(model, view, found)


def _cells(watched: Watched, dashboard: str, title: str) -> list[dict[str, str]]:
    """The rows of a table, by heading."""
    shown = _panel(watched, dashboard, title)
    return [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_it_is_answered(watched: Watched, question: Question) -> None:
    view = watched.view(question.dashboard)
    found = answer(watched.prometheus, view, question.expression, instant=question.instant)
    assert found, "nothing"
    if question.is_line:
        # One sample is no line, and so tells no story.
        assert max(len(series.points) for series in found) > 1


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_a_variable_has_values(watched: Watched, choice: Choice) -> None:
    found = values(watched.prometheus, watched.view(choice.dashboard), choice)
    expected = {"job": {"pmigd"}, "instance": {"hosta:9718", "hostb:9718"}, "domain": RUNNING}
    assert expected[choice.variable] <= set(found)


@pytest.mark.parametrize(
    "question", [q for q in QUESTIONS if q.exemplar], ids=lambda question: question.name
)
def test_exemplars_lead_to_migrations(watched: Watched, question: Question) -> None:
    view = watched.view(question.dashboard)
    found = watched.prometheus.ask(
        "query_exemplars",
        query=view.expression(question.expression),
        start=view.start,
        end=view.end,
    )
    named = {e["labels"]["migration"] for series in found for e in series["exemplars"]}
    ended = _cells(watched, "pmigd-fleet", "Recent migrations")
    assert named
    assert named <= {row["Migration"] for row in ended}


def test_each_migration_that_runs_has_one_row(watched: Watched) -> None:
    rows = _cells(watched, "pmigd-fleet", "Active migrations")
    assert sorted(row["Guest"] for row in rows) == sorted(RUNNING)
    for row in rows:
        assert row["Phase"] == "precopy"
        assert row["Age"]
        assert row["Memory to go"] or row["Disks to go"]
        assert {row["From"].partition(":")[0], row["To"]} == {"hosta", "hostb"}


def test_each_migration_that_ended_has_one_row_and_is_counted_once(watched: Watched) -> None:
    rows = _cells(watched, "pmigd-fleet", "Recent migrations")
    assert Counter(row["Result"] for row in rows) == ENDED
    for row in rows:
        assert bool(row["Pause"]) == (row["Result"] == "completed")
        assert bool(row["Reason"]) == (row["Result"] == "failed")
    for title, text in (
        ("Finished", str(sum(ENDED.values()))),
        ("Succeeded", "75%"),
        ("Active", str(len(RUNNING))),
        ("Queued", "1"),
    ):
        (shown,) = _panel(watched, "pmigd-fleet", title)["values"]
        assert shown["text"] == text, title


def test_each_host_has_one_row_with_all_versions(watched: Watched) -> None:
    rows = _cells(watched, "pmigd-fleet", "Versions")
    assert len(rows) == 2
    assert all(cell for row in rows for cell in row.values())


def test_a_guest_has_one_band_that_changes_with_its_phase(watched: Watched) -> None:
    rows = _panel(watched, "pmigd-host", "Phase")["rows"]
    assert len({row["name"] for row in rows}) == len(rows)
    (broken,) = [row for row in rows if row["name"] == "cache1"]
    words = [span["text"] for span in broken["spans"]]
    assert words.count("postcopy_paused") == 1
    assert len(words) > 1


def test_what_happened_once_is_one_point(watched: Watched) -> None:
    shown = _panel(watched, "pmigd-host", "Duration and pause of each")
    counted = {each["name"]: sum(v is not None for v in each["values"]) for each in shown["series"]}
    ended_here = ("cache1", "web1", "batch1", "mail1")
    assert {f"{name} duration": 1 for name in ended_here}.items() <= counted.items()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_drawn(watched: Watched, name: str) -> None:
    view, model = watched.view(name), DASHBOARDS[name]
    drawn = page.drawing(model, view, answers(watched.prometheus, view, model))
    # A browser takes neither NaN nor infinity.
    there = json.loads(json.dumps(drawn, allow_nan=False))
    assert len(there["panels"]) + len(there["rows"]) == len(model["panels"])


def test_all_rules_are_healthy(watched: Watched) -> None:
    def judged() -> list[dict[str, Any]] | None:
        groups = watched.prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return None if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = until(judged, "all rules to be evaluated", timeout=30)
    assert {r["name"]: r["lastError"] for r in rules if r["health"] != "ok"} == {}
    assert len(rules) == len(RULES)


@pytest.mark.parametrize("name", [rule["record"] for rule in RULES if "record" in rule])
def test_what_is_recorded_is_there(watched: Watched, name: str) -> None:
    assert watched.prometheus.instant(name, watched.seen.now)


def test_only_the_alert_fires_that_should(watched: Watched) -> None:
    seen = watched.seen
    firing = watched.prometheus.over('ALERTS{alertstate="firing"}', seen.start, seen.now, 1)
    # That the loop came late is true where the machine is slow; it is not what is played here.
    names = {series.labels["alertname"] for series in firing} - {"PmigdEventLoopBlocked"}
    assert names == {"PmigdPostcopyPaused"}
    pending = watched.prometheus.over('ALERTS{alertstate="pending"}', seen.start, seen.now, 1)
    assert "PmigdMigrationFailureRatioHigh" in {series.labels["alertname"] for series in pending}


def test_prometheus_had_nothing_to_complain_of(watched: Watched) -> None:
    assert watched.prometheus.log() == ""
