"""Where the guest is, from what both ends say and what the call returned."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from pmigd.core.model import UNASKED, Because, Call, Direction, Evidence, Job, Power, View
from pmigd.core.problem import Code
from pmigd.core.verdict import (
    Truth,
    Verdict,
    judge,
    judge_external,
    judge_offline,
    keeps_from_recovery,
    outdated,
    words_of,
)
from tests.support.build import (
    ABSENT,
    ARRIVED,
    ASLEEP,
    CRASHED,
    DESTROYED,
    INCOMING,
    LEFT,
    LEFT_PAUSED,
    MIGRATING,
    POSTCOPY_BROKEN,
    POSTCOPY_BROKEN_THERE,
    POSTCOPY_HERE,
    POSTCOPY_THERE,
    RUNS,
    RUNS_AGAIN,
    SHUT_DOWN,
    SILENT,
    STARTING,
    SWITCHING,
    USER_PAUSED,
)

NOTHING = Evidence()
SWITCHED = Evidence(switched=True)
WENT = Evidence(switched=True, left=True)
BLIND = Evidence(blind=True)
ENDED = Evidence(ended=True)


@pytest.mark.parametrize(
    ("evidence", "source", "destination", "outcome", "code"),
    [
        # The guest is gone here: only the destination can say that it arrived.
        (WENT, LEFT, ARRIVED, Truth.ARRIVED, None),
        (WENT, ABSENT, ARRIVED, Truth.ARRIVED, None),
        (NOTHING, ABSENT, RUNS, Truth.ARRIVED, None),
        (WENT, ABSENT, USER_PAUSED, Truth.ARRIVED, None),
        (WENT, ABSENT, SILENT, Truth.UNKNOWN, Code.DESTINATION_SILENT),
        # Nothing says that it ever arrived.
        (SWITCHED, ABSENT, ABSENT, Truth.UNKNOWN, Code.GUEST_NOT_FOUND),
        (SWITCHED, ABSENT, SHUT_DOWN, Truth.UNKNOWN, Code.GUEST_NOT_FOUND),
        (WENT, LEFT, INCOMING, Truth.SETTLING, Code.GUEST_NOT_FOUND),
        (NOTHING, ABSENT, ABSENT, Truth.UNKNOWN, Code.GUEST_NOT_FOUND),
        (WENT, LEFT, POSTCOPY_BROKEN_THERE, Truth.SETTLING, Code.GUEST_NOT_FOUND),
        # The guest ended by itself.
        (ENDED, ABSENT, ABSENT, Truth.ENDED, Code.GUEST_STOPPED),
        (NOTHING, SHUT_DOWN, ABSENT, Truth.ENDED, Code.GUEST_STOPPED),
        (SWITCHED, SHUT_DOWN, ABSENT, Truth.UNKNOWN, Code.GUEST_NOT_FOUND),
        # The guest is here and was never stopped for the switch-over: no other copy can run.
        (NOTHING, RUNS, ABSENT, Truth.STAYED, None),
        (NOTHING, RUNS, SILENT, Truth.STAYED, None),
        (BLIND, RUNS, SILENT, Truth.STAYED, None),
        (NOTHING, USER_PAUSED, ABSENT, Truth.STAYED, None),
        # It was stopped and runs again: the destination must answer.
        (SWITCHED, RUNS, SILENT, Truth.UNKNOWN, Code.DESTINATION_SILENT),
        (NOTHING, RUNS_AGAIN, SILENT, Truth.UNKNOWN, Code.DESTINATION_SILENT),
        (BLIND, RUNS_AGAIN, SILENT, Truth.UNKNOWN, Code.DESTINATION_SILENT),
        (SWITCHED, RUNS_AGAIN, ABSENT, Truth.STAYED, None),
        (SWITCHED, RUNS_AGAIN, INCOMING, Truth.SETTLING, Code.TWO_COPIES),
        (
            Evidence(paused_before=True),
            USER_PAUSED,
            SILENT,
            Truth.UNKNOWN,
            Code.DESTINATION_SILENT,
        ),
        # The reason of an earlier migration says nothing about this one ...
        (
            Evidence(because_before=Because.MIGRATION_CANCELED),
            RUNS_AGAIN,
            SILENT,
            Truth.STAYED,
            None,
        ),
        # ... unless events may have been missed.
        (
            Evidence(because_before=Because.MIGRATION_CANCELED, blind=True),
            RUNS_AGAIN,
            SILENT,
            Truth.UNKNOWN,
            Code.DESTINATION_SILENT,
        ),
        # Two copies that live are an alarm, whatever anybody reported.
        (NOTHING, RUNS, RUNS, Truth.UNKNOWN, Code.TWO_COPIES),
        (WENT, RUNS_AGAIN, ARRIVED, Truth.UNKNOWN, Code.TWO_COPIES),
        # A paused copy is left here.
        (SWITCHED, LEFT_PAUSED, ARRIVED, Truth.UNKNOWN, Code.SOURCE_LEFT_PAUSED),
        (SWITCHED, LEFT_PAUSED, SILENT, Truth.UNKNOWN, Code.DESTINATION_SILENT),
        (SWITCHED, LEFT_PAUSED, INCOMING, Truth.SETTLING, Code.SOURCE_LEFT_PAUSED),
        # libvirt is still at it.
        (NOTHING, MIGRATING, INCOMING, Truth.GOES_ON, None),
        (SWITCHED, SWITCHING, INCOMING, Truth.GOES_ON, None),
        (SWITCHED, POSTCOPY_HERE, ARRIVED, Truth.GOES_ON, None),
        (SWITCHED, POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, Truth.POSTCOPY_PAUSED, None),
        # This host's libvirt does not answer.
        (NOTHING, SILENT, ARRIVED, Truth.UNKNOWN, Code.LIBVIRT_UNAVAILABLE),
    ],
)
def test_both_ends_settle_it_or_nobody_does(
    evidence: Evidence, source: View, destination: View, outcome: Truth, code: Code | None
) -> None:
    verdict = judge(evidence, Call.LOST, source, destination, suspended=False)
    assert verdict.outcome is outcome
    assert verdict.code is code
    assert not verdict.resume_source
    if outcome is Truth.ARRIVED:
        assert verdict.why == ""


ENDS_THERE = [SHUT_DOWN, DESTROYED, CRASHED, View(Power.SHUTOFF, Because.FAILED)]
NEW_THERE = Evidence(blind=True, unknown_there=True)


class TestArrivedAndNotThereAnyMore:
    """libvirt moved it; what became of it afterwards is another matter, and is told."""

    @pytest.mark.parametrize("destination", [*ENDS_THERE, View(Power.SHUTOFF)])
    @pytest.mark.parametrize(
        ("evidence", "call", "source"),
        [
            (NOTHING, Call.OK, ABSENT),
            (SWITCHED, Call.OK, LEFT),
            (WENT, Call.LOST, ABSENT),
            (WENT, Call.MADE, ABSENT),
            (BLIND, Call.LOST, LEFT),
        ],
    )
    def test_ended_there(self, evidence, call, source, destination) -> None:
        verdict = judge(evidence, call, source, destination, suspended=False)
        assert verdict == Verdict(
            Truth.ARRIVED, why=f"It has since ended there: {words_of(destination)}."
        )

    @pytest.mark.parametrize(
        ("destination", "told"),
        [
            (LEFT, "moved on from there"),
            (ABSENT, "does not have it any more"),
            (View(Power.OTHER, Because.CRASHED), "It is other (crashed) there now"),
        ],
    )
    def test_is_gone_from_there_or_broken(self, destination, told) -> None:
        verdict = judge(WENT, Call.OK, ABSENT, destination, suspended=False)
        assert verdict.outcome is Truth.ARRIVED
        assert told in verdict.why

    @pytest.mark.parametrize("destination", [SHUT_DOWN, DESTROYED, CRASHED, LEFT])
    def test_a_definition_that_is_new_there_proves_it_to_whoever_saw_nothing(
        self, destination
    ) -> None:
        verdict = judge(NEW_THERE, Call.LOST, ABSENT, destination, suspended=False)
        assert verdict.outcome is Truth.ARRIVED
        assert verdict.why

    @pytest.mark.parametrize(
        ("evidence", "destination"),
        [
            # It had the definition before, and that run may be an earlier one.
            (BLIND, DESTROYED),
            # Ended while it still came in.
            (NEW_THERE, View(Power.SHUTOFF, Because.FAILED)),
            # libvirt there was restarted since, and does not remember why.
            (NEW_THERE, View(Power.SHUTOFF)),
            (NEW_THERE, ABSENT),
        ],
    )
    def test_less_than_that_proves_nothing(self, evidence, destination) -> None:
        verdict = judge(evidence, Call.LOST, ABSENT, destination, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.GUEST_NOT_FOUND)

    def test_what_left_after_our_call_had_failed_may_have_gone_elsewhere(self) -> None:
        verdict = judge(WENT, Call.FAILED, ABSENT, ABSENT, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.GUEST_NOT_FOUND)

    def test_what_ended_here_did_not_arrive_because_it_was_switched_off_there_once(self) -> None:
        verdict = judge(NOTHING, Call.FAILED, DESTROYED, SHUT_DOWN, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.ENDED, Code.GUEST_STOPPED)


RAN = Evidence(run_before=7)
HOME = View(Power.RUNNING, Because.MIGRATED, run=9)
BOOTED = View(Power.RUNNING, run=9)


class TestHereAgain:
    """Another run of the guest is here than the one that was to be moved."""

    @pytest.mark.parametrize(
        ("evidence", "call", "source", "destination", "told"),
        [
            (WENT, Call.OK, HOME, LEFT, "moved back here"),
            (RAN, Call.OK, HOME, ABSENT, "moved back here"),
            (WENT, Call.LOST, BOOTED, DESTROYED, "started here again"),
            (replace(RAN, unknown_there=True), Call.LOST, HOME, LEFT, "moved back here"),
            (replace(RAN, unknown_there=True), Call.LOST, BOOTED, CRASHED, "started here again"),
        ],
    )
    def test_after_it_arrived_is_a_success_with_that_word(
        self, evidence, call, source, destination, told
    ) -> None:
        verdict = judge(evidence, call, source, destination, suspended=False)
        assert verdict.outcome is Truth.ARRIVED
        assert told in verdict.why

    @pytest.mark.parametrize(
        ("source", "destination", "told"),
        [(HOME, ABSENT, "moved back here"), (BOOTED, LEFT, "started here again")],
    )
    def test_if_nobody_saw_it_arrive_that_is_what_is_said(self, source, destination, told) -> None:
        evidence = replace(RAN, blind=True)
        verdict = judge(evidence, Call.LOST, source, destination, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.ENDED, Code.ANOTHER_RUN)
        assert told in verdict.why

    def test_while_the_destination_is_silent_or_busy_nothing_is_said(self) -> None:
        for evidence, call in ((RAN, Call.LOST), (NOTHING, Call.OK)):
            verdict = judge(evidence, call, BOOTED, SILENT, suspended=False)
            assert verdict.code is Code.DESTINATION_SILENT
        assert judge(RAN, Call.OK, HOME, RUNS, suspended=False).code is Code.TWO_COPIES
        assert judge(RAN, Call.OK, HOME, INCOMING, suspended=False).outcome is Truth.SETTLING

    def test_it_is_never_resumed_for_the_sake_of_the_old_one(self) -> None:
        paused = View(Power.PAUSED, Because.USER, run=9)
        assert not judge(RAN, Call.FAILED, paused, ABSENT, suspended=True).resume_source

    def test_one_that_is_about_to_come_here_is_left_alone(self) -> None:
        for coming in (INCOMING, STARTING, replace(USER_PAUSED, job=Job.INCOMING)):
            verdict = judge(SWITCHED, Call.FAILED, coming, ABSENT, suspended=True)
            assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.ANOTHER_RUN)
        for evidence, call in ((RAN, Call.FAILED), (NOTHING, Call.OK)):
            paused = replace(LEFT_PAUSED, run=9)
            verdict = judge(evidence, call, paused, ABSENT, suspended=False)
            assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.SOURCE_LEFT_PAUSED)
            assert not verdict.resume_source

    def test_the_same_run_or_an_unknown_one_simply_stayed(self) -> None:
        for before, now in ((7, 7), (0, 9), (7, 0)):
            evidence, source = Evidence(run_before=before), View(Power.RUNNING, run=now)
            verdict = judge(evidence, Call.FAILED, source, ABSENT, suspended=False)
            assert verdict.outcome is Truth.STAYED


class TestBrokenPostcopy:
    @pytest.mark.parametrize("destination", [POSTCOPY_THERE, POSTCOPY_BROKEN_THERE, SILENT])
    def test_noticed_by_the_source_is_paused(self, destination) -> None:
        verdict = judge(SWITCHED, Call.MADE, POSTCOPY_BROKEN, destination, suspended=False)
        assert verdict.outcome is Truth.POSTCOPY_PAUSED

    def test_noticed_by_the_destination_alone_is_paused_too(self) -> None:
        verdict = judge(SWITCHED, Call.MADE, POSTCOPY_HERE, POSTCOPY_BROKEN_THERE, suspended=False)
        assert verdict.outcome is Truth.POSTCOPY_PAUSED
        unbroken = judge(SWITCHED, Call.MADE, POSTCOPY_HERE, POSTCOPY_THERE, suspended=False)
        assert unbroken.outcome is Truth.GOES_ON

    @pytest.mark.parametrize("source", [CRASHED, DESTROYED, SHUT_DOWN])
    def test_without_the_sources_half_is_lost(self, source) -> None:
        evidence = Evidence(switched=True, postcopy=True)
        verdict = judge(evidence, Call.FAILED, source, POSTCOPY_BROKEN_THERE, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.ENDED, Code.POSTCOPY_LOST)
        # Until the destination notices, the last page may have been sent.
        verdict = judge(evidence, Call.FAILED, source, POSTCOPY_THERE, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.POSTCOPY_LOST)
        for gone in (ABSENT, CRASHED):
            verdict = judge(evidence, Call.FAILED, source, gone, suspended=False)
            assert (verdict.outcome, verdict.code) == (Truth.ENDED, Code.POSTCOPY_LOST)

    @pytest.mark.parametrize("destination", [ABSENT, CRASHED, DESTROYED])
    def test_without_the_destinations_half_is_lost(self, destination) -> None:
        verdict = judge(SWITCHED, Call.FAILED, POSTCOPY_BROKEN, destination, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.ENDED, Code.POSTCOPY_LOST)
        # It may have got the last page, and ended by itself: the source is about to say so.
        verdict = judge(SWITCHED, Call.MADE, POSTCOPY_HERE, destination, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.POSTCOPY_LOST)

    def test_is_not_called_lost_where_nobody_saw_how_the_source_ended(self) -> None:
        for evidence, call, source in (
            (BLIND, Call.LOST, ABSENT),
            (WENT, Call.LOST, DESTROYED),
            (SWITCHED, Call.OK, ABSENT),
        ):
            verdict = judge(evidence, call, source, POSTCOPY_BROKEN_THERE, suspended=False)
            assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.GUEST_NOT_FOUND)
            assert verdict.in_the_end is None

    def test_that_is_whole_at_the_destination_leaves_a_useless_half_here(self) -> None:
        verdict = judge(SWITCHED, Call.FAILED, POSTCOPY_BROKEN, ARRIVED, suspended=False)
        assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.SOURCE_LEFT_PAUSED)
        assert not verdict.resume_source


class TestRecovery:
    @pytest.mark.parametrize(
        ("call", "source", "destination", "keeps"),
        [
            (Call.FAILED, POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, ""),
            (Call.LOST, POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, ""),
            (Call.MADE, POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, "has not come back"),
            (Call.FAILED, POSTCOPY_BROKEN, POSTCOPY_THERE, "Only the source"),
            (Call.MADE, POSTCOPY_BROKEN, POSTCOPY_THERE, "Only the source"),
            (Call.FAILED, POSTCOPY_BROKEN, SILENT, "does not answer"),
            (Call.MADE, POSTCOPY_HERE, POSTCOPY_BROKEN_THERE, "Only the destination"),
        ],
    )
    def test_is_possible_when_both_ends_have_noticed_and_nobody_is_at_it(
        self, call, source, destination, keeps
    ) -> None:
        found = keeps_from_recovery(call, source, destination)
        assert keeps in found
        assert bool(found) is bool(keeps)


class TestLeftoverCopy:
    def test_at_the_destination_takes_nothing_from_the_truth_that_the_guest_stayed(self) -> None:
        for left in (STARTING, replace(STARTING, job=Job.NONE), LEFT_PAUSED):
            verdict = judge(NOTHING, Call.FAILED, RUNS, left, suspended=False)
            assert verdict.outcome is Truth.SETTLING
            assert verdict.in_the_end is not None
            assert verdict.in_the_end.outcome is Truth.STAYED
            assert "left at the destination" in verdict.in_the_end.why

    def test_that_libvirt_may_still_start_settles_nothing(self) -> None:
        assert judge(SWITCHED, Call.FAILED, RUNS, INCOMING, suspended=False).in_the_end is None

    @pytest.mark.parametrize("here", [STARTING, INCOMING, LEFT_PAUSED])
    @pytest.mark.parametrize("other", [RUNS, RUNS_AGAIN, USER_PAUSED, ASLEEP])
    def test_of_what_came_in_is_proven_by_the_source(self, here, other) -> None:
        verdict = judge_external(BLIND, Direction.INCOMING, here, other)
        assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.LEFTOVER_COPY)
        assert verdict.in_the_end is not None
        assert verdict.in_the_end.outcome is Truth.ENDED

    @pytest.mark.parametrize("here", [STARTING, INCOMING, LEFT_PAUSED])
    @pytest.mark.parametrize("other", [UNASKED, SILENT, MIGRATING, SWITCHING, ABSENT, LEFT_PAUSED])
    def test_is_not_told_while_it_may_still_come(self, here, other) -> None:
        assert judge_external(BLIND, Direction.INCOMING, here, other).outcome is Truth.GOES_ON

    def test_half_a_guest_whose_other_half_is_gone_is_lost(self) -> None:
        for other in (ABSENT, CRASHED, DESTROYED):
            verdict = judge_external(NOTHING, Direction.INCOMING, POSTCOPY_BROKEN_THERE, other)
            assert (verdict.outcome, verdict.code) == (Truth.SETTLING, Code.POSTCOPY_LOST)
            assert verdict.in_the_end is not None
            assert verdict.in_the_end.code is Code.POSTCOPY_LOST
        for other in (UNASKED, SILENT, POSTCOPY_BROKEN, POSTCOPY_HERE, LEFT):
            verdict = judge_external(NOTHING, Direction.INCOMING, POSTCOPY_BROKEN_THERE, other)
            assert verdict.outcome is Truth.POSTCOPY_PAUSED


def test_a_look_from_before_the_last_event_is_outdated() -> None:
    assert outdated(3, 4)
    assert not outdated(4, 4)


ALL_VIEWS = [
    RUNS, RUNS_AGAIN, MIGRATING, SWITCHING, LEFT_PAUSED, USER_PAUSED, INCOMING, ARRIVED, ABSENT,
    LEFT, SHUT_DOWN, DESTROYED, CRASHED, SILENT, STARTING, ASLEEP, POSTCOPY_HERE, POSTCOPY_THERE,
    POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, HOME, BOOTED,
]  # fmt: skip
ALL_EVIDENCE = [
    Evidence(
        switched=a, left=b, ended=c, blind=d, postcopy=e, unknown_there=f, run_before=RAN.run_before
    )
    for a, b, c, d, e, f in product((False, True), repeat=6)
]


class TestWhateverIsSeen:
    """Over the whole table: evidence, call, source and destination in every combination."""

    @pytest.mark.parametrize("call", Call)
    @pytest.mark.parametrize("suspended", [False, True])
    def test_a_copy_runs_on_only_if_it_is_here_without_a_job_and_none_is_there(
        self, call, suspended
    ) -> None:
        for evidence, source, destination in product(ALL_EVIDENCE, ALL_VIEWS, ALL_VIEWS):
            verdict = judge(evidence, call, source, destination, suspended=suspended)
            if not verdict.resume_source:
                continue
            assert source.power is Power.PAUSED
            assert source.job is Job.NONE
            assert source.because in (Because.MIGRATION, Because.USER)
            assert destination.gone
            assert source.run in (0, evidence.run_before)
            assert not evidence.blind
            assert call is not Call.OK

    @pytest.mark.parametrize("call", Call)
    def test_no_end_is_told_while_a_copy_may_run_where_nobody_can_look(self, call) -> None:
        for evidence, source, destination in product(ALL_EVIDENCE, ALL_VIEWS, ALL_VIEWS):
            verdict = judge(evidence, call, source, destination, suspended=False)
            if verdict.outcome in (Truth.ENDED, Truth.UNKNOWN, Truth.SETTLING):
                assert verdict.code is not None
                assert verdict.why
            told = (verdict, verdict.in_the_end or verdict)
            over = any(v.outcome in (Truth.ARRIVED, Truth.STAYED, Truth.ENDED) for v in told)
            if not over:
                continue
            assert source.power is not Power.UNKNOWN
            assert not (source.alive and destination.alive)
            if destination.power is Power.UNKNOWN:
                assert verdict.outcome is Truth.STAYED
                assert not evidence.switched
                assert call is not Call.OK


@pytest.mark.parametrize(
    ("call", "source", "destination", "outcome"),
    [
        (Call.OK, ABSENT, View(Power.SHUTOFF, persistent=True), Truth.ARRIVED),
        (Call.OK, ABSENT, ABSENT, Truth.ARRIVED),
        (Call.OK, ABSENT, SILENT, Truth.UNKNOWN),
        (Call.LOST, ABSENT, ABSENT, Truth.UNKNOWN),
        (Call.LOST, SHUT_DOWN, ABSENT, Truth.STAYED),
        (Call.FAILED, SHUT_DOWN, ABSENT, Truth.STAYED),
    ],
)
def test_of_an_offline_migration_only_the_definition_is_asked_for(
    call, source, destination, outcome
) -> None:
    assert judge_offline(call, source, destination).outcome is outcome


def test_a_copy_left_paused_is_resumed_only_when_the_destination_has_none() -> None:
    for destination in (ABSENT, SHUT_DOWN):
        verdict = judge(SWITCHED, Call.FAILED, LEFT_PAUSED, destination, suspended=False)
        assert verdict.resume_source
    for destination in (ARRIVED, SILENT, INCOMING, USER_PAUSED, POSTCOPY_BROKEN_THERE):
        assert not judge(
            SWITCHED, Call.FAILED, LEFT_PAUSED, destination, suspended=False
        ).resume_source


def test_nothing_is_resumed_after_events_were_missed_for_the_guest_may_have_run_elsewhere() -> None:
    """If it ran there and ended, its memory here is older than its disks."""
    for destination in (ABSENT, SHUT_DOWN):
        for source, suspended in ((LEFT_PAUSED, False), (USER_PAUSED, True)):
            verdict = judge(BLIND, Call.LOST, source, destination, suspended=suspended)
            assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.SOURCE_LEFT_PAUSED)
            assert not verdict.resume_source


def test_nothing_is_resumed_that_ran_at_the_destination_and_ended_there() -> None:
    for source, suspended in ((LEFT_PAUSED, False), (USER_PAUSED, True)):
        verdict = judge(
            Evidence(unknown_there=True), Call.FAILED, source, DESTROYED, suspended=suspended
        )
        assert (verdict.outcome, verdict.code) == (Truth.UNKNOWN, Code.SOURCE_LEFT_PAUSED)
        assert not verdict.resume_source


def test_a_guest_that_pmigd_paused_is_resumed_when_the_migration_failed() -> None:
    assert judge(NOTHING, Call.FAILED, USER_PAUSED, ABSENT, suspended=True).resume_source
    assert not judge(NOTHING, Call.FAILED, USER_PAUSED, ABSENT, suspended=False).resume_source


def test_a_guest_that_pmigd_paused_may_have_been_switched_over_unseen() -> None:
    verdict = judge(NOTHING, Call.FAILED, USER_PAUSED, SILENT, suspended=True)
    assert verdict.code is Code.DESTINATION_SILENT
    assert not verdict.resume_source


@pytest.mark.parametrize(
    ("direction", "evidence", "here", "outcome"),
    [
        (Direction.OUTGOING, NOTHING, MIGRATING, Truth.GOES_ON),
        (Direction.OUTGOING, NOTHING, RUNS, Truth.STAYED),
        (Direction.OUTGOING, NOTHING, LEFT, Truth.ARRIVED),
        (Direction.OUTGOING, WENT, ABSENT, Truth.ARRIVED),
        (Direction.OUTGOING, ENDED, ABSENT, Truth.ENDED),
        (Direction.OUTGOING, NOTHING, ABSENT, Truth.UNKNOWN),
        (Direction.INCOMING, NOTHING, INCOMING, Truth.GOES_ON),
        (Direction.INCOMING, NOTHING, ARRIVED, Truth.ARRIVED),
        (Direction.INCOMING, NOTHING, ABSENT, Truth.STAYED),
        (Direction.INCOMING, NOTHING, POSTCOPY_BROKEN_THERE, Truth.POSTCOPY_PAUSED),
    ],
)
def test_of_what_others_started_only_this_end_is_asked(
    direction: Direction, evidence: Evidence, here: View, outcome: Truth
) -> None:
    assert judge_external(evidence, direction, here).outcome is outcome
