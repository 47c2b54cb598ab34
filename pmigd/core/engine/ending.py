"""How a migration ends, what is owed to it until then, and its way back to the queue."""

from __future__ import annotations

from dataclasses import replace

from pmigd.core import autostart, ledger
from pmigd.core import events as ev
from pmigd.core.autostart import Place
from pmigd.core.commands import AT_THE_END, AUTOSTART, Command, Outcome
from pmigd.core.effects import Wake
from pmigd.core.engine.steps import Step, durable, move
from pmigd.core.model import Ending, Migration, Mode, Now, Result, State
from pmigd.core.problem import Code, Problem


def end(
    m: Migration,
    state: State,
    problem: Problem | None,
    now: Now,
    *,
    afterwards: str = "",
    place: Place | None = None,
) -> Migration:
    """`m` in a terminal state, or about to be, with its final figures.

    `place` is where the guest is; by default where it is after such an end.
    """
    last = m.completed or m.progress
    duration_s = max(0.0, now.mono - m.started_mono) if m.started_at else 0.0
    if m.adopted and m.completed is not None:
        duration_s = m.completed.elapsed_ms / 1000  # it may have ended long before anybody asked
    figures = Result(
        duration_s=duration_s,
        transferred_bytes=(
            last.memory_processed_bytes + last.disk_processed_bytes if last else None
        ),
        iterations=last.iteration if last else None,
        mode=_mode(m),
        afterwards=afterwards,
    )
    if state is State.SUCCEEDED and m.completed is not None:
        # Only libvirt's measurement after the fact is a pause; before, the field is a forecast.
        figures = replace(
            figures,
            downtime_ms=m.completed.downtime_ms,
            downtime_net_ms=m.completed.downtime_net_ms,
        )
    if place is None:
        place = Place.THERE if state is State.SUCCEEDED else Place.HERE
    return closed(_about_to(m, Ending(state, figures), problem, place, now), now)


def _about_to(
    m: Migration, ending: Ending, problem: Problem | None, place: Place, now: Now
) -> Migration:
    """`m` whose verdict is known, with what is owed to it before it ends."""
    m = ledger.close(m, ending.state, now)
    m = autostart.want_at_the_end(m, ending.state, place, now)
    return replace(m, ending=ending, problem=problem)


def closed(m: Migration, now: Now) -> Migration:
    """`m` at its end, once nothing is owed to it any more."""
    if m.ending is None:
        return m
    if m.pending(*AT_THE_END) is not None:
        return move(m, State.FINISHING) if m.ending.state.terminal else m
    state, result = m.ending.state, m.ending.result
    m = replace(move(m, state), ending=None)
    if state is State.QUEUED and (refused := next(autostart.undone(m), None)) is not None:
        # A second start would take the flag as it is now for the guest's own.
        return end(m, State.FAILED, refused.problem, now)
    if state is State.QUEUED:  # as it was before it was admitted
        return replace(m, started_at=None, started_mono=0.0, watching=True, unwatched_since=None)
    return replace(m, result=result, finished_at=now.utc)


def owing(m: Migration, event: ev.Event, now: Now) -> Step:
    """The verdict is known: only what is owed for it still counts, and no other evidence."""
    match event:
        case ev.Answered():
            command = ledger.get(m, event.id)
            m, again_s = ledger.settle(m, event, now)
            m = explained(m, command)
            return Step(m, () if again_s is None else (Wake(again_s),))
        case ev.WatchLost():
            return Step(replace(m, watching=False))
        case ev.WatchBack():
            return Step(ledger.at_once(replace(m, watching=True)))
        case ev.Restarted():
            adopted = m.adopted or m.verdict is not None
            return Step(replace(ledger.restarted(durable(m), now), adopted=adopted))
        case _:
            return Step(m)


def explained(m: Migration, command: Command | None) -> Migration:
    """`m` where a refusal that has just come for a flag says what it means."""
    if command is None or command.kind not in AUTOSTART or not command.pending:
        return m
    after = ledger.get(m, command.id)
    if after is None or after.outcome is not Outcome.REFUSED or after.problem is None:
        return m
    return ledger.amend(m, after.id, autostart.explained(m, after, after.problem))


def _mode(m: Migration) -> Mode:
    if m.request.offline:
        return Mode.OFFLINE
    return Mode.POSTCOPY if m.evidence.postcopy else Mode.PRECOPY


def unresolved(m: Migration, code: Code, why: str) -> Migration:
    """`m` whose truth is not known, and why."""
    problem = Problem(code, why)
    if m.state is State.UNRESOLVED and m.problem == problem:
        return m
    return replace(move(m, State.UNRESOLVED), problem=problem)


def back_to_queue(m: Migration, now: Now) -> Migration:
    """`m` as it was before it was admitted, or about to be: nobody called libvirt for it."""
    ending = Ending(State.QUEUED)
    return closed(_about_to(ledger.uncalled(m), ending, None, Place.HERE, now), now)


def aborted(m: Migration, abort: Command, now: Now) -> Migration:
    """It ended because of `abort`: on request, or as the deadline's failure."""
    code = abort.code or Code.CANCELLED
    state = State.CANCELLED if code is Code.CANCELLED else State.FAILED
    return end(m, state, Problem(code, abort.reason), now)
