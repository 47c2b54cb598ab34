"""What a scrape sees of migrations under way and of those that ended lately."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pmigd.adapters.metrics.labels import PHASES
from pmigd.core import events as ev
from pmigd.core.model import Direction, Request, State
from pmigd.core.problem import Code, Problem
from tests.unit.metrics.story import BEGAN, GIB, ID, World, lost_looks

VM1 = {"domain": "vm1"}


@pytest.fixture
def world() -> World:
    return World()


def live(world: World, name: str) -> float | None:
    return world.value(f"pmigd_migration_{name}", VM1)


def phase(world: World) -> list[str]:
    shown = {name: world.value("pmigd_migration_phase", VM1 | {"phase": name}) for name in PHASES}
    assert None not in shown.values()
    return [name for name, value in shown.items() if value]


def test_a_running_migration_shows_the_figures_of_its_latest_sample(world: World) -> None:
    world.sampled(
        world.running(),
        memory_processed_bytes=3 * GIB,
        memory_remaining_bytes=5 * GIB,
        memory_bytes_per_second=1000,
        dirty_bytes_per_second=400,
        iteration=2,
        throttle_percent=20,
        downtime_ms=450,
        downtime_limit_ms=300,
    )
    assert live(world, "memory_size_bytes") == 8 * GIB
    assert live(world, "memory_processed_bytes") == 3 * GIB
    assert live(world, "memory_remaining_bytes") == 5 * GIB
    assert live(world, "memory_transfer_bytes_per_second") == 1000
    assert live(world, "memory_dirty_bytes_per_second") == 400
    assert live(world, "memory_iteration") == 2
    assert live(world, "cpu_throttle_ratio") == 0.2
    assert live(world, "expected_downtime_seconds") == 0.45
    assert live(world, "downtime_limit_seconds") == 0.3
    assert live(world, "start_timestamp_seconds") == BEGAN.timestamp()
    info = {"migration": ID.format(1), "uuid": "6b1f0d7e-0000-4000-8000-000000000001", **VM1}
    info |= {"direction": "outgoing", "peer": "hostb", "transport": "native"}
    assert world.value("pmigd_migration_info", info) == 1
    assert world.value("pmigd_migrations_active", {"direction": "outgoing"}) == 1


def test_what_libvirt_does_not_say_is_absent_and_never_zero(world: World) -> None:
    world.running()
    names = {s.name for s in world.series() if s.labels.get("domain") == "vm1"}
    assert names == {
        "pmigd_migration_info",
        "pmigd_migration_phase",
        "pmigd_migration_start_timestamp_seconds",
    }


def test_disks_have_figures_and_a_rate_of_their_own(world: World) -> None:
    m = world.running()
    world.sampled(
        m,
        disk_total_bytes=10 * GIB,
        disk_processed_bytes=GIB,
        disk_remaining_bytes=9 * GIB,
        memory_bytes_per_second=5,
        disk_bytes_per_second=7,
    )
    assert live(world, "disk_size_bytes") == 10 * GIB
    assert live(world, "disk_processed_bytes") == GIB
    assert live(world, "disk_remaining_bytes") == 9 * GIB
    assert live(world, "memory_transfer_bytes_per_second") == 5
    assert live(world, "disk_transfer_bytes_per_second") == 7


def test_nothing_of_a_domain_is_left_when_its_migration_is_over(world: World) -> None:
    world.finishes(world.sampled(world.running(), memory_bytes_per_second=5, iteration=1))
    names = {s.name for s in world.series() if s.labels.get("domain") == "vm1"}
    assert names == {"pmigd_recent_migration_info"}


def test_a_waiting_migration_is_a_number_and_not_a_series(world: World) -> None:
    world.queued, world.waiting_oldest = 1, world.now.utc
    world.submit()
    assert world.value("pmigd_migrations_queued") == 1
    oldest = world.value("pmigd_migration_oldest_queued_timestamp_seconds")
    assert oldest == BEGAN.timestamp()
    assert not [s for s in world.series() if s.labels.get("domain") == "vm1"]


def test_an_empty_queue_has_no_oldest_entry(world: World) -> None:
    assert world.value("pmigd_migration_oldest_queued_timestamp_seconds") is None


def test_the_phase_follows_the_migration(world: World) -> None:
    m = world.running()
    seen = phase(world)
    m = world.sampled(m)
    seen += phase(world)
    m = world.happens(m, ev.SwitchedOver())
    seen += phase(world)
    world.happens(m, ev.Left())
    seen += phase(world)
    assert seen == ["starting", "precopy", "switchover", "finishing"]


def test_an_abort_shows_until_the_migration_is_over(world: World) -> None:
    m = world.sampled(world.running())
    world.happens(m, ev.AbortAsked("root", "mine"))
    assert phase(world) == ["aborting"]


def test_an_interrupted_postcopy_is_not_hidden_by_an_abort(world: World) -> None:
    m = world.sampled(world.running())
    m = world.happens(m, ev.AbortAsked("root", "mine"))
    m = world.happens(m, ev.PostcopyBegan())
    assert phase(world) == ["postcopy"]
    world.happens(m, ev.PostcopyBroke())
    assert phase(world) == ["postcopy_paused"]


def test_progress_is_a_new_minimum_of_what_remains(world: World) -> None:
    m = world.running()
    seen = []
    for remaining in (5 * GIB, 3 * GIB, 4 * GIB, 3 * GIB, 2 * GIB):
        m = world.sampled(m, after_s=10, memory_remaining_bytes=remaining)
        seen.append((live(world, "last_progress_timestamp_seconds") or 0) - BEGAN.timestamp())
    assert seen == [10, 20, 20, 20, 50]


def test_the_deadline_stands_until_the_policy_has_acted(world: World) -> None:
    m = world.sampled(world.running(request=Request("vm1", "hostb", timeout_s=60)), after_s=1)
    assert live(world, "deadline_timestamp_seconds") == BEGAN.timestamp() + 60
    world.happens(m, ev.Ticked(), after_s=60)
    assert live(world, "deadline_timestamp_seconds") is None


def test_the_bandwidth_limit_is_in_bytes_and_absent_when_there_is_none(world: World) -> None:
    m = world.running(1)
    assert live(world, "bandwidth_limit_bytes_per_second") is None
    world.became(m, replace(m, request=replace(m.request, bandwidth_mib_s=100)))
    assert live(world, "bandwidth_limit_bytes_per_second") == 100 * 1024 * 1024


def test_an_unresolved_migration_keeps_its_name_but_claims_no_progress(world: World) -> None:
    m = world.sampled(world.running(), memory_bytes_per_second=5)
    world.happens(m, *lost_looks(m))
    names = {s.name for s in world.series() if s.labels.get("domain") == "vm1"}
    assert names == {"pmigd_migration_info"}


def test_an_older_unresolved_migration_of_a_domain_gives_way_to_a_running_one(
    world: World,
) -> None:
    m = world.sampled(world.running())
    m = world.happens(m, *lost_looks(m))
    world.submit(2, domain=m.domain, state=State.PRECOPY, started_at=world.now.utc)
    infos = [s for s in world.series() if s.name == "pmigd_migration_info"]
    assert [s.labels["migration"] for s in infos] == [ID.format(2)]
    assert world.value("pmigd_migrations_unresolved") == 1


def test_single_migrations_can_be_left_out_and_what_counts_stays(world: World) -> None:
    def named() -> set[str]:
        return {s.name for s in world.series() if s.labels.keys() & {"domain", "migration"}}

    m = world.happens(world.sampled(world.running()), ev.PostcopyBegan(), ev.PostcopyBroke())
    world.finishes(world.running(2))
    before = named()
    world.metrics.show_domains(False)
    assert named() == set()
    world.finishes(world.running(3))
    assert world.values("pmigd_migrations_finished_total") == {"outgoing,native,completed": 2}
    assert world.values("pmigd_migrations_active") == {"outgoing": 1}
    assert world.value("pmigd_migrations_postcopy_paused") == 1
    # Shown again, nothing has been missed.
    world.metrics.show_domains(True)
    assert named() == before
    recent = [
        s.labels["domain"] for s in world.series() if s.name.endswith("recent_migration_info")
    ]
    assert recent == ["vm2", "vm3"]
    world.happens(m, ev.PostcopyBegan())
    assert world.value("pmigd_migrations_postcopy_paused") == 0


def test_an_incoming_migration_is_active_in_its_own_direction(world: World) -> None:
    world.external(Direction.INCOMING)
    assert world.values("pmigd_migrations_active") == {"incoming": 1}


def test_a_migration_that_ended_shows_its_final_figures_unbucketed(world: World) -> None:
    m = world.finishes(
        world.running(), after_s=3, memory_processed_bytes=GIB, downtime_ms=75, downtime_net_ms=70
    )
    labels = {"migration": m.id, **VM1, "direction": "outgoing", "peer": "hostb", "reason": ""}
    labels |= {"transport": "native", "mode": "precopy", "result": "completed"}
    assert world.value("pmigd_recent_migration_info", labels) == 1
    one = {"migration": m.id}
    assert world.value("pmigd_recent_migration_end_timestamp_seconds", one) == (
        BEGAN.timestamp() + 3
    )
    assert world.value("pmigd_recent_migration_duration_seconds", one) == 3
    assert world.value("pmigd_recent_migration_downtime_seconds", one) == 0.07
    assert world.value("pmigd_recent_migration_transferred_bytes", one) == GIB


def test_a_failed_one_says_why_and_claims_no_pause(world: World) -> None:
    world.fails(world.running(), Problem(Code.CPU_INCOMPATIBLE, "no avx"))
    (info,) = (s for s in world.series() if s.name == "pmigd_recent_migration_info")
    assert (info.labels["result"], info.labels["reason"]) == ("failed", "prepare")
    assert world.values("pmigd_recent_migration_downtime_seconds") == {}
    assert world.values("pmigd_recent_migration_transferred_bytes") == {}


def test_ended_migrations_stay_for_fifteen_minutes(world: World) -> None:
    world.finishes(world.running())
    world.mono += 15 * 60
    assert len(world.values("pmigd_recent_migration_info")) == 1
    world.mono += 1
    assert world.values("pmigd_recent_migration_info") == {}


def test_at_most_twenty_ended_migrations_stay(world: World) -> None:
    for number in range(25):
        world.finishes(world.running(number))
    shown = world.values("pmigd_recent_migration_end_timestamp_seconds")
    assert set(shown) == {ID.format(number) for number in range(5, 25)}


def test_what_is_dropped_from_memory_leaves_no_series(world: World) -> None:
    m = world.sampled(world.external(Direction.INCOMING), memory_remaining_bytes=5)
    del world.open[m.id]
    world.metrics.forgotten(m)
    assert not [s for s in world.series() if s.labels.get("domain") == "vm1"]
