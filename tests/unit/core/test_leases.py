"""The leases that a host gives (pmigd.core.leases)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pmigd.core.holdings import Account, Held, Limits, Phase, Resource
from pmigd.core.leases import MAX_WAITING, TTL_S, Book, Lease, is_lease, key_of
from pmigd.core.model import Direction, Domain
from pmigd.core.problem import Code, Refused
from pmigd.core.queue import AGE_S_PER_POINT
from tests.support.build import assert_same, limits
from tests.support.examples import examples

ROOMY = limits(workers=20, usable=15, incoming=8, preparing=8)
ONE = limits(workers=20, usable=15, incoming=1)


def lease(iden: str, seq: int, phase: Phase = Phase.READY, peer: str = "hosta", **fields) -> Lease:
    return Lease(iden, peer, Domain(f"guest{iden}", f"uuid{iden}"), phase, seq=seq, **fields)


def opened(*leases: Lease, by: Limits = ROOMY, now: float = 0.0) -> tuple[Book, Account]:
    """A book in which these were asked for and, as far as they fit, granted."""
    account = Account()
    book = Book(account)
    for each in leases:
        book.ask(each, now)
    book.grant(by, "hostb")
    return book, account


def granted(book: Book) -> list[str]:
    return sorted(each.id for each in book if each.granted)


def code_of(book: Book, wanted: Lease) -> Code | None:
    try:
        book.ask(wanted, 0.0)
    except Refused as refused:
        return refused.problem.code
    return None


def test_a_grant_is_in_the_account_at_once_and_only_once() -> None:
    book, account = opened(lease("1", 1, ports=2, login="ssh"))
    assert dict(account) == {
        key_of("1"): Held(Direction.INCOMING, Phase.READY, ports=2, login="ssh")
    }
    assert is_lease(key_of("1"))
    assert not is_lease("0192e4a0-0000-7000-8000-000000000001")
    assert book.grant(ROOMY, "hostb") == []
    book.drop("1")
    book.drop("1")
    assert_same(account, Account())


@given(st.lists(st.integers(1, 9), max_size=6))
def test_an_ask_that_is_repeated_or_late_changes_nothing_but_the_sign_of_life(seqs) -> None:
    book, account = opened(lease("1", 9, Phase.PREPARING))
    book.report("hosta", 10, [lease("1", 10, Phase.TRANSFER)], 1.0)
    before = book.get("1")
    assert before is not None
    for seq in seqs:
        book.ask(lease("1", seq, Phase.READY, priority=99, ports=2), 2.0)
        assert book.get("1") == replace(before, renewed=2.0)
        assert dict(account) == {key_of("1"): Held(Direction.INCOMING, Phase.TRANSFER)}
        assert book.grant(ROOMY, "hostb") == []


def test_the_same_ask_twice_has_one_place_since_the_first() -> None:
    book, _ = opened(lease("1", 1), lease("2", 2), by=ONE)
    book.ask(lease("2", 2), 50.0)
    again = book.get("2")
    assert again is not None
    assert (again.since, again.renewed, again.granted) == (0.0, 50.0, False)
    assert len(list(book)) == 2


def test_what_was_given_back_cannot_be_had_by_an_old_ask() -> None:
    book, account = opened(lease("1", 1))
    assert [each.id for each in book.report("hosta", 5, [], 1.0)] == ["1"]
    assert code_of(book, lease("1", 1)) is Code.WRONG_STATE
    assert code_of(book, lease("1", 4)) is Code.WRONG_STATE
    assert list(book) == []
    assert_same(account, Account())
    assert code_of(book, lease("1", 6)) is None
    # Another peer's numbers say nothing about this one's.
    assert code_of(book, lease("2", 1, peer="hostc")) is None


def test_another_hosts_lease_is_out_of_reach() -> None:
    book, _ = opened(lease("1", 1))
    mine = book.get("1")
    assert code_of(book, lease("1", 99, Phase.NOT_READY, peer="hostc")) is Code.FORBIDDEN
    assert book.report("hostc", 99, [lease("1", 99, Phase.NOT_READY, peer="hostc")], 9.0) == []
    assert book.report("hostc", 100, [], 9.0) == []
    assert book.get("1") == mine


def test_nobody_grants_himself_a_lease() -> None:
    book, account = opened()
    book.ask(lease("1", 1, granted=True), 0.0)
    book.report("hosta", 2, [lease("1", 2), lease("2", 2, granted=True)], 0.0)
    assert granted(book) == []
    assert_same(account, Account())


def test_a_report_renews_gives_back_and_takes_up_what_runs() -> None:
    book, account = opened(lease("1", 1), lease("2", 2), lease("3", 3, peer="hostc"))
    back = book.report(
        "hosta", 4, [lease("1", 4, Phase.TRANSFER), lease("9", 4, Phase.POSTCOPY)], 20.0
    )
    assert [each.id for each in back] == ["2"]
    assert dict(account) == {
        key_of("1"): Held(Direction.INCOMING, Phase.TRANSFER),
        key_of("9"): Held(Direction.INCOMING, Phase.POSTCOPY),
        key_of("3"): Held(Direction.INCOMING, Phase.READY),
    }
    # Two were renewed; the third is silent.
    assert [each.id for each in book.expire(TTL_S + 1.0, lambda _: False)] == ["3"]


def test_an_overtaken_report_undoes_nothing() -> None:
    book, _ = opened(lease("1", 1))
    book.ask(lease("2", 3), 1.0)
    # Made before the second was asked for, and here after it.
    assert book.report("hosta", 2, [lease("1", 2)], 1.0) == []
    assert granted(book) == ["1"]
    assert book.get("2") is not None
    book.report("hosta", 8, [lease("1", 8, Phase.TRANSFER), lease("2", 8)], 2.0)
    late = [lease("1", 7, Phase.NOT_READY), lease("7", 7, Phase.PREPARING)]
    assert book.report("hosta", 7, late, 3.0) == []
    first, second = book.get("1"), book.get("2")
    assert first is not None
    assert second is not None
    assert (first.phase, first.granted, first.renewed) == (Phase.TRANSFER, True, 3.0)
    assert second.renewed == 2.0
    assert book.get("7") is None


def test_expiry_spares_what_is_coming_and_nothing_else() -> None:
    book, account = opened(lease("1", 1), lease("2", 2), lease("3", 3))
    book.take_back("3")
    assert book.expire(TTL_S, lambda _: False) == []
    over = book.expire(TTL_S + 0.1, lambda uuid: uuid in ("uuid1", "uuid3"))
    assert [each.id for each in over] == ["2", "3"]
    assert dict(account).keys() == {key_of("1")}
    assert [each.id for each in book.expire(TTL_S + 0.1, lambda _: False)] == ["1"]
    assert_same(account, Account())


def test_a_grant_is_taken_back_and_waits_at_its_old_place() -> None:
    book, account = opened(lease("1", 1), lease("2", 2), by=ONE)
    assert granted(book) == ["1"]
    book.take_back("1")
    book.take_back("none")
    assert_same(account, Account())
    assert [each.id for each in book.grant(ONE, "hostb")] == ["1"]


def test_whoever_is_not_ready_keeps_its_place_and_is_passed() -> None:
    book, account = opened(lease("1", 1), lease("2", 2), by=ONE)
    book.report("hosta", 3, [lease("1", 3, Phase.NOT_READY), lease("2", 3)], 10.0)
    assert_same(account, Account())
    assert book.why_waiting(ONE, "hostb").keys() == {"2"}
    assert [each.id for each in book.grant(ONE, "hostb")] == ["2"]
    book.ask(lease("1", 4), 20.0)
    book.ask(lease("3", 5), 20.0)
    book.drop("2")
    assert [each.id for each in book.grant(ONE, "hostb")] == ["1"]


def test_one_peer_has_so_many_places_and_a_known_lease_needs_no_new_one() -> None:
    book, _ = opened()
    for number in range(MAX_WAITING):
        book.ask(lease(str(number), number), 0.0)
    assert code_of(book, lease("more", MAX_WAITING)) is Code.QUEUE_FULL
    assert code_of(book, lease("0", MAX_WAITING)) is None
    assert code_of(book, lease("other", 1, peer="hostc")) is None
    book.grant(ONE, "hostb")
    assert code_of(book, lease("more", MAX_WAITING)) is None


def test_the_first_that_does_not_fit_blocks_the_rest() -> None:
    two_ports = replace(ROOMY, usable={**ROOMY.usable, Resource.MIGRATION_PORT: 2})
    book, _ = opened(lease("1", 1), lease("2", 2, ports=2), lease("3", 3), by=two_ports)
    assert granted(book) == ["1"]
    why = book.why_waiting(two_ports, "hostb")
    assert {iden: (x.resource, x.used, x.limit, n) for iden, (x, n) in why.items()} == {
        "2": ("migration_port", 1, 2, 1),
        "3": ("migration_port", 1, 2, 2),
    }
    book.drop("1")
    assert [each.id for each in book.grant(two_ports, "hostb")] == ["2"]


def test_one_that_can_never_fit_does_not_hold_up_the_others() -> None:
    one_port = replace(ONE, usable={**ONE.usable, Resource.MIGRATION_PORT: 1})
    book, _ = opened(lease("1", 1, ports=2), lease("2", 2), lease("3", 3), by=one_port)
    assert granted(book) == ["2"]
    why = book.why_waiting(one_port, "hostb")
    assert why["1"][0].resource != ""
    assert (why["3"][0].resource, why["3"][1]) == ("incoming_slot", 2)
    book.drop("2")
    assert why.keys() == {"1", "3"}
    assert book.why_waiting(one_port, "hostb")["1"][0].resource == "migration_port"


@examples(60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 100),
            st.integers(0, 900),
            st.integers(0, 2),
            st.sampled_from(["tls", "ssh"]),
            st.sampled_from([Phase.READY, Phase.NOT_READY]),
        ),
        max_size=12,
    ),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_grants_are_in_turn_and_every_other_one_has_a_reason(asked, incoming, ports) -> None:
    by = limits(workers=9, usable=4, incoming=incoming)
    by = replace(by, usable={**by.usable, Resource.MIGRATION_PORT: ports})
    account = Account()
    book = Book(account)
    asked.sort(key=lambda each: each[1])
    for number, (priority, since, wants, login, phase) in enumerate(asked):
        wanted = lease(f"{number:02}", number, phase, priority=priority, ports=wants, login=login)
        book.ask(wanted, float(since))
    ready = sorted(
        (each for each in book if each.phase is Phase.READY),
        key=lambda each: (each.since - AGE_S_PER_POINT * each.priority, each.id),
    )
    fit = [each for each in ready if each.ports <= ports]
    given = [each.id for each in book.grant(by, "hostb")]
    assert given == [each.id for each in fit[: len(given)]]
    assert book.grant(by, "hostb") == []
    why = book.why_waiting(by, "hostb")
    waiting = [each.id for each in ready if each.id not in given]
    assert [(iden, position) for iden, (_, position) in why.items()] == [
        (iden, position) for position, iden in enumerate(waiting, start=1)
    ]
    for shortage, _ in why.values():
        assert shortage.host == "hostb"
        assert shortage.used + max(1, ports) > shortage.limit - 1


def test_after_a_restart_what_is_in_the_journal_has_time_to_be_renewed() -> None:
    before, _ = opened(lease("1", 7, Phase.TRANSFER), lease("2", 8))
    account = Account()
    book = Book(account)
    book.load(list(before), 1000.0)
    assert granted(book) == ["1", "2"]
    assert account.used(Resource.WORKER) == 1
    assert book.expire(1000.0 + TTL_S, lambda _: False) == []
    # Said in the life before, and late.
    assert book.report("hosta", 6, [], 1001.0) == []
    assert [each.id for each in book.report("hosta", 9, [lease("1", 9)], 1002.0)] == ["2"]
    found = book.granted_for("uuid1")
    assert found is not None
    assert found.id == "1"
    assert book.granted_for("uuid2") is None
