"""Some hundreds of seeds: everything goes wrong somewhere, and nothing goes wrong with pmigd.

A seed that fails is told as a story, made as small as it fails with; `make simulate` runs as many
as are wanted.
"""

from __future__ import annotations

from collections import Counter

import pytest

from contrib.simulator.run import run
from contrib.simulator.scenario import Kind, Scenario, draw
from contrib.simulator.shrink import shrink, story

SEEDS = 120
AT_ONCE = 20


@pytest.mark.parametrize("first", range(1, SEEDS, AT_ONCE))
def test_nothing_goes_wrong_with_pmigd(first: int) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + AT_ONCE):
        outcome = run(draw(seed))
        assert outcome.ok, story(shrink(outcome, tries=40))
        happened += outcome.happened
    assert happened


def test_every_kind_of_fault_is_among_them() -> None:
    drawn = Counter(fault.kind for seed in range(1, SEEDS) for fault in draw(seed).faults)
    assert set(drawn) == set(Kind)


def test_a_seed_gives_the_same_run_again() -> None:
    first, second = run(draw(11)), run(draw(11))
    assert first.timeline == second.timeline
    assert len(first.timeline) > 5


def test_a_scenario_becomes_smaller_by_one_thing_at_a_time() -> None:
    scenario = next(s for s in map(draw, range(100)) if s.faults and s.asked and len(s.wishes) > 2)
    smaller = scenario.smaller()
    assert len(smaller) == len(scenario.faults) + len(scenario.asked) + len(scenario.wishes)
    assert all(_size(each) < _size(scenario) for each in smaller)
    for each in smaller:
        for thing in (*each.faults, *each.asked):
            assert thing.when.wish is None or thing.when.wish < len(each.wishes)


def _size(scenario: Scenario) -> int:
    return len(scenario.faults) + len(scenario.asked) + len(scenario.wishes)
