"""What the metrics say about libvirt's capacity, about leases and about peers."""

from __future__ import annotations

from typing import get_args

import pytest

from pmigd.adapters.metrics import labels
from pmigd.api.peerbackend import Intrusion
from pmigd.core.holdings import Resource
from pmigd.core.model import Direction
from pmigd.wire import peer
from tests.unit.metrics.story import World, told, untold

CAPACITY = (
    "clients",
    "clients_limit",
    "workers",
    "workers_free",
    "workers_limit",
    "job_queue_length",
)


@pytest.fixture
def world() -> World:
    return World()


def capacity(world: World) -> list[float | None]:
    return [world.value(f"pmigd_libvirtd_{name}") for name in CAPACITY]


def test_the_daemons_own_figures_are_shown(world: World) -> None:
    world.daemons = (told("libvirtd", world.mono, clients=7, workers=6, free_workers=4),)
    assert capacity(world) == [7, 5000, 6, 4, 20, 0]


def test_what_no_daemon_said_is_absent_and_not_a_default(world: World) -> None:
    world.daemons = (untold("libvirtd"),)
    assert capacity(world) == [None] * len(CAPACITY)
    assert world.value("pmigd_libvirtd_admin_up") == 0


def test_of_two_daemons_the_one_with_less_left_is_shown(world: World) -> None:
    qemud = told("virtqemud", world.mono, max_clients=100, clients=10, workers=20, free_workers=0)
    proxyd = told("virtproxyd", world.mono, clients=4990, workers=7, free_workers=7)
    world.daemons = (qemud, proxyd)
    assert capacity(world) == [4990, 5000, 20, 0, 20, 0]
    world.daemons = (qemud, untold("virtproxyd"))
    assert capacity(world) == [10, 100, 20, 0, 20, 0]


def test_calls_that_wait_for_a_worker_make_a_daemon_the_fuller_one(world: World) -> None:
    full = {"workers": 20, "free_workers": 0}
    world.daemons = (
        told("virtqemud", world.mono, **full),
        told("virtproxyd", world.mono, **full, queued_calls=3),
    )
    assert world.value("pmigd_libvirtd_job_queue_length") == 3


@pytest.mark.parametrize(("age_s", "up"), [(0, 1), (14, 1), (15, 0)])
def test_figures_that_are_no_longer_renewed_are_kept_and_said_to_be_old(
    world: World, age_s: float, up: int
) -> None:
    world.daemons = (told("libvirtd", world.mono - age_s),)
    assert world.value("pmigd_libvirtd_admin_up") == up
    assert world.value("pmigd_libvirtd_clients") == 1


def test_one_silent_daemon_of_two_is_enough_to_be_down(world: World) -> None:
    world.daemons = (told("virtqemud", world.mono), untold("virtproxyd"))
    assert world.value("pmigd_libvirtd_admin_up") == 0


def test_what_the_account_holds_stands_beside_it(world: World) -> None:
    world.held = {Resource.CLIENT: 3, Resource.WORKER: 2}
    assert world.value("pmigd_reserved_clients") == 3
    assert world.value("pmigd_reserved_workers") == 2


def test_both_directions_have_a_limit(world: World) -> None:
    assert world.values("pmigd_migrations_limit") == {"outgoing": 4, "incoming": 3}


def test_leases_are_counted_by_direction_and_state(world: World) -> None:
    world.leases = {(Direction.INCOMING, "granted"): 2, (Direction.OUTGOING, "waiting"): 5}
    assert world.values("pmigd_leases") == {"incoming,granted": 2, "outgoing,waiting": 5}


def test_what_the_head_of_the_queue_waits_for_is_one_of_a_closed_set(world: World) -> None:
    assert world.values("pmigd_admission_waiting") == {}
    for told_by_a_peer, shown in (("worker", "worker"), ("peer", "peer"), ("x\ny", "other")):
        world.head_waits = told_by_a_peer
        assert world.values("pmigd_admission_waiting") == {shown: 1}
    series = [s for s in world.series() if s.name == "pmigd_admission_waiting"]
    assert len(series) == len(labels.WAITED) + 1


def test_only_the_peers_of_now_have_a_series(world: World) -> None:
    world.peers_up = {"hostb": True, "hostc": False}
    assert world.value("pmigd_peer_up", {"peer": "hostb"}) == 1
    assert world.value("pmigd_peer_up", {"peer": "hostc"}) == 0
    world.peers_up = {"hostb": True}
    assert world.value("pmigd_peer_up", {"peer": "hostc"}) is None


def test_requests_of_peers_are_timed_by_kind_whoever_asks(world: World) -> None:
    world.metrics.peer_request("hostb", "ask", 0.25, failed=False)
    world.metrics.peer_request("hostc", "ask", 0.5, failed=True)
    world.metrics.peer_request("hostc", "unknown", 0.125, failed=True)
    assert world.values("pmigd_peer_request_duration_seconds_count") == {"ask": 2, "other": 1}
    assert world.values("pmigd_peer_request_duration_seconds_sum") == {"ask": 0.75, "other": 0.125}
    assert world.values("pmigd_peer_request_errors_total") == {"ask": 1, "other": 1}


def test_refusals_are_counted_by_reason_and_a_new_reason_makes_no_series(world: World) -> None:
    for why in ("untrusted", "untrusted", "expired", "sunspots"):
        world.metrics.peer_refused(why)
    assert world.values("pmigd_peer_refusals_total") == {"untrusted": 2, "expired": 1, "other": 1}


def test_every_request_and_reason_that_there_is_stands_at_zero_from_the_start(
    world: World,
) -> None:
    def shown(name: str, label: str) -> set[str]:
        return {s.labels[label] for s in world.series() if s.name == name} - {labels.OTHER}

    kinds = {x.name for x in vars(peer).values() if isinstance(x, peer.Exchange)}
    assert shown("pmigd_peer_request_errors_total", "request") == kinds
    assert shown("pmigd_peer_refusals_total", "reason") == set(get_args(Intrusion))
