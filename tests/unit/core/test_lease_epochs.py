"""Messages of a source that restarts, whose clock jumps, whose messages are late, twice or lost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pmigd.core.holdings import Account, Phase
from pmigd.core.leases import Book, Lease
from pmigd.core.model import Domain
from pmigd.core.problem import Code, Refused
from tests.support.examples import examples

HUGE = 2**63 - 1
IDS = ("1", "2", "3")


def lease(iden: str, epoch: str, seq: int, phase: Phase = Phase.PREPARING) -> Lease:
    return Lease(iden, "hosta", Domain(f"guest{iden}", iden), phase, epoch=epoch, seq=seq)


def ids(book: Book) -> set[str]:
    return {each.id for each in book}


def code_of(book: Book, epoch: str, seq: int) -> Code | None:
    try:
        book.report("hosta", seq, [], 0.0, epoch=epoch)
    except Refused as refused:
        return refused.problem.code
    return None


def test_a_start_whose_clock_was_set_back_is_heard() -> None:
    book = Book(Account())
    book.greet("hosta", "ahead")
    book.report("hosta", 10**15, [lease("1", "ahead", 10**15)], 0.0, epoch="ahead")
    book.greet("hosta", "right")
    book.report("hosta", 1, [lease("2", "right", 1)], 0.0, epoch="right")
    assert ids(book) == {"2"}
    book.ask(lease("3", "right", 2, Phase.READY), 0.0)
    assert ids(book) == {"2", "3"}


@pytest.mark.parametrize("epoch", ["evil", ""])
def test_the_highest_number_shuts_out_nobody_for_good(epoch: str) -> None:
    book = Book(Account())
    book.greet("hosta", "honest")
    book.report("hosta", 5, [lease("1", "honest", 5)], 0.0, epoch="honest")
    book.greet("hosta", epoch)
    book.report("hosta", HUGE, [lease("9", epoch, HUGE)], 0.0, epoch=epoch)
    assert code_of(book, "honest", 6) is Code.PEER_UNGREETED
    book.greet("hosta", "honest")  # an old one does not come back, by whomever it is said
    assert code_of(book, "honest", 6) is Code.PEER_UNGREETED
    book.greet("hosta", "anew")
    book.report("hosta", 7, [lease("1", "anew", 7)], 0.0, epoch="anew")
    assert ids(book) == {"1"}


def test_a_release_without_epochs_goes_on_as_it_did() -> None:
    book = Book(Account())
    book.greet("hosta", "")
    book.report("hosta", 7, [lease("1", "", 7)], 0.0)
    book.report("hosta", 6, [], 0.0)
    assert ids(book) == {"1"}
    book.greet("hosta", "new")  # it was upgraded
    book.report("hosta", 1, [lease("2", "new", 1)], 0.0, epoch="new")
    assert ids(book) == {"2"}
    assert code_of(book, "", 8) is Code.PEER_UNGREETED
    book.greet("hosta", "")  # and set back
    book.report("hosta", 9, [lease("3", "", 9)], 0.0)
    assert ids(book) == {"3"}


def test_what_a_restarted_destination_has_from_its_journal_is_older_than_any_word() -> None:
    book = Book(Account())
    book.load([lease("1", "before", HUGE), lease("2", "before", HUGE)], 0.0)
    book.report("hosta", 1, [lease("2", "after", 1, Phase.TRANSFER)], 0.0, epoch="after")
    assert ids(book) == {"2"}
    found = book.get("2")
    assert found is not None
    assert (found.phase, found.epoch, found.seq) == (Phase.TRANSFER, "after", 1)


@dataclass(frozen=True)
class Said:
    """A message on its way: a greeting, an ask for one lease, or a report of all."""

    kind: str
    epoch: str
    seq: int = 0
    leases: frozenset[str] = frozenset()


class Source(RuleBasedStateMachine):
    """One source and one book; the network keeps every message for as long as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(Account())
        self.epochs = 0
        self.clock = 1000
        self.flying: list[Said] = []
        self.start(0)

    @rule(step=st.sampled_from([0, 1, 10_000, -10_000, -1_000_000]))
    def start(self, step: int) -> None:
        """It starts (again), with its clock where it is now; nothing is said without a greeting."""
        self.clock = max(1, self.clock + step)
        self.seq = self.clock
        self.greet()

    def greet(self) -> None:
        self.epochs += 1
        self.epoch = f"e{self.epochs}"
        said = Said("greet", self.epoch)
        self.hear(said)
        self.flying.append(said)  # said twice: once answered, once late
        self.told: frozenset[str] | None = None

    def hear(self, said: Said) -> None:
        if said.kind == "greet":
            self.book.greet("hosta", said.epoch)
            return
        found = [lease(iden, said.epoch, said.seq) for iden in sorted(said.leases)]
        if said.kind == "report":
            self.book.report("hosta", said.seq, found, 0.0, epoch=said.epoch)
        else:
            self.book.ask(replace(found[0], phase=Phase.READY), 0.0)

    def say(self, kind: str, leases: frozenset[str]) -> None:
        self.seq += 1
        said = Said(kind, self.epoch, self.seq, leases)
        try:
            self.hear(said)
        except Refused as refused:
            if refused.problem.code is Code.PEER_UNGREETED:
                self.greet()
                said = replace(said, epoch=self.epoch)
                self.hear(said)  # never twice in a row
            else:
                raise
        self.flying.append(said)
        if kind == "report":
            self.told = leases
        elif self.told is not None:
            self.told |= leases

    @rule(leases=st.frozensets(st.sampled_from(IDS)))
    def report(self, leases: frozenset[str]) -> None:
        self.say("report", leases)

    @rule(iden=st.sampled_from(IDS))
    def ask(self, iden: str) -> None:
        self.say("ask", frozenset({iden}))

    @rule(leases=st.frozensets(st.sampled_from(IDS)))
    def send_off(self, leases: frozenset[str]) -> None:
        """A report that is not heard for now, and whose source does not know that."""
        self.seq += 1
        self.flying.append(Said("report", self.epoch, self.seq, leases))
        self.told = None

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 50), again=st.booleans())
    def come_late(self, index: int, again: bool) -> None:
        index %= len(self.flying)
        said = self.flying[index] if again else self.flying.pop(index)
        newest = said.epoch == self.epoch
        before = ids(self.book)
        try:
            self.hear(said)
        except Refused:
            assert ids(self.book) == before
        else:
            if said.kind != "greet" and not newest:
                raise AssertionError(f"{said} was heard, though {self.epoch} had greeted since")

    @rule()
    def somebody_else_has_its_certificate(self) -> None:
        self.epochs += 1
        self.book.greet("hosta", f"evil{self.epochs}")
        self.book.report("hosta", HUGE, [], 0.0, epoch=f"evil{self.epochs}")
        self.told = None

    @rule()
    def the_destination_restarts(self) -> None:
        """With what its journal has. Its connections, and all that is on them, are gone."""
        kept = [each for each in self.book if each.granted]
        self.book = Book(Account())
        self.book.load(kept, 0.0)
        self.flying.clear()
        self.told = None

    @invariant()
    def nothing_late_undoes_what_was_said_last(self) -> None:
        if self.told is not None:
            assert ids(self.book) == self.told

    def teardown(self) -> None:
        """One word of its source makes the book true, whatever was before."""
        self.say("report", frozenset({"1"}))
        assert ids(self.book) == {"1"}


Source.TestCase.settings = examples(150, stateful_step_count=30)
TestSource = Source.TestCase
