"""Who may start, who asks, and why the others wait (pmigd.core.admission)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.admission import (
    PATIENCE_S,
    Decision,
    Door,
    LeaseStanding,
    Situation,
    Standing,
    decide,
    why_waiting,
)
from pmigd.core.holdings import SHARED, Account, Held, Limits, Phase, Resource, Shortage, short_of
from pmigd.core.leases import key_of
from pmigd.core.model import Direction, MigrationId
from pmigd.core.queue import Entry, Queue
from tests.support.build import T0, limits
from tests.support.examples import examples

LEAVING = Held(Direction.OUTGOING)
PEERS = ("hostb", "hostc", "hostd")
FULL = Shortage("incoming_slot", "hostb", 1, 1)
AWAY = Shortage("peer", "hostc", 0, 0)
NOW = 1000.0


def iden(number: int) -> MigrationId:
    return MigrationId(f"{number:04}")


def queue_of(*destinations: str) -> Queue:
    """One to each, in this order; they are numbered from 0."""
    queue = Queue()
    for number, destination in enumerate(destinations):
        queue.put(Entry(float(number), iden(number), destination))
    return queue


def waiting(since: float = NOW, position: int = 1) -> LeaseStanding:
    return LeaseStanding(Standing.WAITING, since, shortage=FULL, position=position)


def at_hosta(
    leases: dict[int, LeaseStanding] | None = None,
    by: Limits | None = None,
    account: Account | None = None,
    **rest,
) -> Situation:
    """hosta with 15 usable workers and two outgoing slots; every peer has a pmigd."""
    return Situation(
        host="hosta",
        account=account or Account(),
        limits=by or limits(20, 15, outgoing=2, incoming=2),
        leases={iden(number): lease for number, lease in (leases or {}).items()},
        **{"doors": {name: Door(leases=True) for name in PEERS}, "now": NOW} | rest,
    )


def numbers(idens) -> list[int]:
    return [int(each) for each in idens]


@st.composite
def situations(draw) -> tuple[Queue, Situation]:
    """Any queue in any situation that the daemon can be in."""
    queue = Queue()
    leases: dict[MigrationId, LeaseStanding] = {}
    doors = {
        name: draw(
            st.sampled_from([Door(leases=True), Door(), Door(True, AWAY, "no answer")]),
        )
        for name in PEERS
    }
    for number in range(draw(st.integers(0, 10))):
        destination = draw(st.sampled_from(PEERS))
        queue.put(Entry(float(draw(st.integers(0, 5))), iden(number), destination))
        standing = draw(st.none() | st.sampled_from(Standing))
        if doors[destination].leases and standing is not None:
            told = standing is Standing.WAITING and draw(st.booleans())
            since = NOW - draw(st.sampled_from([0.0, PATIENCE_S - 1, PATIENCE_S, 10 * PATIENCE_S]))
            position = draw(st.integers(1, 9)) if told else 0
            shortage = FULL if told else None
            leases[iden(number)] = LeaseStanding(
                standing, since, shortage=shortage, position=position
            )
    account = Account()
    for number in range(draw(st.integers(0, 6))):
        held = Held(draw(st.sampled_from(Direction)), draw(st.sampled_from(Phase)))
        coming = held.direction is Direction.INCOMING and draw(st.booleans())
        account.put(key_of(iden(number)) if coming else f"run{number}", held)
    workers, usable = draw(st.sampled_from([(3, 1), (5, 2), (20, 15)]))
    return queue, Situation(
        host="hosta",
        account=account,
        limits=limits(workers, usable, outgoing=draw(st.integers(1, 8))),
        doors=doors,
        leases=leases,
        blocked=draw(st.sampled_from([None, None, None, "libvirt", "journal"])),
        window=draw(st.integers(1, 4)),
        now=NOW,
    )


def room(s: Situation) -> int:
    """How many more may leave, found by trying."""
    account = s.account.copy()
    number = 0
    while short_of(account, s.limits, s.host, LEAVING) is None:
        account.put(f"try{number}", LEAVING)
        number += 1
    return number


@examples(100)
@given(situations())
def test_what_is_decided_keeps_every_promise(drawn) -> None:
    queue, s = drawn
    made = decide(queue, s)
    order = list(queue)
    place = {entry.id: number for number, entry in enumerate(order)}
    entries = {entry.id: entry for entry in order}
    free = room(s)

    # Never above a limit, a kept slot included, and always in the order of the queue.
    assert len(made.start) + len(made.ask) <= free
    for some in (made.start, made.ask):
        assert [place[each] for each in some] == sorted(place[each] for each in some)
    assert not set(made.start) & set(made.ask)

    # Nothing without the destination's word, nothing while something is missing.
    for each in made.start:
        assert s.doors[entries[each].destination].shut is None
        if s.doors[entries[each].destination].leases:
            assert s.leases[each].standing is Standing.GRANTED
    for each in made.ask:
        door = s.doors[entries[each].destination]
        assert door.leases
        assert door.shut is None
        assert each not in s.leases or s.leases[each].standing is Standing.STEPPED_BACK
    if s.blocked is not None:
        assert made.start == made.ask == ()

    # A lease is used, kept for a moment or given back; nothing else is given back.
    held = {each for each, lease in s.leases.items() if lease.standing is Standing.GRANTED}
    assert set(made.step_back) <= held - set(made.start)
    kept = held - set(made.start) - set(made.step_back)
    if kept:
        short = short_of(s.account, s.limits, s.host, LEAVING)
        assert short is not None
        assert short.resource in SHARED
        assert s.blocked is None
        assert any(key_of(each) < key for each in kept for key, _ in s.account)

    # Where so many wait as may, nobody behind them asks.
    for destination in PEERS:
        line = [entry.id for entry in queue.to(destination)]
        told = [
            number
            for number, each in enumerate(line)
            if each in s.leases and s.leases[each].standing is Standing.WAITING
        ]
        if len(told) >= s.window and s.doors[destination].leases:
            behind = set(line[told[s.window - 1] :])
            assert not behind & set(made.ask)


@examples(100)
@given(situations())
def test_every_queued_one_is_told_the_one_resource_it_waits_for(drawn) -> None:
    queue, s = drawn
    begun = set(decide(queue, s).start)
    for number, entry in enumerate(queue, start=1):
        found = why_waiting(queue, entry, s, T0)
        door = s.doors[entry.destination]
        assert found.resource
        assert found.host
        assert found.position >= 1
        assert found.since == T0
        assert found.detail == door.detail
        lease = s.leases.get(entry.id)
        if s.blocked is not None:
            assert (found.resource, found.host) == (s.blocked, "hosta")
        elif door.shut is not None:
            assert (found.resource, found.host) == ("peer", "hostc")
        elif lease is not None and lease.standing is Standing.WAITING and lease.shortage:
            assert (found.host, found.position) == ("hostb", lease.position)
        elif entry.id not in begun:
            # Full, or behind another, or its destination is being asked.
            unanswered = door.leases and (lease is None or lease.shortage is None)
            assert found.used + 1 > found.limit or number > 1 or unanswered
            assert found.position == number


def test_starts_in_turn_as_long_as_there_are_slots() -> None:
    queue = queue_of("hostb", "hostc", "hostb")
    plain = at_hosta(doors={})
    assert decide(queue, plain) == Decision(start=(iden(0), iden(1)))
    account = Account()
    account.put("run", LEAVING)
    assert numbers(decide(queue, replace(plain, account=account)).start) == [0]
    assert "0000" not in dict(account)
    assert decide(queue, replace(plain, blocked="journal")) == Decision()
    found = why_waiting(queue, Entry(2.0, iden(2), "hostb"), plain, T0)
    assert (found.resource, found.host, found.limit, found.position) == (
        "outgoing_slot",
        "hosta",
        2,
        3,
    )


def test_a_plain_host_gets_only_so_many_logins_by_ssh_at_once() -> None:
    queue = Queue()
    for number, (to, login) in enumerate([("hostb", "ssh")] * 3 + [("hostc", "ssh")]):
        queue.put(Entry(float(number), iden(number), to, login))
    few = limits(20, 15, outgoing=9, incoming=9)
    few = replace(few, usable={**few.usable, Resource.SSH_STARTUP: 2})
    s = at_hosta(by=few, doors={})
    assert numbers(decide(queue, s).start) == [0, 1, 3]
    account = Account()
    for number in (0, 1):
        queue.drop(iden(number))
        account.put(iden(number), Held(Direction.OUTGOING, login="ssh", to="hostb"))
    third = queue.get(iden(2))
    assert third is not None
    found = why_waiting(queue, third, replace(s, account=account), T0)
    assert (found.resource, found.host, found.used, found.limit) == ("ssh_startup", "hostb", 2, 2)


def test_asks_first_and_starts_with_the_lease() -> None:
    queue = queue_of("hostb", "hostc", "hostb")
    assert decide(queue, at_hosta()) == Decision(ask=(iden(0), iden(1)))
    asking = LeaseStanding(Standing.ASKING, NOW)
    assert decide(queue, at_hosta({0: asking, 1: asking})) == Decision()
    one = at_hosta({0: LeaseStanding(Standing.GRANTED, NOW), 1: asking})
    assert decide(queue, one) == Decision(start=(iden(0),))


def test_whoever_waits_elsewhere_is_passed_until_its_patience_is_over() -> None:
    queue = queue_of("hostb", "hostb", "hostc", "hostc", "hostd")
    passed = decide(queue, at_hosta({0: waiting()}))
    assert numbers(passed.ask) == [2, 3]
    patient = at_hosta({0: waiting(NOW - PATIENCE_S)})
    assert numbers(decide(queue, patient).ask) == [2]
    one_slot = replace(patient, limits=limits(20, 15))
    assert decide(queue, one_slot) == Decision()
    # The slot that was kept is there when the grant comes.
    ready = replace(one_slot, leases={iden(0): LeaseStanding(Standing.GRANTED, NOW - PATIENCE_S)})
    assert decide(queue, ready) == Decision(start=(iden(0),))


def test_so_many_wait_at_one_destination_and_no_more() -> None:
    queue = queue_of(*["hostb"] * 6, "hostc")
    assert numbers(decide(queue, at_hosta({0: waiting()})).ask) == [6]
    assert numbers(decide(queue, at_hosta({0: waiting()}, window=2)).ask) == [1, 2]
    two = at_hosta({0: waiting(), 1: waiting()}, window=2)
    assert numbers(decide(queue, two).ask) == [6]


def test_a_lease_without_a_slot_is_given_back_and_asked_for_again() -> None:
    queue = queue_of("hostb", "hostc")
    account = Account()
    account.put("run1", LEAVING)
    account.put("run2", LEAVING)
    granted = LeaseStanding(Standing.GRANTED, NOW)
    full = at_hosta({1: granted}, account=account)
    assert decide(queue, full) == Decision(step_back=(iden(1),))
    account.drop("run1")
    # The first in turn asks with the only slot.
    assert decide(queue, full) == Decision(ask=(iden(0),), step_back=(iden(1),))
    back = at_hosta({0: waiting(), 1: LeaseStanding(Standing.STEPPED_BACK, NOW)}, account=account)
    assert decide(queue, back) == Decision(ask=(iden(1),))


@pytest.mark.parametrize("blocked", [None, "libvirt"])
def test_nothing_goes_to_a_destination_that_is_shut(blocked: str | None) -> None:
    queue = queue_of("hostc", "hostb", "hostc")
    doors = {"hostb": Door(leases=True), "hostc": Door(True, AWAY, "no answer for 7 s")}
    s = at_hosta({0: LeaseStanding(Standing.GRANTED, NOW)}, doors=doors, blocked=blocked)
    made = decide(queue, s)
    assert made == Decision(ask=() if blocked else (iden(1),), step_back=(iden(0),))
    found = why_waiting(queue, Entry(2.0, iden(2), "hostc"), s, T0)
    assert found.resource == (blocked or "peer")
    assert (found.detail, found.position) == ("no answer for 7 s", 3)


@pytest.mark.parametrize(("mine", "theirs"), [(1, 2), (2, 1)])
def test_of_two_that_have_given_each_other_their_last_one_keeps_it(mine, theirs) -> None:
    """Each side sees both leases; exactly one of the two steps back."""
    single = limits(3, 1)
    kept = []
    for own, other, host, peer in ((mine, theirs, "hosta", "hostb"), (theirs, mine, "hostb", "a")):
        queue = Queue()
        queue.put(Entry(0.0, iden(own), peer))
        account = Account()
        account.put(key_of(iden(other)), Held(Direction.INCOMING))
        s = replace(
            at_hosta({own: LeaseStanding(Standing.GRANTED, NOW)}, by=single, account=account),
            host=host,
            doors={peer: Door(leases=True)},
        )
        made = decide(queue, s)
        assert made.start == ()
        kept += [] if made.step_back else [own]
        # What has come in and is under way leaves room again: the one that is kept starts.
        account.put(key_of(iden(other)), Held(Direction.INCOMING, Phase.TRANSFER))
        assert numbers(decide(queue, s).start) == [own]
    assert kept == [min(mine, theirs)]


def test_a_slot_of_its_own_is_not_waited_for_with_a_lease() -> None:
    """Long migrations hold the slots; the destination's must not idle as long."""
    queue = queue_of("hostb")
    account = Account()
    account.put("run", LEAVING)
    account.put(key_of("9999"), Held(Direction.INCOMING))
    s = at_hosta({0: LeaseStanding(Standing.GRANTED, NOW)}, by=limits(20, 15), account=account)
    assert decide(queue, s) == Decision(step_back=(iden(0),))


