"""One step of one migration: (migration, event, now) -> new migration and effects.

The engine decides everything that happens to a migration and does nothing itself. It is total:
an event that makes no sense in the present state changes nothing, because late and doubled events
are normal when libvirt, timers and people all talk at once. What :func:`step` returns is written
to the journal before any of its effects is carried out (:func:`durable` says what counts).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pmigd.core import autostart, ledger
from pmigd.core import events as ev
from pmigd.core.commands import (
    AUTOSTART,
    CALLS,
    JOURNALLED,
    PMIGD,
    SETTINGS,
    Command,
    Kind,
    Outcome,
)
from pmigd.core.controls import may_suspend
from pmigd.core.effects import Do, Effect, Look, Prepare, ReadSettings, Wake
from pmigd.core.engine.ending import aborted, back_to_queue, closed, end, explained, owing
from pmigd.core.engine.evidence import ASK_ON_S, look_again, looked, restarted, watch_back
from pmigd.core.engine.progress import heard, tick
from pmigd.core.engine.steps import Step, move
from pmigd.core.engine.wishes import abort, change, recover, resolve, start_postcopy
from pmigd.core.model import Call, Migration, Now, Settings, State
from pmigd.core.problem import Code, Problem
from pmigd.core.settings import changed


def step(migration: Migration, event: ev.Event, now: Now) -> Step:
    """Apply one event, and have everything looked at that is owed."""
    if isinstance(event, _TELLING) and migration.open and migration.call is not Call.NOT_MADE:
        migration = replace(migration, heard=migration.heard + 1)
    after = _step(migration, event, now)
    m, effects = after.migration, after.effects
    if m.open and m.state is not State.QUEUED:
        m, called = ledger.drive(m, now)
        effects = (*effects, *map(Do, called))
    m = closed(m, now)
    looks = [effect for effect in effects if isinstance(effect, Look)]
    if looks:
        m = replace(m, look_mono=now.mono + looks[-1].after_s)
        effects = tuple(replace(e, heard=m.heard) if isinstance(e, Look) else e for e in effects)
    if m.state is not migration.state:
        m = replace(m, state_since=now.utc)
    return Step(m, effects)


def withhold(step: Step, problem: Problem, now: Now) -> Step:
    """`step` without the commands that must not be carried out as long as no journal has them."""
    m, effects = step.migration, list[Effect]()
    for effect in step.effects:
        if isinstance(effect, Do) and effect.command.kind in JOURNALLED:
            after = _answered(m, ev.Answered(effect.command.id, problem, made=False), now)
            m = after.migration
            effects += after.effects
        else:
            effects.append(effect)
    if m.state is not step.migration.state:
        m = replace(m, state_since=now.utc)
    return Step(m, tuple(effects))


def _step(m: Migration, event: ev.Event, now: Now) -> Step:
    if m.state.terminal:
        return Step(m)
    if m.ending is not None and (m.verdict is not None or not isinstance(event, _BEFORE_A_CALL)):
        return owing(m, event, now)
    if isinstance(event, ev.FromLibvirt):
        if m.call is Call.NOT_MADE and not m.external:
            return Step(m)  # about a job that somebody else has on the domain
        return heard(m, event, now)
    match event:
        case ev.Admitted():
            return _admitted(m, now)
        case ev.NotAdmitted(problem):
            return Step(end(m, State.FAILED, problem, now) if m.state is State.QUEUED else m)
        case ev.Prepared():
            return _prepared(m, event, now)
        case ev.PrepareFailed(problem):
            return _prepare_failed(m, problem, now)
        case ev.Answered():
            return _answered(m, event, now)
        case ev.SettingsRead(in_force):
            return Step(replace(m, in_force=in_force))
        case ev.Looked():
            return looked(m, event, now)
        case ev.AbortAsked():
            return abort(m, event, now)
        case ev.SuspendAsked(by):
            if may_suspend(m) is not None:
                return Step(m)
            return Step(ledger.want(m, Kind.SUSPEND, by, f"asked for by {by}", now))
        case ev.PostcopyAsked(by):
            return Step(start_postcopy(m, by, f"asked for by {by}", now))
        case ev.RecoverAsked(by):
            return Step(recover(m, by, now))
        case ev.SetAsked():
            return Step(change(m, event, now))
        case ev.WatchLost():
            if not m.watching or m.state is State.QUEUED:
                return Step(m)
            m = replace(m, watching=False, unwatched_since=now.mono)
            return Step(replace(m, evidence=replace(m.evidence, blind=True)))
        case ev.WatchBack():
            return watch_back(m)
        case ev.Restarted():
            return restarted(m, now)
        case ev.Ticked():
            return tick(m, now)
        case ev.Resolved(verdict, by):
            return resolve(m, verdict, by, now)
        case _:
            assert_never(event)


_BEFORE_A_CALL: Final = (ev.AbortAsked, ev.SetAsked)
"""What may still be asked of a migration that is about to be queued again."""
_TELLING: Final = (
    ev.Answered,
    ev.SwitchedOver,
    ev.PostcopyBegan,
    ev.PostcopyBroke,
    ev.Left,
    ev.GuestEnded,
    ev.Arrived,
    ev.Completed,
)
"""What may change where the guest is: a look that was begun before it does not count."""


def _admitted(m: Migration, now: Now) -> Step:
    if m.state is not State.QUEUED:
        return Step(m)
    m = replace(move(m, State.PREPARING), started_at=now.utc, started_mono=now.mono)
    return Step(m, (Prepare(),))


def _prepared(m: Migration, event: ev.Prepared, now: Now) -> Step:
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return Step(m)
    evidence = replace(
        m.evidence,
        because_before=event.because_before,
        paused_before=event.paused_before,
        destination_uuid=event.destination_uuid,
        run_before=event.run_before,
        unknown_there=event.unknown_there,
    )
    # What was set since the looks began is in the request, and so in the call.
    plan = replace(event.plan, request=m.request)
    m = autostart.want_off(replace(m, plan=plan, evidence=evidence), now)
    return Step(ledger.want(m, Kind.PERFORM, PMIGD, "nothing speaks against it", now))


def _prepare_failed(m: Migration, problem: Problem, now: Now) -> Step:
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return Step(m)
    if problem.code in (Code.LIBVIRT_UNAVAILABLE, Code.JOURNAL_UNAVAILABLE):
        # This host is not able to, now; the queue says what it waits for.
        return Step(back_to_queue(m, now))
    return Step(end(m, State.FAILED, problem, now))


def _answered(m: Migration, answer: ev.Answered, now: Now) -> Step:
    """A command's call has ended: what follows from it."""
    command = ledger.get(m, answer.id)
    if command is None or not command.calling:
        return Step(m)
    m, again_s = ledger.settle(m, answer, now)
    effects = () if again_s is None else (Wake(again_s),)
    if command.kind in CALLS:
        return _call_returned(m, command, answer, now)
    if command.kind is Kind.RESUME:
        return look_again(m)
    if command.kind in AUTOSTART:
        m = explained(m, command)
    after = ledger.get(m, command.id)
    if command.kind is Kind.AUTOSTART_OFF and after is not None and after.problem is not None:
        return _prepare_failed(m, after.problem, now)
    if command.kind in SETTINGS and after is not None and after.outcome is Outcome.DONE:
        value = Settings(**{command.kind.value: command.value})
        return Step(replace(m, request=changed(m.request, value)), (ReadSettings(),))
    return Step(m, effects)


def _call_returned(m: Migration, command: Command, answer: ev.Answered, now: Now) -> Step:
    if not command.pending:
        return Step(m)  # nobody waits for it any more
    if not answer.made:
        return _never_called(m, command, answer.problem, now)
    m = replace(m, failure=answer.problem, looks=0)
    if answer.problem is None and (m.state.about.before_switch or m.state is State.POSTCOPY):
        m = move(m, State.FINISHING)
    return Step(m, (Look(),))


def _never_called(m: Migration, command: Command, why: Problem | None, now: Now) -> Step:
    """It is proven that libvirt was not called: there is nothing but our own record to undo."""
    if command.kind is Kind.RECOVER:
        return Step(m, (Look(ASK_ON_S),))
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return look_again(m)
    if m.abort is not None:
        return Step(aborted(m, m.abort, now))
    return _prepare_failed(m, why or Problem(Code.INTERNAL, "libvirt was not called"), now)
