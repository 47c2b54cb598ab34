"""Hosts that send each other many guests at once: all arrive, and no limit is passed.

The judge compares what is held with what runs and what is leased at every step of every migration.
"""

from __future__ import annotations

import pytest

from contrib.simulator.run import run
from contrib.simulator.scenario import Fault, GuestSpec, Kind, Scenario, When, Wish
from contrib.simulator.shrink import story
from pmigd.core.model import Request

TWO = ((0, 1), (1, 0))
RING = ((0, 1), (1, 2), (2, 0))
UNRELIABLE = tuple(
    Fault(Kind.MESSAGES, When(0.0), host=a, peer=b, for_s=12.0, strength=400)
    for a, b in ((0, 1), (1, 2), (0, 2))
)


def crowd(routes, seed: int, guests: int = 4, **limits) -> Scenario:
    """So many guests on each route, all wanted elsewhere at the same time."""
    specs = [GuestSpec(source, 16, 0, 8) for source, _ in routes for _ in range(guests)]
    to = [destination for _, destination in routes for _ in range(guests)]
    wishes = [Wish(n, to[n], 1.0, Request("", "")) for n in range(len(specs))]
    hosts = len({host for route in routes for host in route})
    return Scenario(seed, hosts, tuple(specs), tuple(wishes), trouble_s=15.0, **limits)


@pytest.mark.parametrize("routes", [TWO, RING], ids=["two", "ring"])
@pytest.mark.parametrize("workers", [(3, 1), (4, 2), (5, 2), (20, 15)])
@pytest.mark.parametrize("slots", [(1, 1, 2), (2, 2, 1), (8, 8, 2), (1, 8, 8)])
def test_all_arrive(routes, workers, slots) -> None:
    outgoing, incoming, preparing = slots
    scenario = crowd(
        routes,
        sum(slots) + sum(workers),
        outgoing=outgoing,
        incoming=incoming,
        preparing=preparing,
        workers=workers,
    )
    outcome = run(scenario)
    assert outcome.ok, story(outcome)
    assert outcome.ends["succeeded"] == len(scenario.wishes) + 1  # and the one that shows it works


@pytest.mark.parametrize("seed", range(4))
def test_all_arrive_although_messages_get_lost_doubled_and_late(seed) -> None:
    scenario = crowd(RING, seed, faults=UNRELIABLE, workers=(5, 2))
    outcome = run(scenario)
    assert outcome.ok, story(outcome)
    assert outcome.ends["succeeded"] == len(scenario.wishes) + 1
