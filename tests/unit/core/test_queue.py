"""The order in which the waiting ones start (pmigd.core.queue)."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.model import MigrationId
from pmigd.core.queue import AGE_S_PER_POINT, Entry, Queue, entry_of
from tests.support import build

ENTRIES = st.builds(
    Entry,
    st.integers(0, 20).map(float),
    st.integers(0, 30).map(lambda n: MigrationId(f"{n:04}")),
    st.sampled_from(["hostb", "hostc", "hostd"]),
)
CHANGES = st.lists(st.tuples(st.booleans(), ENTRIES), max_size=80)


def queued(number: int, seconds: float, priority: int) -> Entry:
    """Submitted as the `number`-th, `seconds` after the beginning."""
    return entry_of(
        build.migration(
            id=MigrationId(f"{number:04}"),
            created_at=build.T0 + timedelta(seconds=seconds),
            request={"priority": priority},
        )
    )


@given(CHANGES, ENTRIES)
def test_it_is_a_sorted_list_whatever_is_put_in_and_taken_out(changes, never) -> None:
    queue, model = Queue(), {}
    for put, entry in changes:
        if put:
            queue.put(entry)
            model[entry.id] = entry
        else:
            queue.drop(entry.id)
            model.pop(entry.id, None)
        order = sorted(model.values())
        assert list(queue) == order
        assert len(queue) == len(order)
        assert [queue.position(each) for each in order] == list(range(1, len(order) + 1))
        for each in order:
            assert queue.get(each.id) == each
        for destination in ("hostb", "hostc", "hostd"):
            line = [each for each in order if each.destination == destination]
            assert queue.to(destination) == line
            assert queue.any_to(destination) == bool(line)
            assert not line or queue.first_to(destination) == line[0]
    if never.id not in model:
        assert queue.get(never.id) is None


@given(st.lists(ENTRIES, unique_by=lambda entry: entry.id, max_size=30), st.data())
def test_a_destination_that_is_shut_on_the_way_is_left_out_from_then(entries, data) -> None:
    queue = Queue()
    for entry in entries:
        queue.put(entry)
    shut: set[str] = set(data.draw(st.sets(st.sampled_from(["hostb", "hostc", "hostd"]))))
    expected = [entry for entry in sorted(entries) if entry.destination not in shut]
    seen = []
    for entry in queue.in_turn(shut):
        assert entry == expected.pop(0)
        seen.append(entry)
        if data.draw(st.booleans()):
            shut.add(entry.destination)
            expected = [each for each in expected if each.destination not in shut]
    assert expected == []
    assert seen == sorted(seen)


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 100)), min_size=2, max_size=20))
def test_within_a_priority_whoever_came_first_goes_first(submitted) -> None:
    submitted.sort(key=lambda pair: pair[0])
    entries = [queued(n, at, priority) for n, (at, priority) in enumerate(submitted)]
    for earlier, first in enumerate(entries):
        for later in range(earlier + 1, len(entries)):
            if submitted[earlier][1] >= submitted[later][1]:
                assert first < entries[later]


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 10_000))
def test_nothing_is_passed_by_what_is_submitted_after_its_priority_has_aged(
    low: int, high: int, later: float
) -> None:
    """Whatever its priority, nothing that comes 100 minutes later goes first."""
    first, second = queued(1, 0, low), queued(2, later, high)
    if later >= AGE_S_PER_POINT * (high - low):
        assert first < second
    else:
        assert second < first
    assert queued(2, 5999, 100) < queued(1, 0, 0) < queued(2, 6000, 100)


def test_another_priority_moves_it() -> None:
    queue = Queue()
    for number in range(3):
        queue.put(queued(number, number, 50))
    queue.put(queued(2, 2, 51))
    assert [entry.id for entry in queue] == ["0002", "0000", "0001"]
    queue.put(queued(2, 2, 50))
    assert [entry.id for entry in queue] == ["0000", "0001", "0002"]
