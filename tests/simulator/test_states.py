"""After every state, at either side: an abort, the death of pmigd, and its restart.

The cases are made of the enum: a new state is an error here until somebody says how to reach it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from contrib.simulator.run import run
from contrib.simulator.scenario import (
    Act,
    Asked,
    Fault,
    GuestSpec,
    Kind,
    Scenario,
    When,
    Wish,
)
from contrib.simulator.shrink import story
from pmigd.core.model import Postcopy, Request, State

GUEST = GuestSpec(host=0, memory_mib=128, dirty_mib_s=2)
MOVE = Wish(0, 1, 1.0, Request("", "", bandwidth_mib_s=50))
POSTCOPY = replace(
    MOVE,
    request=Request(
        "", "", postcopy=Postcopy.AFTER_PRECOPY, postcopy_bandwidth_mib_s=1, recover_attempts=3
    ),
)
PLAIN = Scenario(1, 2, (GUEST,), (MOVE,), trouble_s=8.0)
WRITES = replace(GUEST, dirty_mib_s=60)


def _during(state: State, kind: Kind, host: int, for_s: float = 5.0, at_s: float = 0.0) -> Fault:
    return Fault(kind, When(at_s, 0, state), host=host, peer=1 - host, for_s=for_s)


WAYS: dict[State, Scenario] = {
    # Another guest is on its way, and there is room for one.
    State.QUEUED: Scenario(
        1,
        2,
        (GUEST, GUEST),
        (replace(MOVE, at_s=1.5), replace(MOVE, guest=1)),
        outgoing=1,
        incoming=1,
        trouble_s=8.0,
    ),
    State.PREPARING: PLAIN,
    State.PRECOPY: PLAIN,
    State.FINISHING: PLAIN,
    State.SUCCEEDED: PLAIN,
    State.POSTCOPY: replace(PLAIN, guests=(WRITES,), wishes=(POSTCOPY,)),
    State.POSTCOPY_PAUSED: replace(
        PLAIN,
        guests=(WRITES,),
        wishes=(POSTCOPY,),
        faults=(_during(State.POSTCOPY, Kind.BREAK_STREAM, 0),),
    ),
    State.FAILED: replace(PLAIN, faults=(_during(State.PRECOPY, Kind.BREAK_STREAM, 0),)),
    State.CANCELLED: replace(PLAIN, asked=(Asked(Act.ABORT, When(0.0, 0, State.PRECOPY), 0),)),
    # The guest was stopped for the switch-over as the destination fell silent.
    State.UNRESOLVED: replace(
        PLAIN, faults=(_during(State.FINISHING, Kind.CUT, 0, for_s=70.0),), trouble_s=80.0
    ),
}
SHORT_S, LONG_S = 0.5, 45.0
"""A fault that is over before anybody is sure of it, and one longer than libvirt's keepalive."""
DELAYS_S = (0.0, 0.004)
"""Right with the step, and when what it sets off has just reached libvirt."""


def test_every_state_has_a_way_to_it() -> None:
    assert set(WAYS) == set(State)


def _struck(way: Scenario, state: State, side: str, what: str, delay_s: float) -> Scenario:
    host = 0 if side == "source" else 1
    when = When(delay_s, 0, state)
    if what == "abort":
        return replace(way, asked=(*way.asked, Asked(Act.ABORT, when, 0, side=side)))
    kind = Kind.KILL_PMIGD if what == "kill" else Kind.STOP_PMIGD
    return replace(way, faults=(*way.faults, Fault(kind, when, host=host, for_s=0.3)))


@pytest.mark.parametrize("delay_s", DELAYS_S)
@pytest.mark.parametrize(
    ("state", "side", "what"),
    list(product(State, ("source", "destination"), ("abort", "kill", "restart"))),
)
def test_after(state: State, side: str, what: str, delay_s: float) -> None:
    outcome = run(_struck(WAYS[state], state, side, what, delay_s))
    assert outcome.ok, story(outcome)
    assert state in outcome.seen, story(outcome)
    struck = {"abort": Act.ABORT, "kill": Kind.KILL_PMIGD, "restart": Kind.STOP_PMIGD}[what]
    # A destination has no record of what has not begun or is over: there is nothing to ask there.
    known = not (what == "abort" and side == "destination")
    assert outcome.happened[struck] or not known, story(outcome)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("state", State)
def test_a_fault_after(state: State, kind: Kind) -> None:
    """Every kind of fault right after every state, at one side for short, at the other for long."""
    way = WAYS[state]
    for host, for_s in ((0, SHORT_S), (1, LONG_S)):
        fault = replace(_during(state, kind, host, for_s, at_s=0.003), strength=100)
        trouble_s = max(way.trouble_s, for_s + 15.0 if for_s == LONG_S else 0.0)
        outcome = run(replace(way, faults=(*way.faults, fault), trouble_s=trouble_s))
        assert outcome.ok, story(outcome)
