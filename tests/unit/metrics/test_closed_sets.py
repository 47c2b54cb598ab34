"""A fresh daemon has all series that there will ever be, but where the page says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, product
from math import prod
from typing import Final

import pytest

from pmigd.adapters.metrics import PoolFigures, labels, reference
from pmigd.core import events as ev
from pmigd.core.model import (
    Direction,
    Migration,
    OnTimeout,
    Postcopy,
    Power,
    Request,
    State,
    Transport,
    View,
)
from pmigd.core.problem import Code, Problem
from tests.support.build import returned
from tests.unit.metrics.story import STAYED, World, lost_looks

Series = dict[str, set[tuple[tuple[str, str], ...]]]
FIXED: Final = {family.name for family in reference.families() if not family.absent}
"""Families that are never absent."""
CLOSED: Final = {name.partition(" (")[0] for name, _ in reference.VALUES}


@pytest.fixture
def world() -> World:
    return World(pools=tuple(PoolFigures(name, 0, 1, 0, 0) for name in labels.POOLS))


def fixed(world: World) -> Series:
    """The label sets of the families that are never absent, buckets left out."""
    found: Series = {}
    for family in world.metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name in FIXED:
            labels = ({k: v for k, v in s.labels.items() if k != "le"} for s in family.samples)
            found[name] = {tuple(sorted(one.items())) for one in labels}
    return found


def request(**fields: object) -> Request:
    return Request("vm", "hostb", **fields)  # type: ignore[arg-type]


def variety(world: World) -> Iterator[Migration]:
    """Migrations that end in every way there is, and one that nobody can tell the end of."""
    numbers = count(1)
    for transport, code in product(Transport, Code):
        problem = Problem(code, "no")
        world.metrics.rejected(code)
        yield world.fails(
            world.running(next(numbers), request=request(transport=transport)), problem
        )
        m = world.external(Direction.INCOMING, next(numbers), request=request(transport=transport))
        yield world.became(m, replace(m, state=State.FAILED, problem=problem))
    for transport, postcopy in product(Transport, Postcopy):
        wanted = request(transport=transport, postcopy=postcopy)
        m = world.sampled(world.running(next(numbers), request=wanted), compressed_pages=3)
        if postcopy is Postcopy.ALLOWED:
            m = world.happens(m, ev.PostcopyBegan())
        final = {"memory_processed_bytes": 5, "disk_processed_bytes": 6, "iteration": 2}
        yield world.finishes(m, **final, setup_ms=1, downtime_net_ms=3, downtime_ms=-3)
    for on_timeout in OnTimeout:
        wanted = request(timeout_s=1, on_timeout=on_timeout, postcopy=Postcopy.ALLOWED)
        m = world.sampled(world.running(next(numbers), request=wanted))
        yield world.happens(m, ev.Ticked(), returned(None), STAYED, after_s=2)
    m = world.submit(next(numbers))
    yield world.happens(m, ev.AbortAsked("root", "no"))
    m = world.external(Direction.INCOMING, next(numbers))
    yield world.happens(m, ev.Arrived(), ev.Looked(View(Power.RUNNING), View(Power.UNKNOWN)))
    m = world.running(next(numbers))
    yield world.happens(m, *lost_looks(m))


def test_every_combination_of_closed_labels_is_there_from_the_start(world: World) -> None:
    for name, series in fixed(world).items():
        values: dict[str, set[str]] = {}
        for label, value in (pair for one in series for pair in one):
            values.setdefault(label, set()).add(value)
        assert len(series) == prod(len(seen) for seen in values.values()), name
        for label in values.keys() & CLOSED:
            assert values[label] in [set(v) for n, v in reference.VALUES if n.startswith(label)]


def test_no_way_for_a_migration_to_end_makes_another_series(world: World) -> None:
    before = fixed(world)
    assert before.keys() == FIXED
    ended = {(m.state, m.direction) for m in variety(world)}
    assert {state for state, _ in ended} >= {
        State.SUCCEEDED,
        State.FAILED,
        State.CANCELLED,
        State.UNRESOLVED,
    }
    assert {direction for _, direction in ended} == set(Direction)
    assert fixed(world) == before
    reasons = {key.split(",")[1] for key in world.values("pmigd_migration_failures_total")}
    assert reasons == {str(code.kind.reason) for code in Code}
