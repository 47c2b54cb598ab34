"""What is remembered of one migration between its steps, so that everything is counted once.

A migration that was adopted after a restart was counted by the earlier life of pmigd up to then;
Prometheus adds the two lives up. So its start is not counted again, and its figures count from
where the first sample of this life finds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pmigd.core.model import Migration, Sample, State


class Growth:
    """A figure that only grows, read now and then. It counts from 0, or from its first reading."""

    def __init__(self, *, from_zero: bool) -> None:
        self._highest: int | None = 0 if from_zero else None

    def by(self, reading: int | None) -> int:
        """How much it has grown since the last reading; never negative."""
        if reading is None:
            return 0
        if self._highest is None:
            self._highest = reading
        grown = max(0, reading - self._highest)
        self._highest += grown
        return grown


class PostcopyClock:
    """Seconds spent in post-copy, by the monotonic clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._total: float | None = 0.0

    def step(self, before: State | None, after: State, mono: float) -> None:
        """Note a step between two states."""
        if after.about.in_postcopy:
            if self._since is None:
                if before is not None and before.about.in_postcopy:
                    self._total = None  # it began before anybody was watching
                self._since = mono
        elif self._since is not None:
            if self._total is not None:
                self._total += mono - self._since
            self._since = None

    @property
    def seconds(self) -> float | None:
        """The time in post-copy; None if there was none or its beginning was not seen."""
        return self._total or None


@dataclass(slots=True)
class Track:
    """One migration, from its first step in this life of pmigd until it ends."""

    started: bool
    growth: dict[str, Growth]
    recovered: bool = False
    postcopy: PostcopyClock = field(default_factory=PostcopyClock)
    least_remaining_bytes: int | None = None
    progressed_at: datetime | None = None

    @classmethod
    def begin(cls, before: Migration | None, after: Migration, figures: tuple[str, ...]) -> Track:
        """A migration whose first step in this life is from `before` to `after`."""
        earlier_life = after.adopted or (before is not None and has_begun(before))
        return cls(
            started=earlier_life,
            growth={name: Growth(from_zero=not earlier_life) for name in figures},
        )

    def progress(self, sample: Sample) -> None:
        """Note when less remained than ever before: the only sure sign of progress."""
        if sample.memory_total_bytes + sample.disk_total_bytes <= 0:
            return
        remaining = sample.memory_remaining_bytes + sample.disk_remaining_bytes
        if self.least_remaining_bytes is None or remaining < self.least_remaining_bytes:
            self.least_remaining_bytes = remaining
            self.progressed_at = sample.at


def has_begun(m: Migration) -> bool:
    """Whether work on it has begun. What others started had begun when pmigd first saw it."""
    return m.started_at is not None or m.external
