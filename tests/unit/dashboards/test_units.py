"""Numbers as people read them, and the marks of an axis."""

from __future__ import annotations

import pytest

from contrib.dashboards import units


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "none", "0"),
        (5.066, "none", "5.07"),
        (1234.5, "none", "1234"),
        (0.000123, "none", "0.000123"),
        (0.75, "percentunit", "75%"),
        (0, "bytes", "0 B"),
        (1536, "bytes", "1.5 KiB"),
        (3 << 40, "bytes", "3 TiB"),
        (5 << 50, "bytes", "5120 TiB"),
        (16 << 20, "binBps", "16 MiB/s"),
        (0, "s", "0 s"),
        (0.0061, "s", "6.1 ms"),
        (0.00004, "s", "0.04 ms"),
        (59.9, "s", "59.9 s"),
        (90, "s", "1.5 min"),
        (-90, "s", "-1.5 min"),
        (7200, "s", "2 h"),
        (float("inf"), "s", "∞"),
        (2.5, "ops", "2.5 ops/s"),
        (1000.0 * 1_772_366_400, "dateTimeAsIso", "2026-03-01 12:00:00"),
    ],
)
def test_a_value_is_written_in_its_unit(value: float, unit: str, text: str) -> None:
    assert units.written(value, unit) == text


def test_decimals_can_be_asked_for() -> None:
    assert units.written(5.066, "none", 0) == "5"
    assert units.written(0.751, "percentunit", 0) == "75%"


@pytest.mark.parametrize(
    ("low", "high", "unit", "whole", "expected"),
    [
        (0, 4, "none", False, [0, 1, 2, 3, 4]),
        (0, 1, "none", True, [0, 1]),
        (0, 0, "none", True, [0, 1]),
        (0, 0.3, "s", False, [0, 0.1, 0.2, 0.3]),
        (0, 100, "s", False, [0, 30, 60, 90, 120]),
        (0, 20 << 20, "binBps", False, [n * 5 << 20 for n in range(5)]),
        (-0.5, 2, "s", False, [-0.5, 0, 0.5, 1, 1.5, 2]),
    ],
)
def test_marks_are_round_and_enclose_all_values(
    low: float, high: float, unit: str, whole: bool, expected: list[float]
) -> None:
    found = units.ticks(low, high, unit, whole=whole)
    assert found == pytest.approx(expected)
    assert found[0] <= low
    assert found[-1] >= high


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 30, [0.001, 0.01, 0.1, 1, 10, 100]),
        (1, 1, [1, 10]),
        (1, 5000, [1, 10, 100, 1e3, 1e4]),
    ],
)
def test_powers_of_ten_enclose_all_values(low: float, high: float, expected: list[float]) -> None:
    assert units.powers(low, high) == pytest.approx(expected)


def test_marks_are_told_apart() -> None:
    assert units.labels([0, 1, 2], "none") == ["0", "1", "2"]
    assert units.labels([0, 0.5, 1], "none") == ["0", "0.5", "1"]
    assert units.labels([0, 0.1, 0.2], "s") == ["0 s", "100 ms", "200 ms"]
