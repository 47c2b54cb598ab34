"""The arithmetic of the measurements, and how it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from contrib.bench import report, stats
from contrib.bench.registry import MEASUREMENTS
from contrib.bench.stats import Figure, Summary


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], None),
        ([3.0], Summary(3.0, 3.0, 3.0, 1)),
        ([5.0, 1.0, 2.0], Summary(2.0, 1.0, 5.0, 3)),
        ([4.0, 1.0, 2.0, 3.0], Summary(2.5, 1.0, 4.0, 4)),
    ],
)
def test_a_summary_is_a_median_with_its_extremes(
    samples: list[float], expected: Summary | None
) -> None:
    assert stats.summary(samples) == expected


def test_the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() -> None:
    figure = Figure(name="f", unit="s", ours=[2.0, 30.0, 5.0], theirs=[1.0, 20.0, 5.0])
    assert figure.ratios == [2.0, 1.5, 1.0]
    found = stats.summary(figure.ratios)
    assert found is not None
    assert found.median == 1.5


def test_a_pair_without_a_denominator_has_no_ratio() -> None:
    assert stats.ratios([1.0, 2.0], [0.0, 1.0]) == [2.0]


def test_pairs_that_do_not_match_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        stats.ratios([1.0, 2.0], [1.0])


def test_a_figure_without_a_counterpart_has_no_ratios() -> None:
    assert Figure(name="f", unit="MiB", ours=[1.0]).ratios == []


@pytest.mark.parametrize(("gap", "expected"), [(0.31, 0.3), (0.01, 0.0), (0.002, 0.0)])
def test_a_pause_is_what_exceeds_the_time_between_ticks(gap: float, expected: float) -> None:
    assert stats.pause(gap, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("aims", "missed"),
    [
        ({}, None),
        ({"aim": 4.0, "ratio_aim": 1.25}, False),
        ({"aim": 3.9}, True),
        ({"aim": 4.0, "ratio_aim": 1.2}, True),
    ],
)
def test_an_aim_is_kept_or_missed_by_the_median(aims: dict[str, Any], missed: bool | None) -> None:
    samples: dict[str, Any] = {"ours": [4.0, 9.0, 1.0], "theirs": [2.0, 7.2, 1.0]}
    assert Figure(name="f", unit="ms", **samples, **aims).missed is missed


def test_the_table_says_which_aims_are_missed() -> None:
    figure = Figure(name="f", unit="ms", ours=[4.0], theirs=[2.0], aim=60, ratio_aim=1.03, note="n")
    assert report.row(figure)[-1] == "MISSED: at most 60 ms and ratio 1.03, n"
    assert report.row(replace(figure, ratio_aim=None))[-1] == "kept: at most 60 ms, n"


def test_an_amount_is_scaled_to_a_minute() -> None:
    assert stats.per_minute(0.5, 15.0) == 2.0


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [([5.0], 50, 5.0), ([3.0, 1.0, 2.0], 50, 2.0), ([*range(1, 201)], 99, 198), ([1, 2], 100, 2)],
)
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(
    samples: list[float], percent: int, expected: float
) -> None:
    assert stats.percentile(samples, percent) == expected


def test_what_is_left_out_has_a_line_that_says_so() -> None:
    _, line = report.table([Figure.left_out("storm", "s")]).splitlines()
    assert line.split() == ["storm", "s", "0", "left", "out:", "--quick"]


FIGURES = [
    Figure(name="time", unit="s", ours=[1.0, 2.0, 3.0], theirs=[1.0, 1.0, 4.0], note="well"),
    Figure(name="memory", unit="MiB", ours=[66.25]),
]


def test_the_table_has_a_line_for_every_figure() -> None:
    head, first, second = report.table(FIGURES).splitlines()
    assert head.split() == ["figure", "unit", "pmigd", "virsh", "ratio", "n"]
    assert "2.00 (1.00-3.00)" in first
    assert "1.000 (0.750-2.000)" in first
    assert first.endswith("well")
    assert second.split() == ["memory", "MiB", "66.2", "1"]


def test_the_document_has_every_sample() -> None:
    document = json.loads(report.document({"cores": 2}, {"pairs": 3}, {"some": FIGURES}))
    assert document["machine"] == {"cores": 2}
    assert document["settings"] == {"pairs": 3}
    time, memory = document["measurements"]["some"]
    assert time["pmigd"] == {"median": 2.0, "min": 1.0, "max": 3.0, "samples": [1.0, 2.0, 3.0]}
    assert time["ratio"]["samples"] == [1.0, 2.0, 0.75]
    assert memory["virsh"] is None
    assert memory["ratio"] is None


def test_every_measurement_has_a_name_of_its_own() -> None:
    names = [measurement.name for measurement in MEASUREMENTS]
    assert len(set(names)) == len(names)