def test_the_destinations_reason_is_passed_on_and_those_behind_share_it() -> None:
    queue = queue_of("hostb", "hostb", "hostc")
    s = at_hosta({0: waiting(position=4)})
    first, second = (why_waiting(queue, entry, s, T0) for entry in queue.to("hostb"))
    assert (first.resource, first.host, first.used, first.limit) == ("incoming_slot", "hostb", 1, 1)
    assert first.position == 4
    assert (second.resource, second.host) == ("incoming_slot", "hostb")


def test_guests_that_hang_leave_fewer_workers_and_are_named_to_who_waits_for_one() -> None:
    queue = queue_of("hostx")
    hung = {"web1": 2}
    free = replace(limits(20, 3, outgoing=9), hung=hung, others={Resource.WORKER: 2})
    assert decide(queue, at_hosta(by=free)).start == (iden(0),)
    full = replace(free, hung=hung | {"web2": 1}, others={Resource.WORKER: 3})
    s = at_hosta(by=full)
    assert decide(queue, s) == Decision()
    found = why_waiting(queue, queue.first_to("hostx"), s, T0)
    assert (found.resource, found.used, found.limit) == (Resource.WORKER, 3, 3)
    assert found.detail.endswith("guests that do not answer: web1, web2")
    elsewhere = at_hosta({0: waiting()}, by=full, doors={"hostx": Door(leases=True)})
    assert why_waiting(queue, queue.first_to("hostx"), elsewhere, T0).detail == ""


