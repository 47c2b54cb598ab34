"""Grafana's variables in the expressions of a dashboard."""

from __future__ import annotations

import pytest

from contrib.dashboards.questions import Choice, View, choices, questions

VIEW = View(start=1000, end=1600, step=15, scrape_s=15)


@pytest.mark.parametrize(
    ("step", "scrape", "window"), [(15, 15, 60), (60, 15, 75), (1, 1, 4), (300, 60, 360)]
)
def test_a_rate_has_at_least_four_scrapes(step: float, scrape: float, window: int) -> None:
    view = View(start=0, end=60, step=step, scrape_s=scrape)
    assert view.expression("rate(a[$__rate_interval])") == f"rate(a[{window * 1000}ms])"


def test_the_range_and_the_step_are_those_of_the_view() -> None:
    told = VIEW.expression("increase(a[$__range]) unless a offset $__interval")
    assert told == "increase(a[600000ms]) unless a offset 15000ms"


@pytest.mark.parametrize(
    ("chosen", "matcher"),
    [
        ({}, 'a{instance=~".+"}'),
        ({"instance": ["h1:9718"]}, 'a{instance=~"h1:9718"}'),
        ({"instance": ["h1.example.com:9718", "b"]}, r'a{instance=~"h1\\.example\\.com:9718|b"}'),
    ],
)
def test_what_is_chosen_is_matched_and_nothing_else(
    chosen: dict[str, list[str]], matcher: str
) -> None:
    view = View(start=0, end=60, step=1, scrape_s=1, chosen=chosen)
    assert view.expression('a{instance=~"$instance"}') == matcher


def _model() -> dict[str, object]:
    target = {"refId": "B", "expr": "up", "instant": True, "legendFormat": "", "exemplar": False}
    custom = {"custom": {"drawStyle": "line"}}
    return {
        "panels": [
            {"type": "row", "title": "Flow"},
            {"type": "timeseries", "title": "Up", "targets": [target]}
            | {"fieldConfig": {"defaults": custom}},
        ],
        "annotations": {
            "list": [{"name": "Ends", "target": {"refId": "Anno", "expr": "b"}, "titleFormat": "e"}]
        },
        "templating": {
            "list": [
                {"type": "datasource", "name": "datasource"},
                {"type": "query", "name": "job", "query": {"query": "label_values(a{b=~'c'}, d)"}},
            ]
        },
    }


def test_panels_and_annotations_ask_and_rows_do_not() -> None:
    found = list(questions("fleet", _model()))
    assert [q.name for q in found] == ["fleet/Up/B", "fleet/Ends/Anno"]
    assert [q.is_line for q in found] == [True, False]


def test_variables_are_values_of_a_label() -> None:
    assert list(choices("fleet", _model())) == [Choice("fleet", "job", "a{b=~'c'}", "d")]
