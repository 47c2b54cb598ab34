"""Who may start, and why the others wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.admission import Capacity, admit, why_waiting
from pmigd.core.model import MigrationId
from tests.support.build import T0

IDS = st.lists(st.integers(0, 10_000).map(lambda n: MigrationId(str(n))), unique=True, max_size=50)


@given(IDS, st.integers(1, 20), st.integers(0, 30))
def test_starts_the_head_of_the_queue_and_never_passes_the_limit(queue, limit, held) -> None:
    started = admit(queue, Capacity("hosta", limit, held))
    assert list(started) == queue[: len(started)]
    assert len(started) == min(len(queue), max(0, limit - held))


@given(IDS)
def test_starts_nothing_while_libvirt_or_the_journal_is_missing(queue) -> None:
    assert admit(queue, Capacity("hosta", 5, 0, blocked_by="journal")) == ()


def test_says_what_is_waited_for() -> None:
    waiting = why_waiting(Capacity("hosta", 2, 2), 3, T0)
    assert (waiting.resource, waiting.host, waiting.used, waiting.limit, waiting.position) == (
        "outgoing_slot",
        "hosta",
        2,
        2,
        3,
    )
    assert why_waiting(Capacity("hosta", 2, 0, "libvirt"), 1, T0).resource == "libvirt"
