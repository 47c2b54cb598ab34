"""What migrations hold, and what keeps the next one from starting (pmigd.core.holdings)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.holdings import (
    WORKERS_FOR_CONTROL,
    Account,
    Held,
    Limits,
    Phase,
    Resource,
    held_of,
    login_of,
    needs,
    ports_of,
    short_of,
)
from pmigd.core.model import CopyStorage, Direction, Request, State, Target, Transport
from tests.support import build
from tests.support.build import assert_same, limits
from tests.support.examples import examples

OUT, IN = Direction.OUTGOING, Direction.INCOMING
HELD = st.builds(
    Held,
    st.sampled_from(Direction),
    st.sampled_from(Phase),
    ports=st.integers(0, 2),
    login=st.sampled_from(["tls", "tcp", "ssh", "unix"]),
)
CHANGES = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | HELD), max_size=60)
BEGIN = (Phase.NOT_READY, Phase.READY, Phase.PREPARING)


def held_now(account: Account, resource: Resource) -> int:
    return sum(needs(held).get(resource, 0) for _, held in account)


@pytest.mark.parametrize("phase", Phase)
def test_a_source_gives_a_slot_a_client_and_a_worker_for_the_whole_call(phase: Phase) -> None:
    taken = {r: n for r, n in needs(Held(OUT, phase, ports=2, login="ssh")).items() if n}
    assert taken == {Resource.OUTGOING_SLOT: 1, Resource.CLIENT: 1, Resource.WORKER: 1}


@pytest.mark.parametrize("phase", Phase)
def test_a_destination_gives_a_worker_only_to_prepare_to_finish_and_through_postcopy(
    phase: Phase,
) -> None:
    begins = phase in BEGIN
    expected = {
        Resource.INCOMING_SLOT: 1,
        Resource.CLIENT: 1,
        Resource.MIGRATION_PORT: 2,
        Resource.WORKER: 0 if phase is Phase.TRANSFER else 1,
        Resource.PREPARING_SLOT: int(begins),
        Resource.ANONYMOUS_CLIENT: int(begins),
        Resource.SSH_STARTUP: int(begins),
    }
    taken = {r: n for r, n in needs(Held(IN, phase, ports=2, login="ssh")).items() if n}
    assert taken == {r: n for r, n in expected.items() if n}
    assert needs(Held(IN, phase, login="tls"))[Resource.SSH_STARTUP] == 0


@given(CHANGES)
def test_what_is_used_is_the_sum_of_what_is_held_after_any_changes(changes) -> None:
    account, now = Account(), {}
    for key, held in changes:
        if held is None:
            account.drop(key)
            now.pop(key, None)
        else:
            account.put(key, held)
            now[key] = held
        assert dict(account) == now
        for resource in Resource:
            assert account.used(resource) == held_now(account, resource) >= 0
            assert account.used(resource) == sum(account.used(resource, d) for d in Direction)
        for direction in Direction:
            number = sum(held.direction is direction for held in now.values())
            assert account.number(direction) == number
    for key in "abcdef":
        account.drop(key)
    assert_same(account, Account())


@given(CHANGES, CHANGES)
def test_what_is_tried_on_a_copy_leaves_the_account_as_it_is(first, then) -> None:
    account, same = Account(), Account()
    for key, held in first:
        for each in (account, same):
            each.drop(key) if held is None else each.put(key, held)
    copy = account.copy()
    assert_same(copy, account)
    for key, held in then:
        copy.drop(key) if held is None else copy.put(key, held)
    assert_same(account, same)


LIMITS = st.builds(
    lambda workers, reserve, slots, preparing, clients, ports, others: Limits(
        usable={
            Resource.OUTGOING_SLOT: slots[0],
            Resource.INCOMING_SLOT: slots[1],
            Resource.PREPARING_SLOT: preparing,
            Resource.CLIENT: clients,
            Resource.ANONYMOUS_CLIENT: 3,
            Resource.WORKER: max(2, workers - reserve) if workers >= 4 else 1,
            Resource.MIGRATION_PORT: ports,
            Resource.SSH_STARTUP: 2,
        },
        others={Resource.WORKER: others[0], Resource.CLIENT: others[1]},
        workers=workers,
    ),
    st.integers(1, 12),
    st.integers(0, 8),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), HELD),
        st.tuples(st.just("move"), st.integers(0, 20), st.sampled_from(Phase)),
        st.tuples(st.just("end"), st.integers(0, 20)),
    ),
    max_size=60,
)


@examples(200)
@given(LIMITS, STEPS)
def test_nothing_begins_above_a_limit_and_everybody_can_finish(host_limits, steps) -> None:
    account = Account()
    keys: list[str] = []
    peak = host_limits.workers - WORKERS_FOR_CONTROL - host_limits.others[Resource.WORKER]
    for number, (kind, *rest) in enumerate(steps):
        if kind == "begin":
            held = replace(rest[0], phase=Phase.PREPARING)
            found = short_of(account, host_limits, "hosta", held)
            if found is not None:
                # What it is said to lack is full, as far as it may take any of it.
                assert found.host == "hosta"
                assert found.used + needs(held)[Resource(found.resource)] > found.limit
                continue
            keys.append(str(number))
            account.put(keys[-1], held)
            for resource, amount in needs(held).items():
                if amount:
                    taken = account.used(resource) + host_limits.others.get(resource, 0)
                    assert taken <= host_limits.usable[resource]
        elif keys:
            key = keys[rest[0] % len(keys)]
            if kind == "end":
                account.drop(key)
                keys.remove(key)
            else:
                account.put(key, replace(dict(account)[key], phase=rest[1]))
        # Whatever the phases: all in post-copy at once leave a worker for their controls.
        assert len(keys) <= max(1, peak)
        assert account.used(Resource.WORKER) <= max(1, peak)


@given(LIMITS, st.lists(HELD, max_size=12), HELD)
def test_more_that_is_held_never_makes_room(host_limits, held, wanted) -> None:
    account = Account()
    short = False
    for number, each in enumerate(held):
        lacks = short_of(account, host_limits, "hosta", wanted) is not None
        assert lacks or not short
        short = lacks
        account.put(str(number), each)


@given(LIMITS, st.sampled_from(Direction))
def test_one_direction_alone_never_takes_all_the_other_needs(host_limits, direction) -> None:
    """As many as may begin in one direction, all in any phase that is short: one may come back."""
    left = {
        r: host_limits.usable[r] - host_limits.others[r] for r in (Resource.WORKER, Resource.CLIENT)
    }
    peak = host_limits.workers - WORKERS_FOR_CONTROL - host_limits.others[Resource.WORKER]
    account = Account()
    number = 0
    while short_of(account, host_limits, "hosta", Held(direction)) is None:
        account.put(str(number), Held(direction))
        if direction is IN:  # what travels leaves room for more
            if short_of(account, host_limits, "hosta", Held(direction)) is not None:
                break
            account.put(str(number), Held(direction, Phase.TRANSFER))
        number += 1
    other = Held(OUT if direction is IN else IN, ports=0)
    if min(*left.values(), peak) > 1:
        assert short_of(account, host_limits, "hosta", other) is None


def test_with_five_workers_one_leaves_while_one_comes() -> None:
    five = limits(outgoing=8, incoming=8, preparing=8)
    account = Account()
    account.put("1", Held(OUT))
    found = short_of(account, five, "hosta", Held(OUT))
    assert found is not None
    assert (found.resource, found.used, found.limit) == ("worker", 1, 1)
    assert short_of(account, five, "hosta", Held(IN)) is None
    account.put("2", Held(IN))
    assert short_of(account, five, "hosta", Held(IN)) is not None
    account.put("2", Held(IN, Phase.TRANSFER))
    assert short_of(account, five, "hosta", Held(IN)) is None


def test_those_who_travel_do_not_keep_the_others_from_leaving() -> None:
    five = limits(outgoing=8, incoming=8)
    account = Account()
    for key in "abc":
        assert short_of(account, five, "hosta", Held(IN)) is None
        account.put(key, Held(IN, Phase.TRANSFER))
    found = short_of(account, five, "hosta", Held(IN))
    assert found is not None
    assert (found.resource, found.used, found.limit) == ("worker", 3, 3)
    assert short_of(account, five, "hosta", Held(OUT)) is None


def test_both_directions_together_leave_a_worker_for_control() -> None:
    """Travelling, they hold few workers; at the end each needs one at the same time."""
    account = Account()
    eight = limits(workers=8, usable=8, outgoing=8, incoming=8)
    for key in "abcd":
        account.put(key, Held(OUT))
    for key in "efg":
        assert short_of(account, eight, "hosta", Held(IN)) is None
        account.put(key, Held(IN, Phase.TRANSFER))
    for direction in Direction:
        found = short_of(account, eight, "hosta", Held(direction))
        assert found is not None
        assert (found.resource, found.used, found.limit) == ("worker", 7, 7)


def test_what_others_use_leaves_less_and_the_last_one_is_given() -> None:
    busy = replace(limits(), others={Resource.WORKER: 1})
    account = Account()
    assert short_of(account, busy, "hosta", Held(OUT)) is None
    assert short_of(account, busy, "hosta", Held(IN)) is None
    account.put("1", Held(OUT))
    found = short_of(account, busy, "hosta", Held(IN))
    assert found is not None
    assert (found.resource, found.used, found.limit) == ("worker", 2, 2)
    full = replace(limits(), others={Resource.WORKER: 2})
    assert short_of(Account(), full, "hosta", Held(OUT)) is not None


def test_a_lower_limit_holds_back_and_a_missing_one_does_not() -> None:
    account = Account()
    for key in "abcdefghij":
        account.put(key, Held(OUT))
    assert short_of(account, Limits(), "hosta", Held(OUT)) is None
    slots = Limits({Resource.OUTGOING_SLOT: 3})
    found = short_of(account, slots, "hosta", Held(OUT))
    assert found is not None
    assert (found.resource, found.used, found.limit) == ("outgoing_slot", 10, 3)
    assert short_of(account, slots, "hosta", Held(IN)) is None


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (State.QUEUED, None),
        (State.PREPARING, Phase.PREPARING),
        (State.PRECOPY, Phase.TRANSFER),
        (State.POSTCOPY, Phase.POSTCOPY),
        (State.POSTCOPY_PAUSED, Phase.POSTCOPY),
        (State.FINISHING, Phase.FINISHING),
        (State.SUCCEEDED, None),
        (State.FAILED, None),
        (State.CANCELLED, None),
        (State.UNRESOLVED, None),
    ],
)
def test_what_is_held_follows_the_state(state: State, phase: Phase | None) -> None:
    held = held_of(build.migration(state=state))
    assert held == (None if phase is None else Held(OUT, phase, to="hostb"))


def test_what_is_held_tells_the_direction_the_ports_and_the_login() -> None:
    target = Target("hostb", "qemu+ssh://root@hostb/system")
    migration = build.migration(
        state=State.PRECOPY,
        direction=IN,
        target=target,
        request={"copy_storage": CopyStorage.INC},
    )
    held = Held(IN, Phase.TRANSFER, ports=2, login="ssh", to="hostb")
    assert held_of(migration) == held
    assert held_of(replace(migration, target=None)) == replace(held, login="tls")


def test_logins_by_ssh_are_counted_by_destination_while_they_are_made() -> None:
    account = Account()
    account.put("a", Held(OUT, login="ssh", to="hostb"))
    account.put("b", Held(OUT, login="tls", to="hostb"))
    account.put("c", Held(OUT, Phase.TRANSFER, login="ssh", to="hostb"))
    assert (account.startups("hostb"), account.startups("hostc")) == (1, 0)
    account.put("a", Held(OUT, Phase.TRANSFER, login="ssh", to="hostb"))
    assert account.startups("hostb") == 0


@pytest.mark.parametrize(
    ("fields", "ports"),
    [
        ({}, 1),
        ({"copy_storage": CopyStorage.ALL}, 2),
        ({"copy_storage": CopyStorage.INC}, 2),
        ({"transport": Transport.TUNNELLED}, 0),
        ({"offline": True}, 0),
        ({"migrate_uri": "unix:///run/pmigd/m.sock", "copy_storage": CopyStorage.ALL}, 0),
        ({"migrate_uri": "tcp://10.0.0.2", "copy_storage": CopyStorage.ALL}, 2),
    ],
)
def test_a_port_for_memory_and_one_for_the_disks_that_are_copied(fields, ports: int) -> None:
    assert ports_of(build.migration(request=fields)) == ports
    assert Request("web1", "hostb").copy_storage is CopyStorage.NONE


@pytest.mark.parametrize(
    ("uri", "login"),
    [
        ("qemu+tls://hostb/system", "tls"),
        ("qemu://hostb/system", "tls"),
        ("qemu+tcp://hostb/system", "tcp"),
        ("qemu+ssh://root@hostb/system", "ssh"),
        ("qemu+unix:///system?socket=/run/b.sock", "unix"),
        ("", "tls"),
    ],
)
def test_the_uri_says_how_the_source_logs_in(uri: str, login: str) -> None:
    assert login_of(uri) == login
