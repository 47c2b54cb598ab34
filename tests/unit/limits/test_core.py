"""Which figure counts, and how much of it migrations may hold (pmigd.core.limits)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.holdings import Account, Held, Phase, Resource
from pmigd.core.limits import (
    DEFAULTS,
    LIVE_KEPT_S,
    Allowance,
    DaemonLimits,
    Reading,
    Source,
    admission_limits,
    bounds,
    daemon_limits,
    host_limits,
    usable,
)
from pmigd.core.model import Direction
from tests.support.build import at

USED = {"clients": 7, "anonymous_clients": 1, "workers": 6, "free_workers": 4, "queued_calls": 0}
LIVE = Reading(Source.VIRT_ADMIN, at(0), {"max_workers": 12, "max_clients": 50, **USED})
CONF = Reading(Source.CONF, at(1), {"max_workers": 30, "max_client_requests": 9})


def daemon(name: str = "libvirtd", **figures: int) -> DaemonLimits:
    """A daemon whose file says `figures`."""
    return daemon_limits(name, live=None, conf=Reading(Source.CONF, at(0), figures), now=at(0))


def bound(resource: Resource, *daemons: DaemonLimits, workers: int = 5, clients: int = 100):
    return bounds(host_limits(daemons, None), reserve_workers=workers, reserve_clients=clients)[
        resource
    ]


@pytest.mark.parametrize(
    ("limit", "reserve", "expected"),
    [
        (20, 5, (15, 5)),
        (7, 5, (2, 5)),
        (6, 5, (2, 4)),
        (5, 5, (2, 3)),
        (4, 5, (2, 2)),
        (4, 1, (3, 1)),
        (3, 1, (1, 2)),
        (2, 5, (1, 1)),
        (1, 5, (1, 0)),
        (0, 5, (1, 0)),
        (5000, 100, (4900, 100)),
    ],
)
def test_the_reserve_is_kept_as_long_as_two_can_migrate(limit, reserve, expected) -> None:
    assert usable(limit, reserve) == expected


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_is_usable_and_the_reserve_never_pass_the_limit(limit: int, reserve: int) -> None:
    may_hold, kept = usable(limit, reserve)
    assert may_hold >= 1
    assert kept >= 0
    assert may_hold + kept == max(1, limit)
    if limit >= 4:
        assert may_hold >= 2
        assert kept >= min(reserve, 1)
        assert kept <= reserve


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_larger_limit_is_never_less_usable(limit: int, reserve: int) -> None:
    assert usable(limit + 1, reserve)[0] >= usable(limit, reserve)[0]


def test_every_figure_is_the_best_sources_and_tells_it() -> None:
    found = daemon_limits("libvirtd", live=LIVE, conf=CONF, now=at(2))
    assert (found.max_workers.value, found.max_workers.source) == (12, Source.VIRT_ADMIN)
    assert found.max_workers.read_at == at(0)
    assert found.max_client_requests.value == 9
    assert found.max_client_requests.source is Source.CONF
    assert found.prio_workers.value == DEFAULTS["prio_workers"]
    assert (found.prio_workers.source, found.prio_workers.read_at) == (Source.DEFAULT, None)
    assert found.use is not None
    assert (found.use.clients, found.use.busy_workers) == (7, 2)


def test_what_a_silent_daemon_said_counts_for_a_minute() -> None:
    still = daemon_limits("libvirtd", live=LIVE, conf=CONF, now=at(LIVE_KEPT_S))
    assert still.max_workers.value == 12
    later = daemon_limits("libvirtd", live=LIVE, conf=CONF, now=at(LIVE_KEPT_S + 0.1))
    assert (later.max_workers.value, later.max_workers.source) == (30, Source.CONF)
    assert later.max_clients.source is Source.DEFAULT
    assert later.use is None


def test_limits_that_differ_in_age_only_are_the_same() -> None:
    again = Reading(LIVE.source, at(5), LIVE.figures)
    first, second = (daemon_limits("d", live=r, conf=CONF, now=at(5)) for r in (LIVE, again))
    assert first == second
    busier = Reading(LIVE.source, at(5), {**LIVE.figures, "clients": 8})
    assert daemon_limits("d", live=busier, conf=CONF, now=at(5)) != first


def test_the_smaller_limit_of_two_daemons_binds_and_names_its_daemon() -> None:
    virtqemud = daemon("virtqemud", max_workers=9, max_clients=6000)
    virtproxyd = daemon("virtproxyd", max_workers=40)
    workers = bound(Resource.WORKER, virtqemud, virtproxyd)
    assert (workers.daemon, workers.limit, workers.usable) == ("virtqemud", 9, 4)
    clients = bound(Resource.CLIENT, virtqemud, virtproxyd)
    assert (clients.daemon, clients.limit, clients.usable) == ("virtproxyd", 5000, 4900)
    assert (workers.note, clients.note) == ("", "")


def test_a_cut_reserve_is_said_with_its_remedy() -> None:
    workers = bound(Resource.WORKER, daemon(max_workers=5))
    assert (workers.usable, workers.reserve) == (2, 3)
    assert workers.note == (
        "max_workers of libvirtd is only 5: reserve_workers is cut from 5 to 3."
        " Raise max_workers to 7 or more."
    )
    assert bound(Resource.WORKER, daemon(max_workers=7)).note == ""
    tiny = bound(Resource.WORKER, daemon(max_workers=3))
    assert (tiny.usable, tiny.reserve) == (1, 2)
    assert "one migration at a time" in tiny.note


def test_one_request_a_connection_stays_free_for_keepalives() -> None:
    assert bound(Resource.CLIENT_REQUEST, daemon()).usable == 4
    assert bound(Resource.CLIENT_REQUEST, daemon(max_client_requests=1)).usable == 1


def test_ports_are_counted_from_the_first_to_the_last() -> None:
    conf = Reading(Source.CONF, at(0), {"migration_port_max": 49153})
    reserves = {"reserve_workers": 5, "reserve_clients": 100}
    ports = bounds(host_limits([daemon()], conf), **reserves)[Resource.MIGRATION_PORT]
    assert (ports.limit, ports.usable, ports.source) == (2, 2, Source.CONF)
    ports = bounds(host_limits([daemon()], None), **reserves)[Resource.MIGRATION_PORT]
    assert (ports.limit, ports.source, ports.note) == (64, Source.DEFAULT, "")
    wrong = Reading(Source.CONF, at(0), {"migration_port_max": 49000})
    ports = bounds(host_limits([daemon()], wrong), **reserves)[Resource.MIGRATION_PORT]
    assert ports.limit == 1
    assert "qemu.conf" in ports.note


def host(busy: int, clients: int = 7, anonymous: int = 1, workers: int = 20):
    """A host whose one daemon has so much in use."""
    live = Reading(
        Source.VIRT_ADMIN,
        at(0),
        {
            "max_workers": workers,
            "clients": clients,
            "anonymous_clients": anonymous,
            "workers": busy + 2,
            "free_workers": 2,
            "queued_calls": 0,
        },
    )
    return host_limits([daemon_limits("libvirtd", live=live, conf=None, now=at(0))], None)


def test_admission_goes_by_the_configuration_and_the_daemons() -> None:
    allowance = Allowance(
        max_outgoing=3, max_incoming=4, max_preparing=5, ssh_startups=6, reserve_workers=7
    )
    found = admission_limits(host(0), allowance, Account())
    assert found.usable == {
        Resource.OUTGOING_SLOT: 3,
        Resource.INCOMING_SLOT: 4,
        Resource.PREPARING_SLOT: 5,
        Resource.SSH_STARTUP: 6,
        Resource.WORKER: 13,
        Resource.CLIENT: 4900,
        Resource.ANONYMOUS_CLIENT: 20,
        Resource.CLIENT_REQUEST: 4,
        Resource.MIGRATION_PORT: 64,
    }
    assert found.workers == 20


def test_whatever_migrations_do_not_hold_is_others() -> None:
    account = Account()
    account.put("1", Held(Direction.OUTGOING))
    account.put("2", Held(Direction.INCOMING))
    account.put("3", Held(Direction.INCOMING, Phase.TRANSFER))
    found = admission_limits(host(0, clients=9, anonymous=3), Allowance(), account)
    assert found.others == {
        Resource.WORKER: 0,
        Resource.CLIENT: 6,
        Resource.ANONYMOUS_CLIENT: 2,
    }
    # Not all that is accounted for is connected yet.
    found = admission_limits(host(0, clients=1, anonymous=0), Allowance(), account)
    assert set(found.others.values()) == {0}


def test_a_worker_is_others_only_from_the_second_reading_on() -> None:
    account = Account()
    account.put("1", Held(Direction.OUTGOING))
    seen = [0]
    limits = None
    for busy in (5, 3, 1, 4, 4):
        limits = admission_limits(host(busy), Allowance(), account, limits)
        assert limits.busy == busy - 1
        seen.append(limits.others[Resource.WORKER])
    assert seen == [0, 0, 2, 0, 0, 3]


def test_nothing_is_others_where_no_daemon_says_what_it_has_in_use() -> None:
    silent = host_limits([daemon(max_workers=9)], None)
    found = admission_limits(silent, Allowance(), Account())
    assert set(found.others.values()) == {0}
    assert (found.workers, found.usable[Resource.WORKER], found.busy) == (9, 4, 0)


def test_of_two_daemons_the_busier_one_counts() -> None:
    both = host_limits([*host(3, clients=2).daemons, *host(1, clients=30).daemons], None)
    before = admission_limits(both, Allowance(), Account())
    found = admission_limits(both, Allowance(), Account(), before)
    assert (found.others[Resource.WORKER], found.others[Resource.CLIENT]) == (3, 30)


@pytest.mark.parametrize("said", ["nothing", "less", "more"])
def test_workers_inside_calls_that_do_not_come_back_are_gone(said) -> None:
    """Whether the daemon says what it has in use or not; and what it says is not counted twice."""
    hung = {"web1": 2, "web2": 1}
    busy = {"nothing": None, "less": 1, "more": 5}[said]
    read = host_limits([daemon(max_workers=20)], None) if busy is None else host(busy)
    before = admission_limits(read, Allowance(), Account())
    found = admission_limits(read, Allowance(), Account(), before, hung)
    assert found.others[Resource.WORKER] == max(3, busy or 0)
    assert found.hung_words == "3 held by overdue calls about guests that do not answer: web1, web2"
    assert replace(found, hung={"": 1}).hung_words == "1 held by overdue calls"
    assert before.hung_words == ""
