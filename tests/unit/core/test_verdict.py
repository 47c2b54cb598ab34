"""Where the guest is, from what both ends say."""

from __future__ import annotations

import pytest

from pmigd.core.model import Because, Direction, Evidence, View
from pmigd.core.problem import Code
from pmigd.core.verdict import Outcome, judge, judge_external
from tests.support.build import (
    ABSENT,
    ARRIVED,
    INCOMING,
    LEFT,
    LEFT_PAUSED,
    MIGRATING,
    POSTCOPY_BROKEN,
    POSTCOPY_BROKEN_THERE,
    POSTCOPY_HERE,
    RUNS,
    RUNS_AGAIN,
    SHUT_DOWN,
    SILENT,
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
        (WENT, LEFT, ARRIVED, Outcome.ARRIVED, None),
        (WENT, ABSENT, ARRIVED, Outcome.ARRIVED, None),
        (NOTHING, ABSENT, RUNS, Outcome.ARRIVED, None),
        (WENT, ABSENT, USER_PAUSED, Outcome.ARRIVED, None),
        (WENT, ABSENT, SILENT, Outcome.UNKNOWN, Code.DESTINATION_SILENT),
        (WENT, ABSENT, ABSENT, Outcome.UNKNOWN, Code.GUEST_NOT_FOUND),
        (WENT, LEFT, SHUT_DOWN, Outcome.UNKNOWN, Code.GUEST_NOT_FOUND),
        (WENT, LEFT, INCOMING, Outcome.SETTLING, Code.GUEST_NOT_FOUND),
        (NOTHING, ABSENT, ABSENT, Outcome.UNKNOWN, Code.GUEST_NOT_FOUND),
        (WENT, LEFT, POSTCOPY_BROKEN_THERE, Outcome.SETTLING, Code.GUEST_NOT_FOUND),
        # The guest ended by itself.
        (ENDED, ABSENT, ABSENT, Outcome.ENDED, None),
        (NOTHING, SHUT_DOWN, ABSENT, Outcome.ENDED, None),
        (SWITCHED, SHUT_DOWN, ABSENT, Outcome.UNKNOWN, Code.GUEST_NOT_FOUND),
        # The guest is here and was never stopped for the switch-over: no other copy can run.
        (NOTHING, RUNS, ABSENT, Outcome.STAYED, None),
        (NOTHING, RUNS, SILENT, Outcome.STAYED, None),
        (BLIND, RUNS, SILENT, Outcome.STAYED, None),
        (NOTHING, USER_PAUSED, ABSENT, Outcome.STAYED, None),
        # It was stopped and runs again: the destination must answer.
        (SWITCHED, RUNS, SILENT, Outcome.UNKNOWN, Code.DESTINATION_SILENT),
        (NOTHING, RUNS_AGAIN, SILENT, Outcome.UNKNOWN, Code.DESTINATION_SILENT),
        (BLIND, RUNS_AGAIN, SILENT, Outcome.UNKNOWN, Code.DESTINATION_SILENT),
        (SWITCHED, RUNS_AGAIN, ABSENT, Outcome.STAYED, None),
        (SWITCHED, RUNS_AGAIN, INCOMING, Outcome.SETTLING, Code.TWO_COPIES),
        (
            Evidence(paused_before=True),
            USER_PAUSED,
            SILENT,
            Outcome.UNKNOWN,
            Code.DESTINATION_SILENT,
        ),
        # The reason of an earlier migration says nothing about this one ...
        (
            Evidence(because_before=Because.MIGRATION_CANCELED),
            RUNS_AGAIN,
            SILENT,
            Outcome.STAYED,
            None,
        ),
        # ... unless events may have been missed.
        (
            Evidence(because_before=Because.MIGRATION_CANCELED, blind=True),
            RUNS_AGAIN,
            SILENT,
            Outcome.UNKNOWN,
            Code.DESTINATION_SILENT,
        ),
        # Two copies that live are an alarm, whatever anybody reported.
        (NOTHING, RUNS, RUNS, Outcome.UNKNOWN, Code.TWO_COPIES),
        (WENT, RUNS_AGAIN, ARRIVED, Outcome.UNKNOWN, Code.TWO_COPIES),
        # A paused copy is left here.
        (SWITCHED, LEFT_PAUSED, ARRIVED, Outcome.UNKNOWN, Code.SOURCE_LEFT_PAUSED),
        (SWITCHED, LEFT_PAUSED, SILENT, Outcome.UNKNOWN, Code.DESTINATION_SILENT),
        (SWITCHED, LEFT_PAUSED, INCOMING, Outcome.SETTLING, Code.SOURCE_LEFT_PAUSED),
        # libvirt is still at it.
        (NOTHING, MIGRATING, INCOMING, Outcome.GOES_ON, None),
        (SWITCHED, SWITCHING, INCOMING, Outcome.GOES_ON, None),
        (SWITCHED, POSTCOPY_HERE, ARRIVED, Outcome.GOES_ON, None),
        (SWITCHED, POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE, Outcome.POSTCOPY_PAUSED, None),
        # This host's libvirt does not answer.
        (NOTHING, SILENT, ARRIVED, Outcome.UNKNOWN, Code.LIBVIRT_UNAVAILABLE),
    ],
)
def test_both_ends_settle_it_or_nobody_does(
    evidence: Evidence, source: View, destination: View, outcome: Outcome, code: Code | None
) -> None:
    verdict = judge(evidence, source, destination, suspended=False)
    assert verdict.outcome is outcome
    assert verdict.code is code
    assert not verdict.resume_source