def test_an_old_reason_of_the_destination_counts_no_more_once_the_lease_was_there() -> None:
    queue = queue_of("hostb")
    account = Account()
    account.put("run", LEAVING)
    back = LeaseStanding(Standing.STEPPED_BACK, NOW, shortage=FULL, position=0)
    s = at_hosta({0: back}, by=limits(20, 15), account=account)
    found = why_waiting(queue, Entry(0.0, iden(0), "hostb"), s, T0)
    assert (found.resource, found.host, found.used, found.limit, found.position) == (
        Resource.OUTGOING_SLOT,
        "hosta",
        1,
        1,
        1,
    )


@pytest.mark.parametrize("others", [("hostb",), ("hostc",), PEERS])
def test_nobody_is_passed_for_ever(others) -> None:
    """One slot, and two more urgent ones come whenever it is free: 202 of them go first."""
    queue = Queue()
    queue.put(Entry(0.0, iden(9999), "hostb"))
    s = at_hosta(by=limits(20, 15), doors={})
    started: list[MigrationId] = []
    while queue.get(iden(9999)) is not None:
        minute = len(started)
        assert minute <= 202
        for number in (2 * minute, 2 * minute + 1):
            turn = 60.0 * (minute - 100)  # of priority 100, while the first one has 0
            queue.put(Entry(turn, iden(number), others[number % len(others)]))
        (first,) = decide(queue, s).start
        queue.drop(first)
        started.append(first)
    assert started == [*(iden(number) for number in range(202)), iden(9999)]
