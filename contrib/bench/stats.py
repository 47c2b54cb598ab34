"""The arithmetic: medians, extremes, ratios of pairs. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Summary:
    """The median of some samples, with their extremes and their number."""

    median: float
    least: float
    most: float
    count: int


def summary(samples: Sequence[float]) -> Summary | None:
    """None if there are no samples."""
    if not samples:
        return None
    return Summary(statistics.median(samples), min(samples), max(samples), len(samples))


def percentile(samples: Sequence[float], percent: int) -> float:
    """The smallest sample that at least `percent` of a hundred do not exceed."""
    return sorted(samples)[math.ceil(len(samples) * percent / 100) - 1]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of every pair. A pair whose denominator is zero has none and is left out."""
    return [a / b for a, b in zip(ours, theirs, strict=True) if b]


def pause(longest_gap_s: float, tick_hz: int) -> float:
    """How long a guest stood still: the silence beyond the one that every tick has."""
    return max(0.0, longest_gap_s - 1 / tick_hz)


def per_minute(amount: float, seconds: float) -> float:
    """An amount scaled to one minute."""
    return amount * 60 / seconds


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the report. Samples of a pair have the same place in both lists.

    `theirs` is empty where virsh has nothing to compare with; `paired` says that
    a ratio of pairs means something. `aim` is what the median, and `ratio_aim` what
    that of the ratios shall not exceed.
    """

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    paired: bool = True
    note: str = ""
    aim: float | None = None
    ratio_aim: float | None = None

    @property
    def missed(self) -> bool | None:
        """Whether an aim is exceeded; None where there is none, or nothing to judge."""
        judged = [
            statistics.median(samples) > aim
            for samples, aim in ((self.ours, self.aim), (self.ratios, self.ratio_aim))
            if aim is not None and samples
        ]
        return any(judged) if judged else None

    @classmethod
    def left_out(cls, name: str, unit: str) -> Figure:
        """A line for what is too long for a first glance."""
        return cls(name=name, unit=unit, ours=(), note="left out: --quick")

    @property
    def ratios(self) -> list[float]:
        """pmigd's sample divided by virsh's, pair by pair."""
        return ratios(self.ours, self.theirs) if self.paired and self.theirs else []
