"""Numbers as Grafana's units write them, nearly, and marks for axes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_TIMES: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_SUFFIXES: Final = {"ops": " ops/s", "reqps": " req/s", "cps": " c/s"}
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_MOST_TICKS: Final = 6


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in a unit of Grafana's; by default with three significant digits."""
    if unit == "dateTimeAsIso":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    scale, suffix = _scale(value, unit)
    return f"{_number(value / scale, decimals)}{suffix}"


def _scale(value: float, unit: str) -> tuple[float, str]:
    match unit:
        case "bytes" | "binBps":
            power = (
                min(int(math.log2(abs(value)) // 10), len(_BINARY) - 1) if abs(value) >= 1 else 0
            )
            return 1024.0**power, f" {_BINARY[power]}" + ("/s" if unit == "binBps" else "")
        case "s":
            if value == 0:
                return 1.0, " s"
            found = (each for each in _TIMES if abs(value) >= each[0])
            seconds, name = next(found, _TIMES[-1])
            return seconds, f" {name}"
        case "percentunit":
            return 0.01, "%"
        case _:
            return 1.0, _SUFFIXES.get(unit, "")


def _number(value: float, decimals: int | None) -> str:
    if decimals is None:
        magnitude = math.floor(math.log10(abs(value))) if value else 0
        decimals = max(0, 2 - magnitude)
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"


def ticks(low: float, high: float, unit: str, *, whole: bool = False) -> list[float]:
    """Round values from `low` or below to `high` or above, a handful of them."""
    if high <= low:
        high = low + 1
    # Bytes are round in powers of 1024, and so are their marks.
    base = _scale(high, unit)[0] if unit in ("bytes", "binBps", "s") else 1.0
    rough = (high - low) / base / (_MOST_TICKS - 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(s for s in _STEPS if s * magnitude >= rough * (1 - 1e-9)) * magnitude * base
    if whole:
        step = max(1.0, step)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def powers(low: float, high: float) -> list[float]:
    """The powers of ten that enclose two positive values."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**exponent for exponent in range(first, max(last, first + 1) + 1)]


def labels(values: Sequence[float], unit: str) -> list[str]:
    """The texts of an axis: each mark as short as keeps it apart from its neighbours."""
    for decimals in (0, 1, 2, 3):
        texts = [written(value, unit, decimals) for value in values]
        if all(one != other for one, other in pairwise(texts)):
            return [written(value, unit) for value in values] if decimals else texts
    return [written(value, unit) for value in values]
