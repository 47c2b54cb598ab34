"""Promises that hold for every order of events, with a crash possible between any two of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.effects import AbortJob, Perform, Recover, ResumeSource, StartPostcopy
from pmigd.core.model import Abort, Call, Job, Migration, OnTimeout, Postcopy, State
from pmigd.core.problem import Code, Problem
from pmigd.core.states import may_move
from tests.support import build

VIEWS = st.sampled_from(
    [
        build.RUNS,
        build.RUNS_AGAIN,
        build.MIGRATING,
        build.SWITCHING,
        build.LEFT_PAUSED,
        build.USER_PAUSED,
        build.INCOMING,
        build.ARRIVED,
        build.ABSENT,
        build.LEFT,
        build.SHUT_DOWN,
        build.SILENT,
        build.POSTCOPY_HERE,
        build.POSTCOPY_BROKEN,
        build.POSTCOPY_BROKEN_THERE,
    ]
)
FAILURES = st.sampled_from(
    [
        None,
        Problem(Code.CONNECTION_BROKE, ""),
        Problem(Code.MIGRATION_FAILED, ""),
        Problem(Code.ABORTED_ELSEWHERE, ""),
    ]
)
EVENTS = st.one_of(
    st.just(ev.Admitted()),
    st.just(build.PREPARED),
    st.builds(ev.PrepareFailed, st.just(Problem(Code.DESTINATION_UNREACHABLE, ""))),
    st.builds(ev.CallReturned, FAILURES),
    st.builds(ev.Sampled, st.sampled_from(Job), st.sampled_from([None, build.sample()])),
    st.builds(ev.IterationBegan, st.integers(1, 9)),
    st.just(ev.SwitchedOver()),
    st.just(ev.PostcopyBegan()),
    st.just(ev.PostcopyBroke()),
    st.just(ev.Left()),
    st.just(ev.GuestEnded()),
    st.just(ev.Arrived()),
    st.just(ev.Completed(build.sample(downtime_ms=10))),
    st.builds(ev.Looked, VIEWS, VIEWS),
    st.just(ev.AbortAsked(Abort("root", "", build.T0))),
    st.builds(ev.AbortAnswered, FAILURES, st.booleans()),
    st.builds(ev.SuspendAnswered, FAILURES),
    st.builds(ev.ResumeAnswered, FAILURES),
    st.just(ev.SuspendAsked("root")),
    st.just(ev.PostcopyAsked("root")),
    st.builds(ev.PostcopyAnswered, FAILURES),
    st.just(ev.RecoverAsked("root")),
    st.just(ev.WatchLost()),
    st.just(ev.WatchBack()),
    st.just(ev.Ticked()),
    st.just(ev.Resolved(State.SUCCEEDED, "root")),
    st.just("crash"),
)
REQUESTS = st.fixed_dictionaries(
    {
        "timeout_s": st.sampled_from([0, 3]),
        "on_timeout": st.sampled_from(OnTimeout),
        "postcopy": st.sampled_from(Postcopy),
    }
)


def crash(m: Migration) -> Migration:
    """What a new life of pmigd finds in the journal."""
    return msgspec.json.decode(msgspec.json.encode(engine.durable(m)), type=Migration)


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.lists(EVENTS, max_size=40))
def test_no_order_of_events_and_crashes_breaks_a_promise(request_fields, events) -> None:
    m = build.migration(request=request_fields)
    calls = 0
    for number, event in enumerate(events):
        before = m
        if event == "crash":
            m, event = crash(m), ev.Restarted()
            before = m
        step = engine.step(m, event, build.at(number / 2))
        m = step.migration

        # Only moves of the table; an end is an end.
        assert may_move(before.state, m.state)
        if before.state.terminal:
            assert step == engine.Step(before)

        # The call is made at most once in all the lives of pmigd, and with its intent recorded.
        for effect in step.effects:
            if isinstance(effect, Perform):
                calls += 1
                assert m.call is Call.MADE
                assert m.abort is None
            # Nothing is aborted where the guest may run at the destination.
            if isinstance(effect, AbortJob):
                assert m.state not in (State.POSTCOPY, State.POSTCOPY_PAUSED)
                assert m.abort is not None
            # Memory is fetched from behind only where that was allowed, and once.
            if isinstance(effect, StartPostcopy):
                assert m.request.postcopy is not Postcopy.NEVER
                assert m.state is State.PRECOPY
            # The call is made again only to go on with a post-copy that is broken.
            if isinstance(effect, Recover):
                assert before.state is State.POSTCOPY_PAUSED
                assert isinstance(event, ev.RecoverAsked)
                assert m.call is Call.MADE
            # The source runs on only when both ends were asked just now and the destination has
            # no copy.
            if isinstance(effect, ResumeSource):
                assert isinstance(event, ev.Looked)
                assert event.destination.gone
                assert not before.evidence.blind
        assert calls <= 1

        # A success was seen at the destination, and not here; or an operator vouched for it.
        if m.state is State.SUCCEEDED and before.state is not State.SUCCEEDED:
            vouched = isinstance(event, ev.Resolved)
            assert vouched or (event.destination.alive and event.source.gone)
        # A failure of a call that was made: the guest is here, or it ended, or an operator said so.
        looked = isinstance(event, ev.Looked) and not before.state.terminal
        if looked and m.state in (State.FAILED, State.CANCELLED):
            assert event.source.alive or event.source.gone
            assert not event.destination.alive
        # Whoever is closed says why, unless it succeeded; whoever is open has no end.
        if m.state in (State.FAILED, State.CANCELLED, State.UNRESOLVED):
            assert m.problem is not None
        assert m.state.terminal == (m.finished_at is not None)
        assert m.state.terminal == (m.result is not None)


@given(st.lists(EVENTS.filter(lambda event: event != "crash"), max_size=30))
def test_a_step_that_is_not_journalled_changes_nothing_that_a_crash_would_lose(events) -> None:
    m = build.migration()
    journalled = crash(m)
    for number, event in enumerate(events):
        after = engine.step(m, event, build.at(number)).migration
        if engine.durable(after) != engine.durable(m):
            journalled = crash(after)
        m = after
    assert engine.durable(m) == journalled


@given(st.lists(EVENTS.filter(lambda event: event != "crash"), max_size=30))
def test_others_migrations_are_only_watched(events) -> None:
    m = replace(
        build.migration(), external=True, state=State.PRECOPY, started_at=build.T0, call=Call.LOST
    )
    for number, event in enumerate(events):
        step = engine.step(m, event, build.at(number))
        asked = isinstance(event, ev.AbortAsked) or m.abort is not None
        for effect in step.effects:
            assert not isinstance(effect, Perform | ResumeSource)
            assert asked or not isinstance(effect, AbortJob)
        m = step.migration
