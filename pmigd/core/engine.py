"""One step of one migration: (migration, event, now) -> new migration and effects.

The engine decides everything that happens to a migration and does nothing itself. It is total:
an event that makes no sense in the present state changes nothing, because late and doubled events
are normal when libvirt, timers and people all talk at once. What :func:`step` returns is written
to the journal before any of its effects is carried out (:func:`durable` says what counts).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from pmigd.core import autostart, ledger
from pmigd.core import events as ev
from pmigd.core.autostart import Place
from pmigd.core.commands import (
    AT_THE_END,
    AUTOSTART,
    CALLS,
    JOURNALLED,
    PMIGD,
    POLICY,
    REQUEST,
    SETTINGS,
    Command,
    Kind,
    Outcome,
)
from pmigd.core.controls import may_abort, may_postcopy, may_suspend
from pmigd.core.effects import Do, Effect, Look, Prepare, ReadSettings, Wake
from pmigd.core.model import (
    UNASKED,
    Call,
    Direction,
    Ending,
    Job,
    Migration,
    Mode,
    Now,
    OnTimeout,
    Postcopy,
    Result,
    Sample,
    Settings,
    State,
)
from pmigd.core.problem import Code, Problem
from pmigd.core.settings import changed, given
from pmigd.core.states import may_move
from pmigd.core.verdict import Outcome as Truth
from pmigd.core.verdict import (
    Verdict,
    judge,
    judge_external,
    judge_offline,
    keeps_from_recovery,
    outdated,
    standstill,
)

LOOK_DELAYS_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Pauses between questions to both ends; the last one repeats while nothing is settled."""
ASK_ON_S: Final = 5.0
"""The pause between questions about an unresolved migration."""
LOOKS_UNTIL_UNRESOLVED: Final = 4
"""Unclear answers in a row before a migration is called unresolved (about 2 s and the asking)."""
SETTLES_S: Final = 40.0
"""How long libvirt is given to clean up by itself: its keepalive takes 30 s to miss a peer."""
BREAK_GRACE_S: Final = 2.0
"""How soon after post-copy broke our own call comes back, if both hosts have noticed."""
STILL_S: Final = 30.0
"""After how long without any change in its figures a transfer is said to stand still."""
UNWATCHED_LIMIT_S: Final = 30.0
"""How long libvirt may be away before its running migrations are called unresolved."""
RECOVER_DELAYS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a broken post-copy is gone on with by itself; the last one repeats."""
CALL_GRACE_S: Final = 5.0
"""How long a call that may have been made just before a crash is given to show its job."""
UNSEEN_S: Final = 30.0
"""After how long without any look at it an open migration that nobody's call speaks for is looked
at: whatever was lost on the way, none is waited for for ever."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of the migration and what is to be done, in order."""

    migration: Migration
    effects: tuple[Effect, ...] = ()


def durable(migration: Migration) -> Migration:
    """The part that must survive a crash: a step that leaves it as it was is not journalled."""
    return replace(
        migration,
        commands=tuple(map(ledger.durable, migration.commands)),
        progress=None,
        in_force=None,
        looks=0,
        look_mono=None,
        looked_mono=0.0,
        heard=0,
        moved_mono=0.0,
        settling_mono=None,
        watching=True,
        unwatched_since=None,
        recover_mono=0.0,
    )


