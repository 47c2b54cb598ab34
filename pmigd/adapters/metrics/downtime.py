"""How long was the guest stopped? Which of libvirt's two measurements to believe, if any.

``downtime_ms`` compares the clocks of two hosts and is nonsense when they differ;
``downtime_net_ms`` leaves the difference out, at the price of the last message's way. A number
that cannot be true is never shown as a pause.
"""

from __future__ import annotations

from dataclasses import dataclass

from pmigd.core.model import Migration, State


@dataclass(frozen=True, slots=True)
class Pause:
    """The measured pause, None if there is none to believe.

    `discarded`: libvirt gave at least one measurement that cannot be true.
    """

    seconds: float | None = None
    discarded: bool = False


def pause_of(m: Migration) -> Pause:
    """The pause of a migration that succeeded; of any other there is none."""
    if m.state is not State.SUCCEEDED or m.result is None:
        return Pause()
    longest_ms = m.result.duration_s * 1000
    if m.completed is not None:
        # A migration of others may have been seen only at its end: libvirt knows how long it took.
        longest_ms = max(longest_ms, m.completed.elapsed_ms)
    given = [v for v in (m.result.downtime_net_ms, m.result.downtime_ms) if v is not None]
    believable = [v for v in given if 0 <= v <= longest_ms]
    return Pause(
        seconds=believable[0] / 1000 if believable else None,
        discarded=len(believable) < len(given),
    )
