"""What the counters and histograms say about migrations that the engine led to their end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pmigd.adapters.metrics.labels import action_of
from pmigd.core import events as ev
from pmigd.core.commands import Command, Kind
from pmigd.core.model import (
    Because,
    Direction,
    OnTimeout,
    Power,
    Request,
    State,
    Transport,
    View,
)
from pmigd.core.problem import KINDS, Code, Problem
from tests.support.build import replied, returned
from tests.unit.metrics.story import BEGAN, GIB, PREPARED, World, lost_looks

OUT = {"direction": "outgoing", "transport": "native"}


@pytest.fixture
def world() -> World:
    return World()


def count(world: World, name: str, **labels: str) -> float:
    found = world.value(name, labels)
    assert found is not None, f"{name}{labels} was not created at the start"
    return found


def test_a_short_migration_between_two_scrapes_is_recorded_in_full(world: World) -> None:
    m = world.submit()
    m = world.happens(m, ev.Admitted(), PREPARED, after_s=7)
    world.finishes(
        m,
        after_s=2,
        memory_processed_bytes=3 * GIB,
        disk_processed_bytes=GIB,
        iteration=4,
        downtime_ms=80,
        downtime_net_ms=60,
        setup_ms=9,
        constant_pages=100,
        normal_pages=200,
        compressed_pages=7,
    )
    assert world.values("pmigd_migrations_started_total") == {"outgoing,native": 1}
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 1}
    assert world.value("pmigd_migration_queue_wait_seconds_sum") == 7
    assert world.values("pmigd_migration_duration_seconds_sum") == {"completed": 2}
    assert world.values("pmigd_migration_downtime_seconds_sum") == {"precopy": 0.06}
    assert world.value("pmigd_migration_setup_seconds_sum") == 0.009
    assert world.value("pmigd_migration_memory_iterations_sum") == 4
    assert world.values("pmigd_migration_transferred_bytes_total") == {
        "outgoing,memory": 3 * GIB,
        "outgoing,disk": GIB,
    }
    assert world.values("pmigd_migration_pages_total") == {
        "constant": 100,
        "normal": 200,
        "compressed": 7,
    }


def test_every_label_set_stands_at_zero_before_anything_happens(world: World) -> None:
    reasons = {str(kind.reason) for kind in KINDS.values()}
    for reason in reasons:
        assert count(world, "pmigd_migrations_rejected_total", reason=reason) == 0
        for direction in ("outgoing", "incoming"):
            labels = {"direction": direction, "reason": reason}
            assert count(world, "pmigd_migration_failures_total", **labels) == 0
    for result in ("completed", "failed", "cancelled"):
        labels = {"direction": "incoming", "transport": "tunnelled", "result": result}
        assert count(world, "pmigd_migrations_finished_total", **labels) == 0
        assert count(world, "pmigd_migration_duration_seconds_count", result=result) == 0
    for mode in ("precopy", "postcopy", "offline"):
        assert count(world, "pmigd_migration_downtime_seconds_count", mode=mode) == 0
    assert count(world, "pmigd_migration_actions_total", action="switch_postcopy") == 0
    assert count(world, "pmigd_log_messages_total", level="critical") == 0


def test_bytes_grow_with_each_sample_and_the_last_ones_come_from_the_final_figures(
    world: World,
) -> None:
    m = world.running()
    labels = {"direction": "outgoing", "kind": "memory"}
    seen = []
    for processed in (GIB, 3 * GIB, 3 * GIB):
        m = world.sampled(m, memory_processed_bytes=processed)
        seen.append(count(world, "pmigd_migration_transferred_bytes_total", **labels))
    world.finishes(m, memory_processed_bytes=4 * GIB)
    seen.append(count(world, "pmigd_migration_transferred_bytes_total", **labels))
    assert seen == [GIB, 3 * GIB, 3 * GIB, 4 * GIB]


def test_a_figure_that_falls_back_takes_nothing_away(world: World) -> None:
    m = world.sampled(world.running(), memory_processed_bytes=3 * GIB)
    m = world.sampled(m, memory_processed_bytes=GIB)
    world.sampled(m, memory_processed_bytes=3 * GIB + 5)
    labels = {"direction": "outgoing", "kind": "memory"}
    assert count(world, "pmigd_migration_transferred_bytes_total", **labels) == 3 * GIB + 5


@pytest.mark.parametrize(
    ("final", "seconds", "discarded"),
    [
        ({"downtime_ms": 900, "downtime_net_ms": 60}, 0.06, 0),
        ({"downtime_ms": 900}, 0.9, 0),
        ({"downtime_ms": -50, "downtime_net_ms": 60}, 0.06, 1),
        ({"downtime_ms": 900, "downtime_net_ms": -1}, 0.9, 1),
        ({"downtime_ms": 86_400_000}, None, 1),
        ({"downtime_ms": -5, "downtime_net_ms": 90_000}, None, 1),
        ({"downtime_net_ms": 0}, 0.0, 0),
        ({}, None, 0),
    ],
)
def test_only_a_believable_pause_enters_the_histogram(
    world: World, final: dict[str, int], seconds: float | None, discarded: int
) -> None:
    world.finishes(world.running(), after_s=5, **final)
    observed = count(world, "pmigd_migration_downtime_seconds_count", mode="precopy")
    assert observed == (seconds is not None)
    assert count(world, "pmigd_migration_downtime_seconds_sum", mode="precopy") == (seconds or 0)
    assert count(world, "pmigd_migration_downtime_discarded_total") == discarded


def test_the_expected_downtime_of_a_running_migration_is_never_observed(world: World) -> None:
    m = world.sampled(world.running(), downtime_ms=300)
    world.fails(m, Problem(Code.MIGRATION_FAILED, "no"))
    assert world.values("pmigd_migration_downtime_seconds_count") == {}
    assert count(world, "pmigd_migration_downtime_discarded_total") == 0


def test_a_migration_of_others_seen_only_at_its_end_keeps_its_pause(world: World) -> None:
    m = world.external(Direction.OUTGOING)
    final = ev.Completed(world.sample(elapsed_ms=20_000, downtime_net_ms=400))
    gone = ev.Looked(View(Power.SHUTOFF, Because.MIGRATED), View(Power.UNKNOWN))
    world.happens(m, final, gone, after_s=0.1)
    assert world.values("pmigd_migration_downtime_seconds_sum") == {"precopy": 0.4}


def test_a_failure_is_counted_by_its_cause(world: World) -> None:
    world.fails(world.running(), Problem(Code.DESTINATION_UNREACHABLE, "no route"))
    assert world.values("pmigd_migration_failures_total") == {"outgoing,connect": 1}
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,failed": 1}
    assert world.values("pmigd_migration_duration_seconds_count") == {"failed": 1}


def test_a_migration_cancelled_in_the_queue_ended_but_never_began(world: World) -> None:
    m = world.submit(request=Request("vm1", "hostb", transport=Transport.TUNNELLED))
    world.happens(m, ev.AbortAsked("root", "not today"), after_s=9)
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,tunnelled,cancelled": 1}
    assert world.values("pmigd_migrations_started_total") == {}
    assert world.values("pmigd_migration_duration_seconds_count") == {}
    assert world.values("pmigd_migration_failures_total") == {}


def test_what_the_policy_did_is_counted_and_what_a_person_did_to_stop_it_is_not(
    world: World,
) -> None:
    hasty = Request("vm1", "hostb", timeout_s=10, on_timeout=OnTimeout.ABORT)
    m = world.happens(world.running(1, request=hasty), ev.Ticked(), after_s=11)
    m = world.happens(m, replied(Kind.ABORT, Problem(Code.REFUSED_BY_LIBVIRT, "no")))
    patient = Request("vm2", "hostb", timeout_s=10, on_timeout=OnTimeout.SUSPEND)
    m = world.sampled(world.running(2, request=patient))
    m = world.happens(m, ev.Ticked(), after_s=11)
    world.happens(m, replied(Kind.SUSPEND, Problem(Code.JOB_LOCK_TIMEOUT, "busy")))
    world.happens(world.running(3), ev.AbortAsked("root", "mine"))
    assert world.values("pmigd_migration_actions_total") == {
        "abort_timeout": 1,
        "force_switchover": 1,
    }


@pytest.mark.parametrize(
    ("kind", "by", "counted"),
    [
        (Kind.POSTCOPY, "policy", "switch_postcopy"),
        (Kind.POSTCOPY, "root", "switch_postcopy"),
        (Kind.RECOVER, "policy", "postcopy_recover"),
        (Kind.PERFORM, "pmigd", None),
        (Kind.ADOPT, "pmigd", None),
    ],
)
def test_post_copy_is_counted_whoever_asked_for_it_and_what_is_only_noted_is_not(
    kind: Kind, by: str, counted: str | None
) -> None:
    assert action_of(Command(1, kind, by, "asked for", BEGAN)) == counted


def test_an_adopted_migration_is_counted_once_over_both_lives(world: World) -> None:
    m = world.sampled(world.running(), memory_processed_bytes=5 * GIB)
    first_life = world.values("pmigd_migrations_started_total")
    world.restart()
    m = world.happens(replace(m, progress=None), ev.Restarted(), after_s=3)
    m = world.sampled(m, memory_processed_bytes=6 * GIB)
    m = world.sampled(m, memory_processed_bytes=7 * GIB)
    world.happens(m, ev.Left(), *[ev.Looked(View(Power.SHUTOFF), View(Power.RUNNING))])
    assert first_life == {"outgoing,native": 1}
    assert world.values("pmigd_migrations_started_total") == {}
    assert count(world, "pmigd_migration_queue_wait_seconds_count") == 0
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 1}
    assert count(world, "pmigd_migrations_recovered_total") == 1
    # What the first life had counted up to the first sample of the second is not counted again.
    assert world.values("pmigd_migration_transferred_bytes_total") == {"outgoing,memory": GIB}


def test_each_restart_that_takes_a_migration_up_again_counts(world: World) -> None:
    m = world.happens(world.sampled(world.running()), ev.Restarted())
    assert count(world, "pmigd_migrations_recovered_total") == 1
    world.restart()
    m = world.happens(m, ev.Restarted())
    world.sampled(m)
    assert count(world, "pmigd_migrations_recovered_total") == 1


def test_a_migration_that_libvirt_was_never_called_for_waits_again_and_is_not_recovered(
    world: World,
) -> None:
    m = world.happens(world.submit(), ev.Admitted())
    world.restart()
    m = world.happens(m, ev.Restarted())
    world.happens(m, ev.Admitted())
    assert m.state is State.QUEUED
    assert count(world, "pmigd_migrations_recovered_total") == 0
    assert world.values("pmigd_migrations_started_total") == {}


def test_incoming_migrations_count_by_direction_and_leave_the_rest_to_their_source(
    world: World,
) -> None:
    m = world.external(Direction.INCOMING)
    final = world.sample(memory_processed_bytes=GIB, downtime_net_ms=50, normal_pages=7, setup_ms=1)
    here = ev.Looked(View(Power.RUNNING, Because.MIGRATED), View(Power.UNKNOWN), final)
    m = world.happens(m, ev.Arrived(), here, after_s=4)
    assert m.state is State.SUCCEEDED
    assert world.values("pmigd_migrations_started_total") == {"incoming,native": 1}
    assert world.values("pmigd_migrations_finished_total") == {"incoming,native,completed": 1}
    assert world.values("pmigd_migration_transferred_bytes_total") == {"incoming,memory": GIB}
    for family in ("duration_seconds_count", "downtime_seconds_count", "pages_total"):
        assert world.values(f"pmigd_migration_{family}") == {}
    assert count(world, "pmigd_migration_setup_seconds_count") == 0


def test_an_outgoing_migration_of_others_is_measured_but_did_not_wait_in_our_queue(
    world: World,
) -> None:
    m = world.external(Direction.OUTGOING)
    gone = ev.Looked(View(Power.SHUTOFF, Because.MIGRATED), View(Power.UNKNOWN))
    world.happens(m, ev.Left(), gone, after_s=6)
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 1}
    assert world.values("pmigd_migration_duration_seconds_sum") == {"completed": 6}
    assert count(world, "pmigd_migration_queue_wait_seconds_count") == 0


def test_the_time_in_postcopy_is_measured_over_its_interruptions(world: World) -> None:
    m = world.sampled(world.running())
    m = world.happens(m, ev.PostcopyBegan())
    m = world.sampled(m, after_s=3, postcopy_requests=40)
    m = world.happens(m, ev.PostcopyBroke(), after_s=2)
    m = world.happens(m, ev.PostcopyBegan(), after_s=4)
    world.finishes(m, after_s=1, downtime_net_ms=20, postcopy_requests=55)
    assert world.value("pmigd_migration_postcopy_duration_seconds_sum") == 10
    assert world.value("pmigd_migration_postcopy_requests_total") == 55
    assert world.values("pmigd_migration_downtime_seconds_count") == {"postcopy": 1}


def test_postcopy_that_began_before_anybody_watched_has_no_known_duration(world: World) -> None:
    m = world.happens(world.sampled(world.running()), ev.PostcopyBegan())
    world.restart()
    m = world.happens(m, ev.Restarted(), after_s=5)
    world.finishes(m)
    assert world.value("pmigd_migration_postcopy_duration_seconds_count") == 0


def test_a_migration_without_postcopy_has_no_postcopy_duration(world: World) -> None:
    world.finishes(world.running())
    assert world.value("pmigd_migration_postcopy_duration_seconds_count") == 0


def test_what_was_unresolved_ends_without_a_duration(world: World) -> None:
    m = world.sampled(world.running())
    m = world.happens(m, *lost_looks(m))
    assert m.state is State.UNRESOLVED
    assert world.value("pmigd_migrations_unresolved") == 1
    assert world.value("pmigd_migrations_active", {"direction": "outgoing"}) == 0
    world.happens(m, ev.Resolved(State.SUCCEEDED, "root"), after_s=7200)
    assert world.value("pmigd_migrations_unresolved") == 0
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 1}
    assert world.values("pmigd_migration_duration_seconds_count") == {}


def test_a_late_event_after_the_end_counts_nothing(world: World) -> None:
    m = world.finishes(world.running(), memory_processed_bytes=GIB)
    world.happens(m, ev.Left(), ev.Ticked(), returned(None))
    world.metrics.forgotten(m)
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 1}
    assert world.values("pmigd_migrations_started_total") == {"outgoing,native": 1}


def test_a_refused_submission_is_counted_by_cause(world: World) -> None:
    world.metrics.rejected(Code.QUEUE_FULL)
    world.metrics.rejected(Code.UNKNOWN_PEER)
    world.metrics.rejected(Code.DOMAIN_BUSY)
    assert world.values("pmigd_migrations_rejected_total") == {"local_limit": 1, "precheck": 2}
