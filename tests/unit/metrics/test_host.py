"""What the metrics say about the host, its libvirt daemon and pmigd itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pmigd.adapters.metrics import PoolFigures
from pmigd.core.ports import HostFacts
from pmigd.core.problem import Code, Problem
from tests.unit.metrics.story import BEGAN, World

FACTS = HostFacts("hosta", "uuid", "9.0.0", "QEMU", "7.2.9")
INFO = {"daemon_version": "9.0.0", "hypervisor": "QEMU", "hypervisor_version": "7.2.9"}


@pytest.fixture
def world() -> World:
    return World()


def test_libvirt_is_down_and_unknown_until_it_is_connected(world: World) -> None:
    assert world.value("pmigd_libvirt_up") == 0
    assert world.values("pmigd_libvirt_info") == {}
    world.metrics.libvirt_changed(True, FACTS, 0)
    assert world.value("pmigd_libvirt_up") == 1
    assert world.value("pmigd_libvirt_info", INFO) == 1


def test_a_lost_libvirt_is_down_and_still_known(world: World) -> None:
    world.metrics.libvirt_changed(True, FACTS, 0)
    world.metrics.libvirt_changed(False, HostFacts(), 0)
    assert world.value("pmigd_libvirt_up") == 0
    assert world.value("pmigd_libvirt_info", INFO) == 1
    world.metrics.libvirt_changed(True, FACTS, 1)
    assert world.value("pmigd_libvirt_reconnects_total") == 1


def test_calls_are_timed_and_their_failures_counted(world: World) -> None:
    world.metrics.libvirt_call("job_stats", 0.25, False)
    call = {"call": "job_stats"}
    assert world.value("pmigd_libvirt_call_errors_total", call) == 0
    world.metrics.libvirt_call("job_stats", 5, True)
    assert world.value("pmigd_libvirt_call_errors_total", call) == 1
    assert world.value("pmigd_libvirt_call_duration_seconds_count", call) == 2
    assert world.value("pmigd_libvirt_call_duration_seconds_sum", call) == 5.25


def test_there_are_never_more_than_twenty_kinds_of_call(world: World) -> None:
    for number in range(50):
        world.metrics.libvirt_call(f"call{number}", 0.1, False)
    calls = world.values("pmigd_libvirt_call_duration_seconds_count")
    assert len(calls) == 20
    assert calls["other"] == 31


def test_requests_are_counted_by_route_and_foreign_methods_make_no_series(world: World) -> None:
    route = "/v1/migrations/{id}"
    world.metrics.api_request("GET", route, 200, 0.02)
    world.metrics.api_request("BREW", route, 405, 0.01)
    world.metrics.api_request("STEEP", route, 405, 0.01)
    assert world.values("pmigd_api_requests_total") == {
        f"GET,{route},200": 1,
        f"other,{route},405": 2,
    }
    assert world.values("pmigd_api_request_duration_seconds_count") == {route: 3}


def test_pools_show_what_their_threads_do(world: World) -> None:
    world.pools = (PoolFigures("look", 3, 4, 2, 0), PoolFigures("peer", 5, 4, 0, 1))
    assert world.values("pmigd_executor_threads_busy") == {"look": 3, "peer": 5}
    assert world.values("pmigd_executor_threads_limit") == {"look": 4, "peer": 4}
    assert world.values("pmigd_executor_threads_overdue") == {"peer": 1}
    assert world.values("pmigd_executor_queue_length") == {"look": 2}


def test_a_failed_reload_shows_until_one_succeeds(world: World) -> None:
    when = "pmigd_config_last_reload_success_timestamp_seconds"
    world.mono += 60
    world.metrics.config_reloaded(False)
    assert world.value("pmigd_config_last_reload_successful") == 0
    assert world.value(when) == BEGAN.timestamp()
    world.metrics.config_reloaded(True)
    assert world.value("pmigd_config_last_reload_successful") == 1
    assert world.value(when) == BEGAN.timestamp() + 60


def test_log_lines_are_counted_by_level(world: World) -> None:
    for level in ("info", "error", "info", "level 25"):
        world.metrics.log_message(level)
    assert world.values("pmigd_log_messages_total") == {"info": 3, "error": 1}


def test_lines_that_the_journal_did_not_take_are_counted(world: World) -> None:
    assert world.value("pmigd_log_unsent_total") == 0
    world.metrics.log_unsent()
    assert world.value("pmigd_log_unsent_total") == 1


def test_each_certificate_in_force_has_its_end_and_no_other(world: World) -> None:
    name = "pmigd_tls_certificate_not_after_timestamp_seconds"
    assert world.values(name) == {}
    world.metrics.certificate_in_force("peer", BEGAN)
    world.metrics.certificate_in_force("migration", BEGAN + timedelta(days=1))
    assert world.values(name) == {
        "peer": BEGAN.timestamp(),
        "migration": BEGAN.timestamp() + 86400,
    }
    world.metrics.certificate_in_force("peer", None)
    assert set(world.values(name)) == {"migration"}


def test_a_journal_that_cannot_be_written_shows(world: World) -> None:
    assert world.value("pmigd_journal_writable") == 1
    world.journal_writable = False
    assert world.value("pmigd_journal_writable") == 0


def test_the_lag_of_the_loop_is_observed(world: World) -> None:
    world.metrics.loop_lag(0.03)
    assert world.value("pmigd_event_loop_lag_seconds_bucket", {"le": "0.05"}) == 1
    assert world.value("pmigd_event_loop_lag_seconds_bucket", {"le": "0.01"}) == 0


def test_the_build_says_its_version_and_revision(world: World) -> None:
    (build,) = (s for s in world.series() if s.name == "pmigd_build_info")
    assert build.labels["version"] == "1.2.3+gabcdef"
    assert build.labels["revision"] == "gabcdef"
    assert build.labels["python"].startswith("3.")


def test_what_stands_still_and_what_was_left_behind_is_counted(world: World) -> None:
    m = world.sampled(world.running())
    assert world.value("pmigd_migrations_standing_still") == 0
    assert world.value("pmigd_copies_left_behind") == 0
    world.became(m, replace(m, problem=Problem(Code.STANDSTILL, "nothing is sent")))
    world.left_behind = 2
    assert world.value("pmigd_migrations_standing_still") == 1
    assert world.value("pmigd_copies_left_behind") == 2
    world.metrics.show_domains(False)
    assert world.value("pmigd_migrations_standing_still") == 1