def step(migration: Migration, event: ev.Event, now: Now) -> Step:
    """Apply one event, and have everything looked at that is owed."""
    if isinstance(event, _TELLING) and migration.open and migration.call is not Call.NOT_MADE:
        migration = replace(migration, heard=migration.heard + 1)
    after = _step(migration, event, now)
    m, effects = after.migration, after.effects
    if m.open and m.state is not State.QUEUED:
        m, called = ledger.drive(m, now)
        effects = (*effects, *map(Do, called))
    m = _closed(m, now)
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
        return _owing(m, event, now)
    if isinstance(event, _FROM_LIBVIRT) and m.call is Call.NOT_MADE and not m.external:
        return Step(m)  # about a job that somebody else has on the domain
    match event:
        case ev.Admitted():
            return _admitted(m, now)
        case ev.NotAdmitted(problem):
            return Step(_end(m, State.FAILED, problem, now) if m.state is State.QUEUED else m)
        case ev.Prepared():
            return _prepared(m, event, now)
        case ev.PrepareFailed(problem):
            return _prepare_failed(m, problem, now)
        case ev.Answered():
            return _answered(m, event, now)
        case ev.SettingsRead(in_force):
            return Step(replace(m, in_force=in_force))
        case ev.Sampled(job, sample):
            return _sampled(m, job, sample, now)
        case ev.IterationBegan(iteration):
            return _iteration(m, iteration, now)
        case ev.SwitchedOver():
            m = replace(m, evidence=replace(m.evidence, switched=True))
            return Step(_move(m, State.FINISHING) if m.state in _BEFORE_SWITCH else m)
        case ev.PostcopyBegan():
            m = replace(m, evidence=replace(m.evidence, switched=True, postcopy=True), problem=None)
            return Step(_move(m, State.POSTCOPY))
        case ev.PostcopyBroke():
            m = _postcopy_paused(m, now)
            if m.external:
                return Step(m)
            # Our own call is about to come back and will ask both ends, unless the other one has
            # not noticed.
            return Step(m, (Look(BREAK_GRACE_S if m.call is Call.MADE else 0.0),))
        case ev.Left():
            m = replace(m, evidence=replace(m.evidence, switched=True, left=True))
            return _ended_by_event(m)
        case ev.GuestEnded():
            return _ended_by_event(replace(m, evidence=replace(m.evidence, ended=True)))
        case ev.Arrived():
            if m.direction is Direction.INCOMING:
                # Look once more: the local daemon may still have the final statistics. The looks
                # of before were at something else, and must not make the next ones rare.
                return _look_again(replace(_move(m, State.FINISHING), looks=0))
            return Step(m)
        case ev.Completed(sample):
            m = replace(m, completed=sample, evidence=replace(m.evidence, left=True))
            return _ended_by_event(m)
        case ev.Looked():
            return _looked(m, event, now)
        case ev.AbortAsked():
            return _abort(m, event, now)
        case ev.SuspendAsked(by):
            if may_suspend(m) is not None:
                return Step(m)
            return Step(ledger.want(m, Kind.SUSPEND, by, f"asked for by {by}", now))
        case ev.PostcopyAsked(by):
            return Step(_start_postcopy(m, by, f"asked for by {by}", now))
        case ev.RecoverAsked(by):
            return Step(_recover(m, by, now))
        case ev.SetAsked():
            return Step(_set(m, event, now))
        case ev.WatchLost():
            if not m.watching or m.state is State.QUEUED:
                return Step(m)
            m = replace(m, watching=False, unwatched_since=now.mono)
            return Step(replace(m, evidence=replace(m.evidence, blind=True)))
        case ev.WatchBack():
            return _watch_back(m)
        case ev.Restarted():
            return _restarted(m, now)
        case ev.Ticked():
            return _ticked(m, now)
        case ev.Resolved(verdict, by):
            return _resolved(m, verdict, by, now)
        case _:
            assert_never(event)


_BEFORE_A_CALL: Final = (ev.AbortAsked, ev.SetAsked)
"""What may still be asked of a migration that is about to be queued again."""
_FROM_LIBVIRT: Final = (
    ev.Sampled,
    ev.IterationBegan,
    ev.SwitchedOver,
    ev.PostcopyBegan,
    ev.PostcopyBroke,
    ev.Left,
    ev.GuestEnded,
    ev.Completed,
)
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
_BEFORE_SWITCH: Final = frozenset({State.PREPARING, State.PRECOPY})
_ANSWER_LOST: Final = frozenset({Code.CONNECTION_BROKE, Code.LIBVIRT_UNAVAILABLE, Code.INTERNAL})
_ON_THE_WIRE: Final = frozenset({State.PREPARING, State.PRECOPY, State.POSTCOPY, State.FINISHING})


