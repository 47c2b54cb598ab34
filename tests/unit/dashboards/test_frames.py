"""What panels show of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from contrib.dashboards import frames
from contrib.dashboards.questions import View
from contrib.grafana import model as grafana
from contrib.grafana.model import Column, Query
from contrib.lab import Series

VIEW = View(start=100, end=104, step=1, scrape_s=1)


def series(values: dict[float, float], **labels: str) -> Series:
    return Series(labels, tuple(values.items()))


def steady(value: float, **labels: str) -> Series:
    return series(dict.fromkeys((100, 101, 102, 103, 104), value), **labels)


def shown(panel: grafana.Panel, *answers: list[Series]) -> Any:
    return frames.panel(panel.json(1, 0, 0), VIEW, answers)


def test_a_legend_is_made_of_labels_and_what_a_series_has_not_is_left_out() -> None:
    assert frames.legend("{{domain}} {{ kind }} sent", {"domain": "db1"}) == "db1  sent"


class TestStat:
    def test_shows_the_last_value_and_names_only_where_there_are_several(self) -> None:
        one = grafana.stat("One", "", "none", Query("a", "a"), decimals=0)
        assert shown(one, [series({104: 5.07})])["values"] == [
            {"name": "", "text": "5", "color": frames.color("text")}
        ]
        two = grafana.stat("Two", "", "none", Query("a", "{{k}}"), red={"bad": 1})
        found = shown(two, [series({104: 2}, k="good"), series({104: 2}, k="bad")])["values"]
        assert [(v["name"], v["color"]) for v in found] == [
            ("good", frames.color("text")),
            ("bad", frames.color("red")),
        ]

    def test_shows_words_for_values_and_legends_for_information(self) -> None:
        words = grafana.stat("Up", "", "none", Query("a"), words={0: ("away", "red")})
        assert shown(words, [series({104: 0})])["values"][0]["text"] == "away"
        named = grafana.stat("V", "", "none", Query("a", "v{{v}}"), names_only=True)
        assert shown(named, [series({104: 1}, v="2")])["values"][0]["text"] == "v2"


class TestGraph:
    def test_a_series_that_is_not_there_leaves_a_gap(self) -> None:
        found = shown(grafana.graph("G", "", "none", Query("a", "a")), [series({101: 3, 103: 1})])
        assert found["series"][0]["values"] == [None, 3, None, 1, None]
        assert found["times"] == [100, 101, 102, 103, 104]

    def test_what_is_stacked_lies_on_what_is_below_and_is_drawn_before_it(self) -> None:
        panel = grafana.graph("G", "", "none", Query("a", "{{k}}"), stacked=True)
        found = shown(panel, [steady(1, k="low"), series({102: 2}, k="high")])
        assert [(s["name"], s["values"]) for s in found["series"]] == [
            ("high", [1, 1, 3, 1, 1]),
            ("low", [1, 1, 1, 1, 1]),
        ]
        assert [n["name"] for n in found["names"]] == ["low", "high"]
        assert found["range"][1] >= 3

    def test_the_axis_holds_the_line_across_and_goes_where_it_is_asked_to(self) -> None:
        line = grafana.graph("G", "", "none", Query("a", "a"), line_at=3)
        assert shown(line, [steady(1)])["line_at"] == [3]
        assert shown(line, [steady(1)])["range"][1] >= 3
        share = grafana.graph("G", "", "percentunit", Query("a", "a"), up_to=1)
        assert shown(share, [steady(0.01)])["range"] == (0, pytest.approx(1))

    def test_colours_are_by_name_or_shades_of_one_or_in_turn(self) -> None:
        def colors(**asked: Any) -> list[str]:
            panel = grafana.graph("G", "", "none", Query("a", "{{k}}"), **asked)
            found = shown(panel, [steady(1, k="bad"), steady(1, k="other")])
            return [each["color"] for each in found["names"]]

        assert colors(colors={"bad": grafana.RED})[0] == frames.color("red")
        assert len({*colors(), *colors(shades=grafana.RED)}) == 4

    def test_nothing_but_zeros_has_an_axis(self) -> None:
        panel = grafana.graph("G", "", "none", Query("a", "a"), whole=True)
        assert shown(panel, [steady(0)])["range"] == (0, 1)

    def test_without_data_it_has_no_series(self) -> None:
        assert shown(grafana.graph("G", "", "s", Query("a", "a")), [])["series"] == []

    @pytest.mark.parametrize(
        ("scale", "value", "ends"),
        [(grafana.LOG, 0.02, (0.01, 0.1)), (grafana.SYMLOG, 5000, (0, 10_000))],
    )
    def test_a_logarithmic_axis_has_powers_of_ten(
        self, scale: dict[str, Any], value: float, ends: tuple[float, float]
    ) -> None:
        panel = grafana.graph("G", "", "none", Query("a", "a"), scale=scale)
        assert shown(panel, [steady(value)])["range"] == pytest.approx(ends)


def test_the_cells_of_a_heatmap_hold_only_their_own_bucket() -> None:
    buckets = [steady(5, le="+Inf"), steady(1, le="0.1"), steady(4, le="1.0")]
    found = shown(grafana.heatmap("H", "", "pauses"), buckets)
    assert found["bounds"] == ["100 ms", "1 s", "∞"]
    assert [row[0] for row in found["cells"]] == [1, 3, 1]
    assert found["most"] == 3


def test_a_band_begins_anew_when_the_state_changes_and_after_a_gap() -> None:
    words = {1: ("sent", "blue"), 2: ("stuck", "red")}
    panel = grafana.states("S", "", words, Query("a", "{{g}}"))
    found = shown(panel, [series({100: 1, 101: 1, 102: 2, 104: 2}, g="db1")])
    (row,) = found["rows"]
    assert [(s["from"], s["to"], s["text"]) for s in row["spans"]] == [
        (100, 102, "sent"),
        (102, 103, "stuck"),
        (104, 105, "stuck"),
    ]


class TestTable:
    PANEL = grafana.table(
        "T",
        "",
        Column("", "info", "none"),
        Column("Guest", "domain"),
        Column("Size", "size", "bytes"),
        Column("Peer", "peer"),
        Column("Rate", "rate", "binBps"),
        newest_by="Size",
    )

    def test_rows_that_agree_become_one_in_the_columns_asked_for(self) -> None:
        found = shown(
            self.PANEL,
            [series({104: 1}, domain="a", peer="x"), series({104: 1}, domain="b", peer="y")],
            [series({104: 1024}, domain="a"), series({104: 2048}, domain="b")],
            [],
        )
        assert found["columns"] == ["Guest", "Size", "Peer"]
        assert found["rows"] == [["b", "2 KiB", "y"], ["a", "1 KiB", "x"]]

    def test_what_is_in_both_and_differs_stays_apart(self) -> None:
        """As the name of a metric does: an expression must drop it."""
        named = frames.rows(
            self.PANEL.json(1, 0, 0),
            [
                [series({104: 1}, __name__="info", domain="a")],
                [series({104: 1}, __name__="size", domain="a")],
                [],
            ],
        )
        assert len(named) == 2


@pytest.mark.parametrize(
    ("at_value", "values", "spans"),
    [
        (False, {100: 0, 101: 1, 102: 1, 104: 1}, [[101, 102], [104, 104]]),
        (True, {103: 101_500, 104: 101_500}, [[101.5, 101.5]]),
        (True, {103: 50_000}, []),
    ],
)
def test_an_annotation_marks_when_it_happened(
    at_value: bool, values: dict[float, float], spans: list[list[float]]
) -> None:
    annotation = grafana.Annotation("A", "a", "t", grafana.RED, at_value=at_value).json()
    found = frames.marks(annotation, VIEW, [series(values)])
    assert found == {"color": frames.color("red"), "spans": spans}
