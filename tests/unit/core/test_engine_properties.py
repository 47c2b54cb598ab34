"""Promises that hold for every order of events, with a crash possible between any two of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.commands import CALLS, Kind, Outcome
from pmigd.core.effects import Do, Effect, Look, Prepare, ReadSettings, Wake
from pmigd.core.ledger import MAX_ENTRIES
from pmigd.core.model import Because, Call, Job, Migration, OnTimeout, Postcopy, Settings, State
from pmigd.core.problem import Code, Problem
from pmigd.core.states import may_move
from tests.support import build
from tests.support.examples import examples

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
        build.POSTCOPY_THERE,
        build.DESTROYED,
        build.STARTING,
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
KINDS = st.sampled_from([(kind,) for kind in Kind])
EVENTS = st.one_of(
    st.just(ev.Admitted()),
    st.just(build.PREPARED),
    st.builds(ev.PrepareFailed, st.just(Problem(Code.DESTINATION_UNREACHABLE, ""))),
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
    st.just(ev.AbortAsked("root", "")),
    st.builds(build.Reply, KINDS, FAILURES, st.booleans(), st.booleans()),
    st.just(ev.SetAsked("root", Settings(max_downtime_ms=5, bandwidth_mib_s=1))),
    st.just(ev.SuspendAsked("root")),
    st.just(ev.PostcopyAsked("root")),
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


CALLED = (ev.Admitted(), build.PREPARED)
BEGINNINGS = st.sampled_from([(), CALLED])
"""Most that can go wrong does once the call is made, and by chance that is seldom reached."""


@examples(400)
@example({}, CALLED, [build.replied(Kind.PERFORM, found=False), ev.Ticked()])
@given(REQUESTS, BEGINNINGS, st.lists(EVENTS, max_size=40))
def test_no_order_of_events_and_crashes_breaks_a_promise(request_fields, begun, events) -> None:
    m = build.migration(request=request_fields)
    calls = 0
    for number, event in enumerate((*begun, *events)):
        before = m
        if event == "crash":
            m, event = crash(m), ev.Restarted()
            before = m
        if isinstance(event, build.Reply):
            event = event.to(m)
        step = engine.step(m, event, build.at(number / 2))
        m = step.migration

        # Only moves of the table; an end is an end.
        assert may_move(before.state, m.state)
        if before.state.terminal:
            assert step == engine.Step(before)

        for kind, _ in build.done(step):
            match kind:
                # The call is made at most once in all the lives of pmigd, its intent recorded.
                case Kind.PERFORM:
                    calls += 1
                    assert m.call is Call.MADE
                    assert m.abort is None
                # Nothing is aborted where the guest may run at the destination.
                case Kind.ABORT:
                    assert m.state not in (State.POSTCOPY, State.POSTCOPY_PAUSED)
                    assert m.abort is not None
                # Memory is fetched from behind only where that was allowed.
                case Kind.POSTCOPY:
                    assert m.request.postcopy is not Postcopy.NEVER
                    assert m.state is State.PRECOPY
                # The call is made again only to go on with a post-copy that is broken.
                case Kind.RECOVER:
                    assert m.state is State.POSTCOPY_PAUSED
                    assert m.call is Call.MADE
                # A guest is paused only while its migration can still finish by that.
                case Kind.SUSPEND:
                    assert m.state in (State.PRECOPY, State.POSTCOPY)
                # The source runs on only where no event was missed; the proof that the
                # destination has no copy is taken again right before.
                case Kind.RESUME:
                    assert not m.evidence.blind
                    assert m.suspended or m.evidence.switched or isinstance(event, ev.Looked)
        assert calls <= 1

        # A success was seen at the destination, and not here; or libvirt said that it moved it, and
        # it does not run twice, whatever has become of it since; or an operator vouched for it.
        if m.state is State.SUCCEEDED and before.state is not State.SUCCEEDED:
            vouched = isinstance(event, ev.Resolved)
            seen = not vouched and event.destination.alive and event.source.gone
            told = not vouched and (
                m.evidence.left or m.call is Call.OK or event.source.because is Because.MIGRATED
            )
            assert vouched or seen or told
            assert vouched or not (event.destination.alive and event.source.alive)
        # A failure of a call that was made: the guest is here, or it ended, or an operator said so,
        # or it was lost between the two, in post-copy.
        looked = isinstance(event, ev.Looked) and not before.state.terminal
        if looked and m.state in (State.FAILED, State.CANCELLED):
            lost = m.problem is not None and m.problem.code is Code.POSTCOPY_LOST
            assert event.source.alive or event.source.gone or (lost and event.destination.gone)
            assert lost or not event.destination.alive
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
        if isinstance(event, build.Reply):
            event = event.to(m)
        after = engine.step(m, event, build.at(number)).migration
        if engine.durable(after) != engine.durable(m):
            journalled = crash(after)
        m = after
    assert engine.durable(m) == journalled


@given(st.lists(EVENTS.filter(lambda event: event != "crash"), max_size=30))
def test_others_migrations_are_only_watched(events) -> None:
    m = replace(build.migration(), external=True, state=State.PRECOPY, started_at=build.T0)
    for number, event in enumerate(events):
        if isinstance(event, build.Reply):
            event = event.to(m)
        step = engine.step(m, event, build.at(number))
        asked = isinstance(event, ev.AbortAsked) or m.abort is not None
        for kind, _ in build.done(step):
            assert kind not in (*CALLS, Kind.RESUME)
            assert asked or kind is not Kind.ABORT
        m = step.migration


def answers(effect: Effect, *, arrived: bool) -> ev.Event:
    """What comes of an effect where nothing is broken any more."""
    match effect:
        case Prepare():
            return build.PREPARED
        case Do(command):
            return ev.Answered(command.id)
        case ReadSettings():
            return ev.SettingsRead(Settings(max_downtime_ms=300))
        case Wake():
            return ev.Ticked()
        case Look():
            ends = (build.ABSENT, build.ARRIVED) if arrived else (build.RUNS, build.ABSENT)
            return ev.Looked(*ends)


@examples(400)
@given(REQUESTS, st.lists(EVENTS, max_size=40), st.booleans())
def test_what_is_healed_ends_and_owes_nothing(request_fields, events, arrived) -> None:
    """Whatever happened before: every open migration has a call out, a look or a timer."""
    m = build.migration(request=request_fields)
    out: list[Effect] = []
    now = 0.0

    def happens(event: ev.Event) -> None:
        nonlocal m
        step = engine.step(m, event, build.at(now))
        m = step.migration
        out.extend(step.effects)

    for event in events:
        now += 0.5
        if event == "crash":
            m, event = crash(m), ev.Restarted()
            out.clear()  # nobody waits for what the old life began
        happens(event.to(m) if isinstance(event, build.Reply) else event)
    happens(ev.WatchBack())
    for _ in range(100):
        if not m.open:
            break
        now += 1.0
        happens(ev.Admitted() if m.state is State.QUEUED else ev.Ticked())
        begun = list(out)
        out.clear()
        for effect in begun:
            happens(answers(effect, arrived=arrived))
    assert not m.open, m.state
    assert all(command.outcome is not Outcome.PENDING for command in m.commands)


@examples(30)
@given(st.lists(st.sampled_from(["set", "crash", "refused", "done"]), min_size=150, max_size=300))
def test_a_record_stays_bounded_and_forgets_nothing_that_is_owed(story) -> None:
    m = build.transferring()
    for number, what in enumerate(story):
        pending = {command.id for command in m.commands if command.pending}
        match what:
            case "crash":
                m, event = crash(m), ev.Restarted()
            case "refused":
                event = build.replied(Kind.BANDWIDTH, Problem(Code.MIGRATION_FAILED, "")).to(m)
            case "done":
                event = build.replied(Kind.BANDWIDTH).to(m)
            case _:
                event = ev.SetAsked("root", Settings(bandwidth_mib_s=number), timeout_s=number)
        m = engine.step(m, event, build.at(number)).migration
        assert len(m.commands) <= MAX_ENTRIES
        assert m.dropped == m.numbered - len(m.commands)
        gone = pending - {command.id for command in m.commands}
        assert not gone or isinstance(event, ev.SetAsked)  # another value was asked for
    assert m.call is not Call.NOT_MADE