def _move(m: Migration, state: State) -> Migration:
    """`m` in `state` if that move exists; a move that does not exist is not made."""
    return replace(m, state=state) if may_move(m.state, state) else m


def _end(
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
    return _closed(_about_to(m, Ending(state, figures), problem, place, now), now)


def _about_to(
    m: Migration, ending: Ending, problem: Problem | None, place: Place, now: Now
) -> Migration:
    """`m` whose verdict is known, with what is owed to it before it ends."""
    m = ledger.close(m, ending.state, now)
    m = autostart.want_at_the_end(m, ending.state, place, now)
    return replace(m, ending=ending, problem=problem)


def _closed(m: Migration, now: Now) -> Migration:
    """`m` at its end, once nothing is owed to it any more."""
    if m.ending is None:
        return m
    if m.pending(*AT_THE_END) is not None:
        return _move(m, State.FINISHING) if m.ending.state.terminal else m
    state, result = m.ending.state, m.ending.result
    m = replace(_move(m, state), ending=None)
    if state is State.QUEUED and (refused := next(autostart.undone(m), None)) is not None:
        # A second start would take the flag as it is now for the guest's own.
        return _end(m, State.FAILED, refused.problem, now)
    if state is State.QUEUED:  # as it was before it was admitted
        return replace(m, started_at=None, started_mono=0.0, watching=True, unwatched_since=None)
    return replace(m, result=result, finished_at=now.utc)


def _owing(m: Migration, event: ev.Event, now: Now) -> Step:
    """The verdict is known: only what is owed for it still counts, and no other evidence."""
    match event:
        case ev.Answered():
            command = ledger.get(m, event.id)
            m, again_s = ledger.settle(m, event, now)
            m = _explained(m, command)
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


def _explained(m: Migration, command: Command | None) -> Migration:
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


def _unresolved(m: Migration, code: Code, why: str) -> Migration:
    problem = Problem(code, why)
    if m.state is State.UNRESOLVED and m.problem == problem:
        return m
    return replace(_move(m, State.UNRESOLVED), problem=problem)


def _admitted(m: Migration, now: Now) -> Step:
    if m.state is not State.QUEUED:
        return Step(m)
    m = replace(_move(m, State.PREPARING), started_at=now.utc, started_mono=now.mono)
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
        return Step(_back_to_queue(m, now))
    return Step(_end(m, State.FAILED, problem, now))


def _back_to_queue(m: Migration, now: Now) -> Migration:
    """`m` as it was before it was admitted, or about to be: nobody called libvirt for it."""
    ending = Ending(State.QUEUED)
    return _closed(_about_to(ledger.uncalled(m), ending, None, Place.HERE, now), now)


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
        return _look_again(m)
    if command.kind in AUTOSTART:
        m = _explained(m, command)
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
    if answer.problem is None and m.state in (*_BEFORE_SWITCH, State.POSTCOPY):
        m = _move(m, State.FINISHING)
    return Step(m, (Look(),))


def _never_called(m: Migration, command: Command, why: Problem | None, now: Now) -> Step:
    """It is proven that libvirt was not called: there is nothing but our own record to undo."""
    if command.kind is Kind.RECOVER:
        return Step(m, (Look(ASK_ON_S),))
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return _look_again(m)
    if m.abort is not None:
        return Step(_aborted(m, m.abort, now))
    return _prepare_failed(m, why or Problem(Code.INTERNAL, "libvirt was not called"), now)


def _transferring(m: Migration, now: Now) -> Step:
    """Disks or memory are on their way."""
    if m.state is not State.PREPARING:
        return Step(m)
    m = _move(m, State.PRECOPY)
    if m.external:
        return Step(m, (ReadSettings(),))
    limit = m.request.max_downtime_ms
    if limit is not None and m.pending(Kind.MAX_DOWNTIME) is None:
        # Now rather than before: libvirt takes back what was set during a job that fails.
        m = ledger.want(m, Kind.MAX_DOWNTIME, REQUEST, "as asked for", now, value=limit)
    return Step(m, (ReadSettings(),))


def _iteration(m: Migration, iteration: int, now: Now) -> Step:
    begun = _transferring(m, now)
    if iteration < 2 or m.request.postcopy is not Postcopy.AFTER_PRECOPY:
        return begun
    if any(c.kind is Kind.POSTCOPY for c in m.commands):
        return begun
    switched = _start_postcopy(begun.migration, POLICY, "one pass of pre-copy is done", now)
    return Step(switched, begun.effects)


def _start_postcopy(m: Migration, by: str, reason: str, now: Now) -> Migration:
    if m.state is not State.PRECOPY or may_postcopy(m) is not None:
        return m
    return ledger.want(m, Kind.POSTCOPY, by, reason, now)


def _recover(m: Migration, by: str, now: Now) -> Migration:
    if m.state is not State.POSTCOPY_PAUSED or m.plan is None:
        return m
    return ledger.want(m, Kind.RECOVER, by, "go on with the broken post-copy", now)


def _set(m: Migration, event: ev.SetAsked, now: Now) -> Migration:
    """Other settings: at once where libvirt has not been called, else as commands."""
    notes = []
    if event.timeout_s is not None:
        # The deadline that has acted is not the one that is asked for now.
        timed_out = m.timed_out and event.timeout_s == m.request.timeout_s
        m = replace(m, request=replace(m.request, timeout_s=event.timeout_s), timed_out=timed_out)
        notes.append(f"timeout {event.timeout_s:g} s" if event.timeout_s else "no timeout")
    if event.priority is not None:
        m = replace(m, request=replace(m.request, priority=event.priority))
        notes.append(f"priority {event.priority}")
    for kind, value, words in given(event.settings):
        if m.call is Call.NOT_MADE:
            one = Settings(**{kind.value: value})
            m = replace(m, request=changed(m.request, one))
            notes.append(words)
        else:
            m = ledger.want(m, kind, event.by, words, now, value=value)
    return ledger.note(m, Kind.SET, event.by, ", ".join(notes), now) if notes else m


def _sampled(m: Migration, job: Job, sample: Sample | None, now: Now) -> Step:
    if job is Job.OUTGOING and _is_anothers(m):
        return Step(m)
    if job is Job.OUTGOING:
        # That libvirt has its job is what a look at both ends would have to show, too.
        m = replace(m, looked_mono=m.looked_mono or now.mono)
        m = ledger.reopen_abort(m, now)
    if job is Job.OUTGOING and m.state is State.UNRESOLVED and not m.evidence.postcopy:
        # A job alone settles nothing about post-copy: libvirt keeps it for a broken one, too.
        m = replace(_move(m, State.PRECOPY), problem=None)
    # Before and after the transfer proper libvirt counts nothing: that is no progress.
    begun = Step(m)
    if sample is not None and sample.memory_total_bytes + sample.disk_total_bytes > 0:
        begun = _transferring(_progressed(m, sample, now), now)
        m = begun.migration
    if job is Job.NONE and m.state is not State.QUEUED and m.call is not Call.MADE:
        # Nobody waits for the call and libvirt has no job: it is over, one way or another. While
        # the call is out this means nothing: its job has not begun, or its answer is on the way.
        return _look_again(m) if m.looks == 0 and m.call is not Call.NOT_MADE else Step(m)
    ticked = _ticked(m, now)
    looks = (Look(),) if _stands_still(m, now) and not _looked_since(m, now, STILL_S) else ()
    return Step(ticked.migration, (*begun.effects, *ticked.effects, *looks))


def _progressed(m: Migration, sample: Sample, now: Now) -> Migration:
    """`m` with the figures of `sample`, and when they last changed."""
    if m.progress is None or m.progress.figures != sample.figures or not m.moved_mono:
        still = m.problem is not None and m.problem.code is Code.STANDSTILL
        m = replace(m, moved_mono=now.mono, problem=None if still else m.problem)
    return replace(m, progress=_with_limit(m, sample.after(m.progress)))


def _stands_still(m: Migration, now: Now) -> bool:
    """libvirt has its job, and for long nothing has been sent nor anything else happened."""
    going = m.state in (State.PRECOPY, State.POSTCOPY, State.FINISHING)
    moved = max(m.moved_mono, 0.0)
    return going and bool(moved) and now.mono - moved > STILL_S


def _looked_since(m: Migration, now: Now, seconds: float) -> bool:
    """Both ends were asked lately, or are being asked."""
    return m.look_mono is not None or now.mono - m.looked_mono < seconds


def _with_limit(m: Migration, sample: Sample) -> Sample:
    if m.in_force is None or m.in_force.max_downtime_ms is None:
        return sample
    return replace(sample, downtime_limit_ms=m.in_force.max_downtime_ms)


def _look_again(m: Migration) -> Step:
    if m.state is State.UNRESOLVED:
        delay = ASK_ON_S
    else:
        delay = LOOK_DELAYS_S[min(m.looks, len(LOOK_DELAYS_S) - 1)]
    return Step(replace(m, looks=m.looks + 1), (Look(delay),))


def _ended_by_event(m: Migration) -> Step:
    """libvirt said that it is over. Our own call is about to return and will ask both ends."""
    if m.state is State.QUEUED:
        return Step(m)
    if m.state in _ON_THE_WIRE:
        m = _move(m, State.FINISHING)
    return Step(m) if m.call is Call.MADE else _look_again(replace(m, looks=0))


def _postcopy_paused(m: Migration, now: Now, waits: str = "") -> Migration:
    m = replace(m, evidence=replace(m.evidence, postcopy=True, switched=True))
    if m.state is not State.POSTCOPY_PAUSED:
        m = replace(_move(m, State.POSTCOPY_PAUSED), recover_mono=now.mono + RECOVER_DELAYS_S[0])
    left = m.request.recover_attempts - m.recoveries
    if waits:
        what_next = f" {waits}"
    elif m.external or m.request.recover_attempts == 0:
        what_next = ""
    elif left > 0:
        what_next = f" pmigd goes on with it when the destination answers, {left} tries left."
    else:
        what_next = f" pmigd has tried {m.recoveries} times to go on with it."
    broke = "The stream of memory pages broke."
    return replace(m, problem=Problem(Code.POSTCOPY_FAILED, broke + what_next))


def _still_broken(m: Migration, event: ev.Looked, now: Now) -> Step:
    """Go on with a broken post-copy by itself, as often as the request allows.

    Only when both ends have just been seen to wait for it: an attempt while the peer is away would
    hold a thread for libvirt's long time-outs and prove nothing.
    """
    keeps = keeps_from_recovery(m.call, event.source, event.destination)
    if m.failure is not None and m.state is State.POSTCOPY_PAUSED:
        # The call came back, the first one or one that was to go on with it: say why.
        tried = any(c.kind is Kind.RECOVER and c.made for c in m.commands)
        pause = RECOVER_DELAYS_S[min(m.recoveries, len(RECOVER_DELAYS_S) - 1)] if tried else 0.0
        m = replace(m, failure=None, recover_mono=max(m.recover_mono, now.mono + pause))
    m = _postcopy_paused(m, now, "" if m.external else keeps)
    if m.external:
        return Step(m, (Look(ASK_ON_S),) if m.direction is Direction.INCOMING else ())
    asked = m.pending(Kind.RECOVER) is not None
    if keeps or asked:
        return Step(m, (Look(ASK_ON_S),))
    if m.recoveries >= m.request.recover_attempts:
        return Step(m)
    if now.mono < m.recover_mono:
        return Step(m, (Look(m.recover_mono - now.mono),))
    return Step(_recover(replace(m, recoveries=m.recoveries + 1), POLICY, now))


def _looked(m: Migration, event: ev.Looked, now: Now) -> Step:
    m = replace(m, look_mono=None, looked_mono=now.mono)
    if m.state is State.QUEUED or m.call is Call.NOT_MADE:
        return Step(m)
    if event.heard is not None and outdated(event.heard, m.heard) and not m.external:
        return Step(m, (Look(),))
    if m.external:
        verdict = judge_external(m.evidence, m.direction, event.source, event.destination)
    elif m.request.offline:
        verdict = judge_offline(m.call, event.source, event.destination)
    else:
        verdict = judge(m.evidence, m.call, event.source, event.destination, suspended=m.suspended)
    if verdict.outcome is not Truth.SETTLING:
        # A look that did not ask the other host says nothing about what that has settled.
        if not m.external or event.destination != UNASKED:
            m = replace(m, settling_mono=None)
    elif m.settling_mono is None:
        m = replace(m, settling_mono=now.mono)
    elif verdict.in_the_end is not None and now.mono - m.settling_mono > SETTLES_S:
        verdict = verdict.in_the_end
    return _act_on(m, verdict, event, now)


def _act_on(m: Migration, verdict: Verdict, event: ev.Looked, now: Now) -> Step:
    match verdict.outcome:
        case Truth.ARRIVED:
            m = replace(m, completed=m.completed or event.completed)
            place = autostart.place_of(m, event.source, event.destination)
            ended = _end(m, State.SUCCEEDED, None, now, afterwards=verdict.why, place=place)
            return Step(ended)
        case Truth.STAYED if verdict.resume_source:
            why = "the migration failed and left the guest paused"
            return Step(ledger.want(m, Kind.RESUME, PMIGD, why, now))
        case Truth.STAYED if any(c.kind is Kind.SUSPEND and c.calling for c in m.commands):
            return _look_again(m)  # it may yet be paused, and is then to be resumed
        case Truth.STAYED:
            return Step(_stayed(m, event, verdict.why, now))
        case Truth.ENDED:
            problem = Problem(verdict.code or Code.GUEST_STOPPED, verdict.why)
            if m.external:
                m = replace(m, evidence=replace(m.evidence, run_before=event.source.run))
            # A half of it may still run, until it needs a page that was not sent.
            lost = verdict.code is Code.POSTCOPY_LOST
            place = Place.UNKNOWN if lost else Place.HERE
            return Step(_end(m, State.FAILED, problem, now, place=place))
        case Truth.GOES_ON:
            return _goes_on(m, event, now)
        case Truth.POSTCOPY_PAUSED:
            return _still_broken(m, event, now)
        case Truth.SETTLING | Truth.UNKNOWN:
            if m.settling_mono is not None:
                unclear = now.mono - m.settling_mono > SETTLES_S
            else:
                # An absent libvirt is given more time: see _ticked.
                patient = verdict.code is Code.LIBVIRT_UNAVAILABLE
                unclear = m.looks >= LOOKS_UNTIL_UNRESOLVED and not patient
            if unclear or m.state is State.UNRESOLVED:
                m = _unresolved(m, verdict.code or Code.GUEST_NOT_FOUND, verdict.why)
            return _look_again(m)
        case _:
            assert_never(verdict.outcome)


def _stayed(m: Migration, event: ev.Looked, besides: str, now: Now) -> Migration:
    """It is proven that the guest did not move: was that a failure, or what was wanted?

    `besides` is what else is to be said of it.
    """
    if m.abort is not None:
        return _aborted(m, m.abort, now)
    if m.failure is not None:
        cancelled = m.failure.code is Code.ABORTED_ELSEWHERE
        problem = replace(m.failure, detail=f"{m.failure.detail} {besides}".strip())
        return _end(m, State.CANCELLED if cancelled else State.FAILED, problem, now)
    if m.external:
        detail = "The migration that others started ended without success."
        return _end(m, State.FAILED, Problem(Code.MIGRATION_FAILED, detail), now)
    detail = (
        f"Nobody saw the answer of libvirt. The guest is {event.source.power} here "
        f"and {event.destination.power} at the destination."
    )
    return _end(m, State.FAILED, Problem(Code.INTERRUPTED, detail), now)


def _goes_on(m: Migration, event: ev.Looked, now: Now) -> Step:
    """The job is still there although its call came back, nobody waits for the call, or it is out
    and gets nowhere."""
    if _is_anothers(m):
        return _look_again(m)
    if m.call in (Call.FAILED, Call.OK):
        m = ledger.note(m, Kind.WATCH, PMIGD, "the call ended but libvirt's job goes on", now)
        m = replace(ledger.lose_call(m, now), failure=None)
    if m.state is State.UNRESOLVED:
        # From post-copy there is no way back to pre-copy.
        state = State.POSTCOPY if m.evidence.postcopy else State.PRECOPY
        m = replace(_move(m, state), problem=None)
    if m.direction is Direction.INCOMING:
        return _look_again(m)  # a destination has no statistics whose end would be noticed
    if _stands_still(m, now) and m.progress is not None and not m.external:
        why = standstill(m.progress, event.source, event.destination)
        m = replace(m, problem=Problem(Code.STANDSTILL, why))
    m = replace(m, looks=0)
    return Step(m if m.call is Call.MADE else ledger.reopen_abort(m, now))


def _is_anothers(m: Migration) -> bool:
    """Whether a job on the guest cannot be this migration's: libvirt itself has ended that.

    Only an answer that was lost on its way, because a connection broke, leaves it open.
    """
    if m.external or m.evidence.postcopy:
        return False
    lost = m.failure is not None and m.failure.code in _ANSWER_LOST
    return m.call is Call.OK or (m.call is Call.FAILED and not lost)


def _abort(m: Migration, asked: ev.AbortAsked, now: Now) -> Step:
    if m.abort is not None or may_abort(m) is not None:
        return Step(m)
    m = ledger.want(m, Kind.ABORT, asked.by, asked.reason, now, code=asked.code)
    if m.call is Call.NOT_MADE and m.abort is not None:
        # libvirt was never called: there is nothing but our own record to undo.
        return Step(_aborted(m, m.abort, now))
    return Step(m)


def _aborted(m: Migration, abort: Command, now: Now) -> Migration:
    """It ended because of `abort`: on request, or as the deadline's failure."""
    code = abort.code or Code.CANCELLED
    state = State.CANCELLED if code is Code.CANCELLED else State.FAILED
    return _end(m, state, Problem(code, abort.reason), now)


def _watch_back(m: Migration) -> Step:
    if m.state is State.QUEUED or m.watching:
        return Step(m)
    m = ledger.at_once(replace(m, watching=True, unwatched_since=None, looks=0))
    # Our own call, if it is still out, will speak for itself; everything else is asked afresh.
    if m.call is Call.MADE:
        return Step(m)
    return _look_again(m) if m.call is not Call.NOT_MADE else Step(m)


def _restarted(m: Migration, now: Now) -> Step:
    """What the journal says is compared with what is there; nothing is called a second time."""
    if m.state is State.QUEUED:
        return Step(m)
    m = durable(m)  # the rest is of the life before, and of its clock
    if m.state is State.PREPARING and m.call is Call.NOT_MADE:
        # The intent to call is journalled before the call, so this one was never made.
        return Step(_back_to_queue(ledger.restarted(m, now), now))
    since_start = _since_start(m, now)
    m = replace(
        m,
        adopted=True,
        started_mono=now.mono - since_start,
        evidence=replace(m.evidence, blind=True),
        looks=0,
        recover_mono=0.0,
    )
    m = ledger.note(
        ledger.restarted(m, now), Kind.ADOPT, PMIGD, "found in the journal after a restart", now
    )
    # libvirt may not have begun the job of a call that was made right before the crash.
    young = since_start < CALL_GRACE_S and m.state is State.PREPARING
    return Step(replace(m, looks=1), (Look(CALL_GRACE_S if young else 0.0),))


def _since_start(m: Migration, now: Now) -> float:
    """Seconds since it began, in an earlier life of pmigd.

    The monotonic clock goes on over those, and a clock that was set meanwhile must end nothing.
    Only a boot begins it anew: what ran has ended with that, and the time of day says when.
    """
    if m.started_mono and now.mono >= m.started_mono:
        return now.mono - m.started_mono
    return max(0.0, (now.utc - m.started_at).total_seconds()) if m.started_at else 0.0


def _ticked(m: Migration, now: Now) -> Step:
    if (
        m.unwatched_since is not None
        and now.mono - m.unwatched_since > UNWATCHED_LIMIT_S
        and m.state is not State.UNRESOLVED
    ):
        if m.state is State.PREPARING and m.call is Call.NOT_MADE:
            return Step(_back_to_queue(m, now))
        return Step(
            _unresolved(m, Code.LIBVIRT_UNAVAILABLE, "libvirt has not answered for 30 seconds.")
        )
    unseen = _unseen(m, now)
    limit = m.request.timeout_s
    if not limit or m.timed_out or m.external or m.state not in _BEFORE_SWITCH:
        return Step(m, unseen)
    if now.mono - m.started_mono < limit:
        return Step(m, unseen)
    reason = f"It still ran after {limit:g} s."
    match m.request.on_timeout:
        case OnTimeout.CONTINUE:
            m = ledger.note(m, Kind.CONTINUE, POLICY, reason, now)
        case OnTimeout.ABORT:
            asked = ev.AbortAsked(POLICY, reason, Code.TIMEOUT)
            return _abort(replace(m, timed_out=True), asked, now)
        case OnTimeout.SUSPEND | OnTimeout.POSTCOPY if m.state is State.PREPARING:
            # Both help only once memory is on its way; libvirt's set-up is short.
            return Step(m, unseen)
        case OnTimeout.POSTCOPY:
            m = _start_postcopy(m, POLICY, reason, now)
        case OnTimeout.SUSPEND:
            m = ledger.want(m, Kind.SUSPEND, POLICY, reason, now)
        case _:
            assert_never(m.request.on_timeout)
    return Step(replace(m, timed_out=True), unseen)


def _unseen(m: Migration, now: Now) -> tuple[Look, ...]:
    """A look at what nobody has looked at for long, though no call of ours speaks for it."""
    if m.external or not m.watching or m.call in (Call.NOT_MADE, Call.MADE):
        return ()
    if m.look_mono is not None:
        late = now.mono - m.look_mono > UNSEEN_S
    else:
        late = now.mono - m.looked_mono > UNSEEN_S
    return (Look(),) if late else ()


def _resolved(m: Migration, verdict: State, by: str, now: Now) -> Step:
    if m.state is not State.UNRESOLVED:
        return Step(m)
    m = ledger.note(m, Kind.RESOLVE, by, f"closed as {verdict}", now)
    if verdict is State.SUCCEEDED:
        return Step(_end(m, State.SUCCEEDED, None, now))
    problem = Problem(Code.RESOLVED_AS_FAILED, m.problem.detail if m.problem else "")
    return Step(_end(m, State.FAILED, problem, now))
