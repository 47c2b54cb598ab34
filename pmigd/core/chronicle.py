"""What happened to a migration, in order: the log that a step leaves, and what is worth keeping.

The log is made so that it can be played again: the migration as it was submitted and the events of
its log, applied by :func:`pmigd.core.engine.step` at their times, give what the journal has.
Samples come twice a second and change nothing that must survive, so of each pass over the guest's
memory only the last is kept; ticks of the clock only where they changed something.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pmigd.core.events import Event, Sampled, Ticked
from pmigd.core.model import Migration, Now

PENDING_MAX: Final = 200
"""Events of one migration that wait for its next step that is written down."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One event and when it was applied. `plain`: it showed progress, and nothing else changed."""

    now: Now
    event: Event
    plain: bool = False


def noted(
    pending: tuple[Logged, ...], before: Migration, event: Event, after: Migration, now: Now
) -> tuple[Logged, ...]:
    """`pending` with one step more: `event` made `after` of `before`."""
    measured = replace(after, progress=before.progress, moved_mono=before.moved_mono)
    plain = isinstance(event, Sampled | Ticked) and measured == before
    if plain and after.moved_mono == before.moved_mono:
        return pending  # nothing has moved since the one before
    if plain and pending and pending[-1].plain and _pass(pending[-1].event) == _pass(event):
        pending = pending[:-1]
    return (*pending, Logged(now, event, plain))[-PENDING_MAX:]


def _pass(event: Event) -> int | None:
    """Which pass over the guest's memory a sample is of."""
    sample = event.sample if isinstance(event, Sampled) else None
    return None if sample is None else sample.iteration