def test_a_copy_left_paused_is_resumed_only_when_the_destination_has_none() -> None:
    for destination in (ABSENT, SHUT_DOWN):
        assert judge(SWITCHED, LEFT_PAUSED, destination, suspended=False).resume_source
    for destination in (ARRIVED, SILENT, INCOMING, USER_PAUSED, POSTCOPY_BROKEN_THERE):
        assert not judge(SWITCHED, LEFT_PAUSED, destination, suspended=False).resume_source


def test_nothing_is_resumed_after_events_were_missed_for_the_guest_may_have_run_elsewhere() -> None:
    """If it ran there and ended, its memory here is older than its disks."""
    for destination in (ABSENT, SHUT_DOWN):
        for source, suspended in ((LEFT_PAUSED, False), (USER_PAUSED, True)):
            verdict = judge(BLIND, source, destination, suspended=suspended)
            assert (verdict.outcome, verdict.code) == (Outcome.UNKNOWN, Code.SOURCE_LEFT_PAUSED)
            assert not verdict.resume_source


def test_a_guest_that_pmigd_paused_is_resumed_when_the_migration_failed() -> None:
    assert judge(NOTHING, USER_PAUSED, ABSENT, suspended=True).resume_source
    assert not judge(NOTHING, USER_PAUSED, ABSENT, suspended=False).resume_source


def test_a_guest_that_pmigd_paused_may_have_been_switched_over_unseen() -> None:
    verdict = judge(NOTHING, USER_PAUSED, SILENT, suspended=True)
    assert verdict.code is Code.DESTINATION_SILENT
    assert not verdict.resume_source


@pytest.mark.parametrize(
    ("direction", "evidence", "here", "outcome"),
    [
        (Direction.OUTGOING, NOTHING, MIGRATING, Outcome.GOES_ON),
        (Direction.OUTGOING, NOTHING, RUNS, Outcome.STAYED),
        (Direction.OUTGOING, NOTHING, LEFT, Outcome.ARRIVED),
        (Direction.OUTGOING, WENT, ABSENT, Outcome.ARRIVED),
        (Direction.OUTGOING, ENDED, ABSENT, Outcome.ENDED),
        (Direction.OUTGOING, NOTHING, ABSENT, Outcome.UNKNOWN),
        (Direction.INCOMING, NOTHING, INCOMING, Outcome.GOES_ON),
        (Direction.INCOMING, NOTHING, ARRIVED, Outcome.ARRIVED),
        (Direction.INCOMING, NOTHING, ABSENT, Outcome.STAYED),
        (Direction.INCOMING, NOTHING, POSTCOPY_BROKEN_THERE, Outcome.POSTCOPY_PAUSED),
    ],
)
def test_of_what_others_started_only_this_end_is_asked(
    direction: Direction, evidence: Evidence, here: View, outcome: Outcome
) -> None:
    assert judge_external(evidence, direction, here).outcome is outcome
