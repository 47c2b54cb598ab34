"""The time of day may jump by an hour while something waits or runs; time itself goes on."""

from __future__ import annotations

import pytest

from contrib.simulator.daemon import PATIENCE_S
from contrib.simulator.run import run
from contrib.simulator.scenario import Fault, GuestSpec, Kind, Scenario, When, Wish
from contrib.simulator.shrink import story
from pmigd.core.model import OnTimeout, Request

BACK, ON = 1, 400


def scenario(
    *faults: Fault, trouble_s: float, at_s: tuple[float, ...] = (1.0,), **fields: object
) -> Scenario:
    """Guests that are to go from the first host to the second, one at each of these times."""
    request = Request("", "", **fields)  # type: ignore[arg-type]
    guests = tuple(GuestSpec(0, dirty_mib_s=0) for _ in at_s)
    wishes = tuple(Wish(number, 1, at, request) for number, at in enumerate(at_s))
    return Scenario(1, 2, guests, wishes, faults=faults, trouble_s=trouble_s)


def failed_at(s: Scenario, code: str) -> list[float]:
    """When each guest's migration failed like that."""
    outcome = run(s)
    assert outcome.ok, story(outcome)
    return [
        next(at for at, line in outcome.timeline if f"g{number} is failed ({code}" in line)
        for number in range(len(s.guests))
    ]


@pytest.mark.parametrize("strength", [BACK, ON])
def test_a_silent_peer_is_waited_for_as_long_as_ever(strength) -> None:
    away = Fault(Kind.KILL_PMIGD, When(0.1), host=1, for_s=3 * PATIENCE_S)
    clock = Fault(Kind.CLOCK, When(PATIENCE_S - 60), strength=strength, for_s=3 * PATIENCE_S)
    wanted_s = (1.0, 200.0)
    s = scenario(away, clock, trouble_s=3 * PATIENCE_S, at_s=wanted_s)
    for began, ended in zip(wanted_s, failed_at(s, "peer_unavailable"), strict=True):
        assert PATIENCE_S <= ended - began < PATIENCE_S + 30


@pytest.mark.parametrize("strength", [BACK, ON])
def test_a_deadline_comes_when_it_would_have_come_although_pmigd_was_restarted(strength) -> None:
    clock = Fault(Kind.CLOCK, When(5.0), strength=strength, for_s=100.0)
    restart = Fault(Kind.KILL_PMIGD, When(6.0), for_s=0.5)
    # 256 MiB at 1 MiB/s: it takes minutes.
    s = scenario(
        clock,
        restart,
        trouble_s=60.0,
        bandwidth_mib_s=1,
        timeout_s=30.0,
        on_timeout=OnTimeout.ABORT,
    )
    (ended,) = failed_at(s, "timeout")
    assert 31 <= ended < 34
