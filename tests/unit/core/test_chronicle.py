"""The log of what happened: short, and yet enough to come to the same end by playing it again."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from pmigd.adapters.journal import documents
from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.chronicle import PENDING_MAX, Logged, noted
from pmigd.core.model import Job, Migration, State
from tests.support import build
from tests.support.examples import examples
from tests.unit.core.test_engine_properties import EVENTS, REQUESTS, crash


def live(m: Migration, events: list[object]) -> tuple[Migration, list[Logged]]:
    """Lives of pmigd as the controller leads them: what the journal has at the end."""
    written, log, pending = m, [], ()
    for number, event in enumerate(events):
        if event == "crash":
            m, pending, event = crash(written), (), ev.Restarted()
        if isinstance(event, build.Reply):
            event = event.to(m)
        now = build.at(number / 2)
        after = engine.step(m, event, now).migration
        pending = noted(pending, m, event, after, now)
        if engine.durable(after) != engine.durable(m):
            written, pending = after, log.extend(pending) or ()
        m = after
    return written, log


def replayed(m: Migration, log: list[Logged]) -> Migration:
    for logged in log:
        m = engine.step(m, logged.event, logged.now).migration
    return m


@examples(300)
@given(REQUESTS, st.lists(EVENTS, max_size=40))
def test_what_is_logged_played_again_gives_what_the_journal_has(request_fields, events) -> None:
    submitted = build.migration(request=request_fields)
    written, log = live(submitted, events)
    assert engine.durable(replayed(submitted, log)) == engine.durable(written)


def test_a_story_is_logged_without_its_ticks_and_with_one_sample_for_each_pass() -> None:
    def seen(iteration: int, sent: int) -> ev.Sampled:
        sample = build.sample(iteration=iteration, memory_processed_bytes=sent)
        return ev.Sampled(Job.OUTGOING, sample)

    samples = [seen(1 + sent // 10, sent) for sent in range(40)]
    ticking = [event for sample in samples for event in (sample, ev.Ticked())]
    story = [
        ev.Admitted(),
        build.PREPARED,
        *ticking,
        ev.SwitchedOver(),
        build.returned(),
        ev.Looked(build.LEFT, build.ARRIVED),
    ]
    written, log = live(build.migration(), story)
    assert written.state is State.SUCCEEDED
    assert [logged.event for logged in log] == [
        ev.Admitted(),
        build.PREPARED,
        samples[0],  # the transfer began
        samples[9],
        samples[19],
        samples[29],
        samples[39],
        ev.SwitchedOver(),
        ev.Answered(1),
        story[-1],
    ]
    assert engine.durable(replayed(build.migration(), log)) == engine.durable(written)
    assert replayed(build.migration(), log).result == written.result


def test_a_tick_that_changed_something_is_logged() -> None:
    m = build.transferring(request={"timeout_s": 1.0})
    after = engine.step(m, ev.Ticked(), build.at(9)).migration
    assert noted((), m, ev.Ticked(), after, build.at(9)) == (Logged(build.at(9), ev.Ticked()),)


def test_what_waits_to_be_written_is_bounded() -> None:
    m, pending = build.transferring(), ()
    for second in range(PENDING_MAX * 2):
        event = ev.Looked(build.MIGRATING, build.INCOMING)
        pending = noted(pending, m, event, replace(m, looks=second), build.at(second))
    assert len(pending) == PENDING_MAX
    assert pending[-1].now == build.at(PENDING_MAX * 2 - 1)


@examples(200)
@given(EVENTS.filter(lambda event: event != "crash"), st.floats(0, 1e9))
def test_every_event_is_read_as_it_was_written(event, seconds) -> None:
    now = build.at(seconds)
    if isinstance(event, build.Reply):
        event = event.to(build.transferring())
    raw, name = documents.encoded(event), type(event).__name__
    read = documents.logged_of(now.utc.isoformat(), now.mono, documents.VERSION, name, raw)
    assert read == Logged(now, event)


def test_no_event_has_the_name_of_another() -> None:
    kinds = get_args(ev.Event)
    assert len({kind.__name__ for kind in kinds}) == len(kinds)
