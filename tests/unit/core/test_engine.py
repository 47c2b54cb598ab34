"""One step of one migration: what every event does in every kind of situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Final

import pytest

from pmigd.core import controls, engine, ledger
from pmigd.core import events as ev
from pmigd.core.commands import Kind, Outcome
from pmigd.core.effects import Look, Prepare, ReadSettings, Wake
from pmigd.core.model import (
    UNASKED,
    Call,
    Direction,
    Job,
    Migration,
    Mode,
    Now,
    OnTimeout,
    Postcopy,
    Power,
    Sample,
    Settings,
    State,
    View,
)
from pmigd.core.problem import Code, Problem
from tests.support.build import (
    ABSENT,
    ARRIVED,
    DESTROYED,
    INCOMING,
    LEFT,
    LEFT_PAUSED,
    MIGRATING,
    POSTCOPY_BROKEN,
    POSTCOPY_BROKEN_THERE,
    POSTCOPY_HERE,
    POSTCOPY_THERE,
    PREPARED,
    RUNS,
    RUNS_AGAIN,
    SILENT,
    STARTING,
    T0,
    USER_PAUSED,
    at,
    done,
    looks,
    migration,
    play,
    replied,
    returned,
    sample,
    transferring,
)

BROKE = Problem(Code.CONNECTION_BROKE, "Connection reset by peer")
ABORT = ev.AbortAsked("root", "asked for by root")


def test_the_way_of_a_migration_that_succeeds() -> None:
    step = play(migration(), ev.Admitted())
    assert step.migration.state is State.PREPARING
    assert step.effects == (Prepare(),)

    step = play(step.migration, PREPARED)
    assert step.migration.call is Call.MADE
    assert done(step) == [(Kind.PERFORM, None)]

    step = play(step.migration, ev.Sampled(Job.OUTGOING, sample()))
    assert step.migration.state is State.PRECOPY

    step = play(step.migration, ev.SwitchedOver())
    assert step.migration.state is State.FINISHING

    step = play(step.migration, ev.Left(), ev.Completed(sample(downtime_ms=40, downtime_net_ms=30)))
    assert step.migration.state is State.FINISHING
    step = play(step.migration, returned(None))
    assert step.effects == (Look(),)

    step = play(step.migration, ev.Looked(LEFT, ARRIVED), start=2)
    assert step.migration.state is State.SUCCEEDED
    result = step.migration.result
    assert result is not None
    assert (result.downtime_ms, result.downtime_net_ms, result.mode) == (40, 30, Mode.PRECOPY)
    assert result.duration_s == pytest.approx(2.0)


def test_a_success_reported_by_libvirt_is_none_until_the_destination_shows_the_guest() -> None:
    step = play(transferring(), returned(None), ev.Looked(LEFT, SILENT))
    assert step.migration.state is State.FINISHING
    assert isinstance(step.effects[0], Look)
    for _ in range(engine.LOOKS_UNTIL_UNRESOLVED):
        step = play(step.migration, ev.Looked(LEFT, SILENT))
    assert step.migration.state is State.UNRESOLVED
    assert step.migration.problem is not None
    assert step.migration.problem.code is Code.DESTINATION_SILENT
    # pmigd asks on, and settles it when the destination answers.
    assert step.effects == (Look(engine.ASK_ON_S),)
    step = play(step.migration, ev.Looked(LEFT, ARRIVED))
    assert step.migration.state is State.SUCCEEDED
    assert step.migration.problem is None


def test_an_error_of_the_call_is_no_failure_when_the_guest_arrived() -> None:
    step = play(transferring(), returned(BROKE), ev.Looked(ABSENT, ARRIVED))
    assert step.migration.state is State.SUCCEEDED


def test_a_failure_keeps_the_words_of_libvirt() -> None:
    step = play(transferring(), returned(BROKE), ev.Looked(RUNS, ABSENT))
    assert step.migration.state is State.FAILED
    assert step.migration.problem == BROKE
    assert step.migration.result is not None
    assert step.migration.result.downtime_ms is None


def test_a_forecast_of_the_pause_is_never_given_as_the_pause() -> None:
    m = play(transferring(), ev.Sampled(Job.OUTGOING, sample(downtime_ms=300))).migration
    step = play(m, returned(None), ev.Looked(ABSENT, ARRIVED))
    assert step.migration.state is State.SUCCEEDED
    assert step.migration.result is not None
    assert step.migration.result.downtime_ms is None


def test_a_call_that_ended_while_its_job_goes_on_is_watched_on() -> None:
    step = play(transferring(), returned(BROKE), ev.Looked(MIGRATING, INCOMING))
    assert step.migration.state is State.PRECOPY
    assert step.migration.call is Call.LOST
    step = play(step.migration, ev.Sampled(Job.NONE, None))
    assert isinstance(step.effects[0], Look)
    step = play(step.migration, ev.Looked(ABSENT, ARRIVED))
    assert step.migration.state is State.SUCCEEDED


def test_a_job_that_is_there_after_libvirt_has_ended_ours_is_somebody_elses() -> None:
    aborted = Problem(Code.ABORTED_ELSEWHERE, "operation aborted")
    m = play(transferring(), ABORT, replied(Kind.ABORT), returned(aborted)).migration
    anothers = ev.Looked(MIGRATING, INCOMING)
    step = play(m, anothers, ev.Sampled(Job.OUTGOING, sample()), anothers, start=60)
    assert done(step) == []
    assert looks(step)
    assert step.migration.call is Call.FAILED
    assert play(step.migration, ev.Looked(RUNS, ABSENT)).migration.state is State.CANCELLED


def test_no_job_while_the_call_is_out_means_nothing() -> None:
    step = play(migration(), ev.Admitted(), PREPARED, ev.Sampled(Job.NONE, None))
    assert step.migration.state is State.PREPARING
    assert step.effects == ()


def test_what_prevents_the_call_fails_it_without_a_call() -> None:
    problem = Problem(Code.DESTINATION_UNREACHABLE, "refused")
    step = play(migration(), ev.Admitted(), ev.PrepareFailed(problem))
    assert step.migration.state is State.FAILED
    assert step.migration.call is Call.NOT_MADE
    assert step.effects == ()


@pytest.mark.parametrize("code", [Code.LIBVIRT_UNAVAILABLE, Code.JOURNAL_UNAVAILABLE])
def test_what_this_host_cannot_do_now_waits_in_the_queue(code: Code) -> None:
    step = play(migration(), ev.Admitted(), ev.PrepareFailed(Problem(code, "")))
    assert step == engine.Step(migration(state_since=at(0.1).utc))


def test_others_jobs_on_the_domain_do_not_move_a_migration_that_was_not_called() -> None:
    m = play(migration(), ev.Admitted()).migration
    for event in (ev.IterationBegan(1), ev.SwitchedOver(), ev.Left(), ev.Completed(sample())):
        assert play(m, event).migration == m


class TestAbort:
    def test_of_a_queued_one_cancels_at_once(self) -> None:
        step = play(migration(), ABORT)
        assert step.migration.state is State.CANCELLED
        assert step.effects == ()

    def test_before_the_call_prevents_the_call(self) -> None:
        step = play(migration(), ev.Admitted(), ABORT)
        assert step.migration.state is State.CANCELLED
        assert play(step.migration, PREPARED).effects == ()

    def test_before_libvirts_job_has_begun_is_tried_again(self) -> None:
        step = play(migration(), ev.Admitted(), PREPARED, ABORT)
        assert done(step) == [(Kind.ABORT, None)]
        step = play(step.migration, replied(Kind.ABORT, found=False))
        (wake,) = step.effects
        assert isinstance(wake, Wake)
        assert done(play(step.migration, ev.Ticked(), start=1)) == [(Kind.ABORT, None)]

    def test_ends_as_cancelled_when_the_guest_stayed(self) -> None:
        aborted = Problem(Code.ABORTED_ELSEWHERE, "operation aborted")
        step = play(transferring(), ABORT, replied(Kind.ABORT), returned(aborted))
        step = play(step.migration, ev.Looked(RUNS, ABSENT))
        assert step.migration.state is State.CANCELLED
        assert step.migration.problem is not None
        assert step.migration.problem.code is Code.CANCELLED

    def test_that_came_too_late_is_a_success(self) -> None:
        step = play(transferring(), ABORT, returned(None), ev.Looked(ABSENT, ARRIVED))
        assert step.migration.state is State.SUCCEEDED

    def test_is_refused_in_postcopy_where_it_would_lose_the_guest(self) -> None:
        m = play(transferring(), ev.SwitchedOver(), ev.PostcopyBegan()).migration
        assert m.state is State.POSTCOPY
        problem = controls.may_abort(m)
        assert problem is not None
        assert problem.code is Code.WRONG_STATE
        assert play(m, ABORT).effects == ()

    def test_by_somebody_else_is_cancelled_too(self) -> None:
        aborted = Problem(Code.ABORTED_ELSEWHERE, "operation aborted")
        step = play(transferring(), returned(aborted), ev.Looked(RUNS, ABSENT))
        assert step.migration.state is State.CANCELLED
        assert step.migration.problem == aborted

    def test_twice_is_once(self) -> None:
        m = play(transferring(), ABORT).migration
        assert play(m, ABORT) == engine.Step(m)

    def test_goes_on_after_a_restart(self) -> None:
        m = play(transferring(), ABORT).migration
        step = play(m, ev.Restarted(), start=60)
        # What became of it is asked first: a job that is there may be the guest's next migration.
        assert (done(step), looks(step)) == ([], [0.0])
        assert done(play(step.migration, ev.Looked(RUNS, ABSENT), start=61)) == []
        assert done(play(step.migration, ev.Sampled(Job.NONE, None), start=61)) == []
        runs = ev.Sampled(Job.OUTGOING, None)
        assert done(play(step.migration, runs, start=61)) == [(Kind.ABORT, None)]
        step = play(step.migration, ev.Looked(MIGRATING, INCOMING), start=61)
        assert done(step) == [(Kind.ABORT, None)]
        m = play(step.migration, replied(Kind.ABORT), start=61).migration
        goes_on = ev.Looked(MIGRATING, INCOMING)
        assert done(play(m, goes_on, start=62)) == []
        # libvirt took it, and its job goes on: it is owed again.
        assert done(play(m, goes_on, start=70)) == [(Kind.ABORT, None)]
        assert done(play(m, ev.Sampled(Job.OUTGOING, sample()), start=70)) == [(Kind.ABORT, None)]
        # What another life has told libvirt is told once more, whatever happened to the clock.
        step = play(play(m, ev.Restarted(), start=62).migration, goes_on, start=62.1)
        assert done(step) == [(Kind.ABORT, None)]


HOUR: Final = timedelta(hours=1)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
class TestClockThatIsSet:
    """The time of day may jump at any moment; how long something takes does not depend on it."""

    @staticmethod
    def set(now: Now, step: timedelta) -> Now:
        return replace(now, utc=now.utc + step)

    def test_an_abort_that_libvirt_took_is_told_again_when_it_is_time(self, step) -> None:
        m = play(transferring(), ABORT, replied(Kind.ABORT), returned(BROKE)).migration
        goes_on = ev.Looked(MIGRATING, INCOMING)
        assert done(engine.step(m, goes_on, self.set(at(3), step))) == []
        assert done(engine.step(m, goes_on, self.set(at(7), step))) == [(Kind.ABORT, None)]

    def test_libvirt_is_silent_only_after_a_while(self, step) -> None:
        m = play(transferring(), ABORT).migration
        soon = engine.step(m, ev.Ticked(), self.set(at(1), step)).migration
        assert soon.commands[-1].waits == ""
        later = engine.step(m, ev.Ticked(), self.set(at(3), step)).migration
        assert later.commands[-1].waits == ledger.SILENT

    def test_a_deadline_over_a_restart_is_when_it_was(self, step) -> None:
        m = transferring(request={"timeout_s": 60})
        m = engine.step(m, ev.Restarted(), self.set(at(30), step)).migration
        m = engine.step(m, ev.Looked(MIGRATING, INCOMING), self.set(at(30), step)).migration
        m = engine.step(m, ev.Ticked(), self.set(at(59), step)).migration
        assert m.abort is None
        m = engine.step(m, ev.Ticked(), self.set(at(61), step)).migration
        assert m.abort is not None

    def test_after_a_boot_the_time_of_day_is_all_there_is(self, step) -> None:
        m = replace(transferring(), started_mono=5e6)
        m = engine.step(m, ev.Restarted(), self.set(at(30), step)).migration
        assert at(30).mono - m.started_mono == max(0.0, 30 + step.total_seconds())


class TestCommands:
    """What is true of everything that is asked for."""

    BUSY: ClassVar = Problem(Code.JOB_LOCK_TIMEOUT, "another job holds it")
    NO: ClassVar = Problem(Code.REFUSED_BY_LIBVIRT, "not now")

    def test_what_is_pending_is_joined_and_what_was_refused_can_be_asked_for_again(self) -> None:
        asked = ev.SuspendAsked("root")
        m = play(transferring(), asked, asked).migration
        assert [c.kind for c in m.commands].count(Kind.SUSPEND) == 1
        m = play(m, replied(Kind.SUSPEND, self.NO)).migration
        assert (m.commands[-1].outcome, m.commands[-1].problem) == (Outcome.REFUSED, self.NO)
        step = play(m, asked)
        assert done(step) == [(Kind.SUSPEND, None)]
        assert step.migration.commands[-1].id == m.commands[-1].id + 1

    def test_what_fails_for_now_is_tried_again(self) -> None:
        m = play(transferring(), ev.SuspendAsked("root"), replied(Kind.SUSPEND, self.BUSY))
        assert m.migration.commands[-1].waits == "another job holds it"
        assert done(play(m.migration, ev.Ticked(), start=5)) == [(Kind.SUSPEND, None)]

    def test_what_was_not_made_because_libvirt_is_away_is_owed_until_it_is_back(self) -> None:
        away = Problem(Code.LIBVIRT_UNAVAILABLE, "connection lost")
        m = play(
            transferring(),
            ev.WatchLost(),
            ABORT,
            ev.Ticked(),
            replied(Kind.ABORT, away, made=False),
        ).migration
        assert m.commands[-1].outcome is Outcome.PENDING
        assert not m.commands[-1].made
        assert done(play(m, ev.Ticked(), start=9)) == []
        assert done(play(m, ev.WatchBack(), start=10)) == [(Kind.ABORT, None)]

    def test_a_call_that_is_out_is_not_made_a_second_time_however_long_it_takes(self) -> None:
        m = play(transferring(), ABORT).migration
        step = play(m, ev.WatchLost(), ev.WatchBack(), *[ev.Ticked()] * 9, start=500)
        assert done(step) == []
        assert step.migration.commands[-1].waits == ledger.SILENT
        late = play(step.migration, replied(Kind.ABORT), start=900).migration
        assert late.commands[-1].outcome is Outcome.DONE

    def test_settings_wait_for_memory_to_travel_and_are_in_the_request_when_in_force(self) -> None:
        asked = ev.SetAsked("root", Settings(max_downtime_ms=77))
        m = play(migration(), ev.Admitted(), PREPARED, asked).migration
        assert m.commands[-1].waits
        assert m.request.max_downtime_ms is None
        step = play(m, ev.Sampled(Job.OUTGOING, sample()))
        assert done(step) == [(Kind.MAX_DOWNTIME, 77)]
        step = play(step.migration, replied(Kind.MAX_DOWNTIME))
        assert step.migration.request.max_downtime_ms == 77
        assert step.effects == (ReadSettings(),)
        m = play(step.migration, ev.SettingsRead(Settings(max_downtime_ms=78))).migration
        m = play(m, ev.Sampled(Job.OUTGOING, sample())).migration
        assert m.progress is not None
        assert m.progress.downtime_limit_ms == 78

    def test_settings_before_the_call_are_in_the_call(self) -> None:
        asked = ev.SetAsked("root", Settings(bandwidth_mib_s=7))
        m = play(migration(), ev.Admitted(), asked, PREPARED).migration
        assert m.plan is not None
        assert m.plan.request.bandwidth_mib_s == 7

    def test_a_refused_setting_is_not_in_the_request(self) -> None:
        m = play(transferring(), ev.SetAsked("root", Settings(bandwidth_mib_s=7))).migration
        m = play(m, replied(Kind.BANDWIDTH, self.NO)).migration
        assert m.request.bandwidth_mib_s == 0
        assert m.commands[-1].outcome is Outcome.REFUSED

    def test_a_suspend_whose_effect_is_told_before_its_answer_has_done_it(self) -> None:
        m = play(transferring(), ev.SuspendAsked("root"), ev.SwitchedOver()).migration
        assert m.commands[-1].outcome is Outcome.PENDING
        m = play(m, replied(Kind.SUSPEND)).migration
        assert m.commands[-1].outcome is Outcome.DONE

    def test_a_suspend_that_did_not_get_through_before_the_switch_is_overtaken(self) -> None:
        m = play(transferring(), ev.SuspendAsked("root"), ev.SwitchedOver()).migration
        step = play(m, replied(Kind.SUSPEND, self.BUSY), *[ev.Ticked()] * 9)
        assert done(step) == []
        assert step.migration.commands[-1].outcome is Outcome.OVERTAKEN

    def test_the_end_leaves_nothing_pending(self) -> None:
        m = play(transferring(), ev.SetAsked("root", Settings(bandwidth_mib_s=7))).migration
        m = play(m, returned(None), ev.Looked(ABSENT, ARRIVED)).migration
        assert m.state is State.SUCCEEDED
        assert m.commands[-1].outcome is Outcome.OVERTAKEN

    def test_a_call_that_was_prevented_ends_what_was_aborted(self) -> None:
        m = play(migration(), ev.Admitted(), PREPARED, ABORT).migration
        withdrawn = Problem(Code.CANCELLED, "it was withdrawn")
        m = play(m, replied(Kind.PERFORM, withdrawn, made=False)).migration
        assert (m.state, m.call) == (State.CANCELLED, Call.NOT_MADE)

    def test_a_call_that_could_not_be_made_waits_in_the_queue(self) -> None:
        m = play(migration(), ev.Admitted(), PREPARED).migration
        away = Problem(Code.LIBVIRT_UNAVAILABLE, "cannot be opened")
        m = play(m, replied(Kind.PERFORM, away, made=False)).migration
        assert (m.state, m.call) == (State.QUEUED, Call.NOT_MADE)


class TestTimeout:
    def test_aborts_and_fails_with_its_own_code(self) -> None:
        m = transferring(request={"timeout_s": 5})
        assert play(m, ev.Ticked(), start=4).effects == ()
        step = play(m, ev.Ticked(), start=6)
        assert done(step) == [(Kind.ABORT, None)]
        step = play(step.migration, returned(Problem(Code.ABORTED_ELSEWHERE, "")))
        step = play(step.migration, ev.Looked(RUNS, ABSENT))
        assert step.migration.state is State.FAILED
        assert step.migration.problem is not None
        assert step.migration.problem.code is Code.TIMEOUT

    def test_suspends_once_memory_is_on_its_way(self) -> None:
        request = {"timeout_s": 5, "on_timeout": OnTimeout.SUSPEND}
        preparing = play(migration(request=request), ev.Admitted(), PREPARED).migration
        assert play(preparing, ev.Ticked(), start=9).effects == ()
        step = play(transferring(request=request), ev.Ticked(), start=9)
        assert done(step) == [(Kind.SUSPEND, None)]
        assert step.migration.suspended
        assert play(step.migration, ev.Ticked(), start=20).effects == ()

    def test_continues_with_a_note(self) -> None:
        m = transferring(request={"timeout_s": 5, "on_timeout": OnTimeout.CONTINUE})
        step = play(m, ev.Ticked(), start=6)
        assert step.effects == ()
        assert step.migration.commands[-1].kind is Kind.CONTINUE
        assert play(step.migration, ev.Ticked(), start=7).migration == step.migration

    def test_still_holds_after_a_restart(self) -> None:
        m = transferring(request={"timeout_s": 5})
        m = play(m, ev.Restarted(), ev.Looked(MIGRATING, INCOMING), start=3).migration
        assert done(play(m, ev.Ticked(), start=6)) == [(Kind.ABORT, None)]

    def test_resumes_the_guest_that_it_paused_when_the_migration_fails(self) -> None:
        m = transferring(request={"timeout_s": 5, "on_timeout": OnTimeout.SUSPEND})
        m = play(m, ev.Ticked(), start=9).migration
        step = play(m, returned(BROKE), ev.Looked(USER_PAUSED, ABSENT))
        assert done(step) == [(Kind.RESUME, None)]
        step = play(
            step.migration, replied(Kind.SUSPEND), replied(Kind.RESUME), ev.Looked(RUNS, ABSENT)
        )
        assert step.migration.state is State.FAILED
        assert step.migration.problem == BROKE

    def test_does_not_end_while_the_guest_may_yet_be_paused(self) -> None:
        m = transferring(request={"timeout_s": 5, "on_timeout": OnTimeout.SUSPEND})
        m = play(m, ev.Ticked(), start=9).migration
        step = play(m, returned(BROKE), ev.Looked(RUNS, ABSENT))
        assert step.migration.open
        assert looks(step)
        step = play(step.migration, replied(Kind.SUSPEND), ev.Looked(USER_PAUSED, ABSENT))
        assert done(step) == [(Kind.RESUME, None)]


class TestPostcopy:
    ALLOWED: ClassVar = {"postcopy": Postcopy.ALLOWED}

    def test_is_started_when_somebody_asks_and_only_where_it_was_allowed(self) -> None:
        asked = ev.PostcopyAsked("root")
        assert play(transferring(), asked).effects == ()
        assert controls.may_postcopy(transferring()) is not None
        step = play(transferring(request=self.ALLOWED), asked)
        assert done(step) == [(Kind.POSTCOPY, None)]
        assert step.migration.commands[-1].by == "root"
        assert play(step.migration, asked).effects == ()

    def test_is_tried_again_while_qemu_is_not_ready(self) -> None:
        m = play(transferring(request=self.ALLOWED), ev.PostcopyAsked("root")).migration
        refused = replied(Kind.POSTCOPY, Problem(Code.REFUSED_BY_LIBVIRT, "not started"))
        step = play(m, refused)
        assert step.effects == (Wake(0.5),)
        assert done(play(step.migration, ev.Ticked(), start=1)) == [(Kind.POSTCOPY, None)]
        assert done(play(m, ev.PostcopyBegan(), refused, ev.Ticked(), start=2)) == []

    def test_that_qemu_refuses_for_good_is_told_and_can_be_asked_for_again(self) -> None:
        m = play(transferring(request=self.ALLOWED), ev.PostcopyAsked("root")).migration
        refused = replied(Kind.POSTCOPY, Problem(Code.REFUSED_BY_LIBVIRT, "not started"))
        for number in range(20):
            m = play(m, ev.Ticked(), refused, start=10.0 * number).migration
        assert m.commands[-1].outcome is Outcome.REFUSED
        assert m.commands[-1].problem == refused.problem
        step = play(m, ev.PostcopyAsked("root"))
        assert done(step) == [(Kind.POSTCOPY, None)]
        assert step.migration.commands[-1].id == m.commands[-1].id + 1

    def test_follows_the_first_pass_where_that_was_asked_for(self) -> None:
        m = transferring(request={"postcopy": Postcopy.AFTER_PRECOPY})
        assert play(m, ev.IterationBegan(1)).effects == ()
        assert done(play(m, ev.IterationBegan(2))) == [(Kind.POSTCOPY, None)]

    def test_at_the_timeout(self) -> None:
        request = self.ALLOWED | {"timeout_s": 5, "on_timeout": OnTimeout.POSTCOPY}
        step = play(transferring(request=request), ev.Ticked(), start=6)
        assert done(step) == [(Kind.POSTCOPY, None)]

    def test_that_broke_is_recovered_by_the_call_with_its_plan(self) -> None:
        m = play(transferring(request=self.ALLOWED), ev.SwitchedOver(), ev.PostcopyBegan())
        m = play(m.migration, ev.PostcopyBroke(), returned(BROKE)).migration
        assert controls.may_recover(transferring()) is not None
        step = play(m, ev.RecoverAsked("root"))
        assert done(step) == [(Kind.RECOVER, None)]
        assert play(step.migration, ev.RecoverAsked("root")).effects == ()
        step = play(step.migration, ev.PostcopyBegan())
        assert (step.migration.state, step.migration.problem) == (State.POSTCOPY, None)
        step = play(step.migration, returned(None))
        step = play(step.migration, ev.Looked(ABSENT, ARRIVED))
        assert step.migration.state is State.SUCCEEDED
        assert step.migration.problem is None
        assert step.migration.result is not None
        assert step.migration.result.mode is Mode.POSTCOPY

    def broken(self, attempts: int) -> Migration:
        m = transferring(request=self.ALLOWED | {"recover_attempts": attempts})
        broke = (ev.PostcopyBroke(), returned(BROKE))
        return play(m, ev.SwitchedOver(), ev.PostcopyBegan(), *broke).migration

    STILL: ClassVar = ev.Looked(POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE)

    def test_that_broke_is_gone_on_with_by_itself_when_the_destination_answers(self) -> None:
        step = play(self.broken(2), self.STILL, start=0.5)
        (look,) = step.effects
        assert isinstance(look, Look)
        assert 0 < look.after_s <= engine.RECOVER_DELAYS_S[0]
        away = ev.Looked(POSTCOPY_BROKEN, SILENT)
        assert play(step.migration, away, start=5).effects == (Look(engine.ASK_ON_S),)
        step = play(step.migration, self.STILL, start=5)
        assert done(step) == [(Kind.RECOVER, None)]
        assert step.migration.commands[-1].by == "policy"

    def test_is_gone_on_with_only_so_often(self) -> None:
        m = self.broken(2)
        for seconds in (10, 20):
            step = play(m, self.STILL, start=seconds)
            assert done(step) == [(Kind.RECOVER, None)]
            step = play(step.migration, returned(BROKE), start=seconds + 1)
            m = play(step.migration, self.STILL, start=seconds + 1).migration
        step = play(m, self.STILL, start=1000)
        assert step.effects == ()
        assert step.migration.problem is not None
        assert "tried 2 times" in step.migration.problem.detail
        assert done(play(step.migration, ev.RecoverAsked("root"))) == [(Kind.RECOVER, None)]

    def test_is_tried_again_when_the_try_could_not_be_journalled(self) -> None:
        m = self.broken(2)
        step = play(m, self.STILL, start=5)
        full = Problem(Code.JOURNAL_UNAVAILABLE, "disk full")
        step = engine.withhold(step, full, at(5))
        assert done(step) == []
        assert looks(step) == [engine.ASK_ON_S]
        assert step.migration.commands[-1].waits == "disk full"
        assert step.migration.call is not Call.MADE
        assert done(play(step.migration, self.STILL, start=10)) == [(Kind.RECOVER, None)]

    def test_is_left_to_people_where_that_is_wanted(self) -> None:
        assert play(self.broken(0), self.STILL, start=1000).effects == ()

    def test_that_broke_unwatched_is_looked_at(self) -> None:
        m = transferring(request=self.ALLOWED | {"recover_attempts": 1})
        m = play(m, ev.PostcopyBegan(), ev.Restarted()).migration
        assert play(m, ev.PostcopyBroke()).effects == (Look(),)

    def test_that_broke_and_lost_its_other_half_has_failed_with_that_word(self) -> None:
        for source, destination in (
            (POSTCOPY_BROKEN, ABSENT),
            (POSTCOPY_BROKEN, DESTROYED),
            (DESTROYED, POSTCOPY_BROKEN_THERE),
        ):
            step = play(self.broken(5), ev.Looked(source, destination), start=10)
            assert step.effects == ()
            m = step.migration
            assert m.problem is not None
            assert (m.state, m.problem.code) == (State.FAILED, Code.POSTCOPY_LOST)
            assert "cannot be made whole" in m.problem.detail

    def test_that_only_the_source_saw_break_says_so_and_waits(self) -> None:
        m = play(transferring(), ev.SwitchedOver(), ev.PostcopyBegan()).migration
        m = play(m, ev.PostcopyBroke(), ev.RecoverAsked("root")).migration
        recover = m.pending(Kind.RECOVER)
        assert recover is not None
        assert recover.waits
        step = play(m, ev.Looked(POSTCOPY_BROKEN, POSTCOPY_THERE), start=3)
        assert step.effects == (Look(engine.ASK_ON_S),)
        assert step.migration.problem is not None
        assert "Only the source has noticed" in step.migration.problem.detail
        # Once the other end has noticed, the call comes back, and what was asked for is done.
        step = play(step.migration, replied(Kind.PERFORM, BROKE), start=9)
        assert done(step) == [(Kind.RECOVER, None)]

    def test_that_only_the_destination_saw_break_is_told_and_asked_about(self) -> None:
        m = play(transferring(), ev.SwitchedOver(), ev.PostcopyBegan()).migration
        step = play(m, ev.Looked(POSTCOPY_HERE, POSTCOPY_BROKEN_THERE), start=40)
        assert step.migration.state is State.POSTCOPY_PAUSED
        assert step.migration.problem is not None
        assert "Only the destination has noticed" in step.migration.problem.detail
        assert step.effects == (Look(engine.ASK_ON_S),)

    def test_that_was_closed_too_early_is_no_precopy_again(self) -> None:
        m = self.broken(5)
        silent = ev.Looked(ABSENT, POSTCOPY_BROKEN_THERE)
        for seconds in range(10, 60):
            m = play(m, silent, start=seconds).migration
        assert (m.state, m.problem and m.problem.code) == (State.UNRESOLVED, Code.GUEST_NOT_FOUND)
        # libvirt keeps the job of a broken post-copy: that is no pre-copy, and nothing to abort.
        m = play(m, ev.Sampled(Job.OUTGOING, sample()), start=70).migration
        assert m.state is State.UNRESOLVED
        assert controls.may_abort(m) is not None
        m = play(m, ev.Looked(POSTCOPY_HERE, ARRIVED), start=31).migration
        assert m.state is State.POSTCOPY
        assert controls.may_abort(m) is not None

    def test_a_pause_limit_is_set_once_memory_is_on_its_way(self) -> None:
        request = {"max_downtime_ms": 120}
        m = play(migration(request=request), ev.Admitted(), PREPARED).migration
        assert done(play(m, ev.Sampled(Job.OUTGOING, sample()))) == [(Kind.MAX_DOWNTIME, 120)]
        assert play(transferring(request=request), ev.IterationBegan(2)).effects == ()


class TestOffline:
    def offline(self) -> Migration:
        return play(migration(request={"offline": True}), ev.Admitted(), PREPARED).migration

    def test_succeeds_when_the_destination_has_the_definition(self) -> None:
        step = play(self.offline(), returned(None))
        step = play(step.migration, ev.Looked(RUNS, View(Power.SHUTOFF, persistent=True)))
        assert step.migration.state is State.SUCCEEDED
        assert step.migration.result is not None
        assert step.migration.result.mode is Mode.OFFLINE

    def test_fails_with_libvirts_words(self) -> None:
        step = play(self.offline(), returned(BROKE), ev.Looked(RUNS, ABSENT))
        assert (step.migration.state, step.migration.problem) == (State.FAILED, BROKE)


class TestRestart:
    def test_a_queued_one_stays_queued(self) -> None:
        assert play(migration(), ev.Restarted()).migration == migration()

    def test_one_that_was_never_called_is_queued_again(self) -> None:
        m = play(migration(), ev.Admitted(), ev.Restarted()).migration
        assert m.state is State.QUEUED
        assert m.started_at is None

    def test_one_that_runs_is_adopted_and_not_called_again(self) -> None:
        step = play(transferring(), ev.Restarted())
        assert step.migration.adopted
        assert isinstance(step.effects[0], Look)
        step = play(step.migration, ev.Looked(MIGRATING, INCOMING))
        assert step.migration.state is State.PRECOPY
        assert step.effects == ()

    def test_one_that_succeeded_meanwhile_gets_its_verdict_and_figures(self) -> None:
        final = sample(downtime_ms=55, elapsed_ms=4200)
        step = play(transferring(), ev.Restarted(), ev.Looked(ABSENT, ARRIVED, final), start=3600)
        assert step.migration.state is State.SUCCEEDED
        assert step.migration.result is not None
        assert step.migration.result.downtime_ms == 55
        assert step.migration.result.duration_s == pytest.approx(4.2)

    def test_one_that_failed_meanwhile_says_that_nobody_saw_why(self) -> None:
        step = play(transferring(), ev.Restarted(), ev.Looked(RUNS, ABSENT))
        assert step.migration.state is State.FAILED
        assert step.migration.problem is not None
        assert step.migration.problem.code is Code.INTERRUPTED

    def test_a_call_right_before_the_crash_is_given_time_to_show_its_job(self) -> None:
        m = play(migration(), ev.Admitted(), PREPARED).migration
        assert play(m, ev.Restarted(), start=1).effects == (Look(engine.CALL_GRACE_S),)
        assert play(m, ev.Restarted(), start=60).effects == (Look(0.0),)


class TestLibvirtAway:
    def test_its_return_asks_both_ends_afresh(self) -> None:
        m = play(transferring(), ev.WatchLost(), returned(BROKE)).migration
        step = play(m, ev.Looked(SILENT, SILENT))
        assert step.migration.state is State.PRECOPY
        step = play(step.migration, ev.WatchBack(), ev.Looked(RUNS_AGAIN, ABSENT))
        assert step.migration.state is State.FAILED

    def test_for_long_makes_it_unresolved_and_its_return_resolves_it(self) -> None:
        m = play(transferring(), ev.WatchLost()).migration
        assert play(m, ev.Ticked(), start=20).migration.state is State.PRECOPY
        m = play(m, ev.Ticked(), start=engine.UNWATCHED_LIMIT_S + 1).migration
        assert m.state is State.UNRESOLVED
        m = play(m, ev.WatchBack(), ev.Sampled(Job.OUTGOING, sample())).migration
        assert m.state is State.PRECOPY
        assert m.problem is None


class TestUnresolved:
    def unresolved(self) -> Migration:
        m = play(transferring(), returned(BROKE)).migration
        m = play(
            m, *[ev.Looked(RUNS_AGAIN, ARRIVED)] * (engine.LOOKS_UNTIL_UNRESOLVED + 1)
        ).migration
        assert m.state is State.UNRESOLVED
        assert m.problem is not None
        assert m.problem.code is Code.TWO_COPIES
        return m

    @pytest.mark.parametrize("verdict", [State.SUCCEEDED, State.FAILED])
    def test_an_operator_closes_it(self, verdict: State) -> None:
        m = play(self.unresolved(), ev.Resolved(verdict, "root")).migration
        assert m.state is verdict
        assert m.commands[-1].by == "root"

    def test_nothing_else_can_be_resolved(self) -> None:
        assert controls.may_resolve(transferring()) is not None
        assert play(transferring(), ev.Resolved(State.FAILED, "root")).migration == transferring()

    def test_settles_itself_when_one_copy_is_gone(self) -> None:
        assert (
            play(self.unresolved(), ev.Looked(ABSENT, ARRIVED)).migration.state is State.SUCCEEDED
        )


def test_a_copy_left_paused_is_resumed_when_the_destination_has_none() -> None:
    step = play(transferring(), ev.SwitchedOver(), returned(BROKE))
    step = play(step.migration, ev.Looked(LEFT_PAUSED, ABSENT))
    assert done(step) == [(Kind.RESUME, None)]
    step = play(step.migration, replied(Kind.RESUME), ev.Looked(RUNS, ABSENT))
    assert step.migration.state is State.FAILED


def test_a_copy_left_paused_while_nobody_watched_is_unresolved_and_untouched() -> None:
    m = play(transferring(), ev.SwitchedOver(), ev.Restarted()).migration
    step = play(m, *[ev.Looked(LEFT_PAUSED, ABSENT)] * (engine.LOOKS_UNTIL_UNRESOLVED + 1))
    assert step.migration.state is State.UNRESOLVED
    assert step.effects == (Look(engine.ASK_ON_S),)
    # An operator decided, and it settles by itself.
    assert play(step.migration, ev.Looked(RUNS, ABSENT)).migration.state is State.FAILED


def test_broken_postcopy_is_shown_and_nothing_is_done() -> None:
    m = play(transferring(), ev.SwitchedOver(), ev.PostcopyBegan()).migration
    step = play(m, ev.PostcopyBroke())
    assert step.migration.state is State.POSTCOPY_PAUSED
    assert step.effects == (Look(engine.BREAK_GRACE_S),)
    step = play(step.migration, returned(BROKE))
    step = play(step.migration, ev.Looked(POSTCOPY_BROKEN, POSTCOPY_BROKEN_THERE))
    assert step.migration.state is State.POSTCOPY_PAUSED
    assert step.effects == ()


def test_a_look_from_before_the_last_event_is_made_again_and_not_judged() -> None:
    m = transferring()
    left = play(m, ev.SwitchedOver(), ev.Left()).migration
    step = play(left, ev.Looked(RUNS, ABSENT, heard=m.heard))
    assert step.migration.open
    assert step.effects == (Look(),)
    step = play(left, returned(), ev.Looked(LEFT, ARRIVED, heard=left.heard + 1))
    assert step.migration.state is State.SUCCEEDED


def test_one_that_arrived_and_ended_there_is_a_success_that_says_so() -> None:
    m = play(transferring(), ev.SwitchedOver(), ev.Left(), returned()).migration
    m = play(m, ev.Looked(LEFT, DESTROYED)).migration
    assert m.state is State.SUCCEEDED
    assert m.result is not None
    assert m.result.afterwards == "It has since ended there: shut off (destroyed)."


class TestStandstill:
    SENT = sample(memory_remaining_bytes=0)

    def standing(self, sample: Sample, seconds: int = 31) -> engine.Step:
        m = play(transferring(), ev.Sampled(Job.OUTGOING, sample)).migration
        return play(m, ev.Sampled(Job.OUTGOING, sample), start=seconds)

    def test_of_what_was_all_sent_is_looked_at_and_told(self) -> None:
        step = self.standing(self.SENT)
        assert step.effects == (Look(),)
        m = play(step.migration, ev.Looked(MIGRATING, INCOMING), start=31).migration
        assert m.state is State.PRECOPY
        assert m.problem is not None
        assert m.problem.code is Code.STANDSTILL
        assert "All is sent" in m.problem.detail
        # As soon as anything moves it is told no more.
        moved = replace(self.SENT, memory_processed_bytes=1 << 21)
        assert play(m, ev.Sampled(Job.OUTGOING, moved), start=32).migration.problem is None

    def test_is_looked_at_again_only_after_a_while(self) -> None:
        m = play(self.standing(self.SENT).migration, ev.Looked(MIGRATING, INCOMING), start=31)
        sampled = ev.Sampled(Job.OUTGOING, self.SENT)
        assert play(m.migration, sampled, start=40).effects == ()
        assert play(m.migration, sampled, start=62).effects == (Look(),)

    def test_that_stays_after_an_abort_says_that_the_guest_runs_here(self) -> None:
        m = self.standing(self.SENT).migration
        m = play(m, ev.AbortAsked("root", "enough"), start=31).migration
        nothing = ev.Sampled(Job.OUTGOING, sample(memory_total_bytes=0, memory_processed_bytes=0))
        m = play(m, nothing, ev.Looked(MIGRATING, ABSENT), start=70).migration
        assert m.problem is not None
        assert m.problem.code is Code.STANDSTILL
        assert "the guest runs here" in m.problem.detail

    def test_is_not_told_before(self) -> None:
        assert self.standing(self.SENT, 29).effects == ()


class TestLeftoverCopy:
    """The record of a guest that came in, and whose half-made copy nobody goes on with."""

    def incoming(self) -> Migration:
        return migration(
            direction=Direction.INCOMING,
            external=True,
            state=State.PRECOPY,
        )

    def test_ends_when_the_source_shows_for_long_that_the_guest_is_there(self) -> None:
        m = self.incoming()
        left = ev.Looked(replace(STARTING, run=10), RUNS)
        for seconds in (0, 5, 15, 30):
            m = play(m, left, start=seconds).migration
            assert m.state is State.PRECOPY
            # This host's own scan does not ask the source, and changes nothing in that.
            m = play(m, ev.Looked(STARTING, UNASKED), start=seconds + 1).migration
        m = play(m, left, start=45).migration
        assert m.problem is not None
        assert (m.state, m.problem.code) == (State.FAILED, Code.LEFTOVER_COPY)
        assert m.evidence.run_before == 10

    def test_does_not_end_while_the_source_has_its_job(self) -> None:
        m = self.incoming()
        for seconds in range(0, 200, 5):
            m = play(m, ev.Looked(STARTING, MIGRATING), start=seconds).migration
        assert m.state is State.PRECOPY

    def test_of_a_half_whose_other_half_is_gone_ends_too(self) -> None:
        m = play(self.incoming(), ev.PostcopyBroke()).migration
        for seconds in range(0, 50, 5):
            m = play(m, ev.Looked(POSTCOPY_BROKEN_THERE, DESTROYED), start=seconds).migration
        assert m.problem is not None
        assert (m.state, m.problem.code) == (State.FAILED, Code.POSTCOPY_LOST)


class TestExternal:
    def outgoing(self) -> Migration:
        return replace(migration(), external=True, state=State.PRECOPY, started_at=T0, target=None)

    def test_its_end_is_seen_from_this_host_alone(self) -> None:
        step = play(self.outgoing(), ev.SwitchedOver(), ev.Left())
        assert isinstance(step.effects[0], Look)
        step = play(step.migration, ev.Completed(sample(downtime_ms=9)), ev.Looked(LEFT, SILENT))
        assert step.migration.state is State.SUCCEEDED
        assert step.migration.result is not None
        assert step.migration.result.downtime_ms == 9

    def test_its_failure_is_seen_when_its_job_is_gone(self) -> None:
        step = play(self.outgoing(), ev.Sampled(Job.NONE, None))
        assert isinstance(step.effects[0], Look)
        assert play(step.migration, ev.Looked(RUNS, SILENT)).migration.state is State.FAILED

    def test_an_incoming_one_ends_when_it_was_started_here(self) -> None:
        m = replace(self.outgoing(), direction=Direction.INCOMING)
        step = play(m, ev.Arrived())
        step = play(step.migration, ev.Looked(ARRIVED, SILENT))
        assert step.migration.state is State.SUCCEEDED

    def test_an_incoming_one_can_only_be_aborted_at_its_source(self) -> None:
        m = replace(self.outgoing(), direction=Direction.INCOMING)
        assert controls.may_abort(m) is not None
        assert play(m, ABORT).effects == ()


def test_time_alone_changes_nothing() -> None:
    m = transferring()
    assert engine.step(m, ev.Ticked(), at(100)).migration == m
