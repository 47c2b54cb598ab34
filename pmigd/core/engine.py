"""One step of one migration: (migration, event, now) -> new migration and effects.

The engine decides everything that happens to a migration and does nothing itself. It is total:
an event that makes no sense in the present state changes nothing, because late and doubled events
are normal when libvirt, timers and people all talk at once. What :func:`step` returns is written
to the journal before any of its effects is carried out (:func:`durable` says what counts).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from pmigd.core import events as ev
from pmigd.core.effects import (
    AbortJob,
    Effect,
    Look,
    Perform,
    Prepare,
    Recover,
    ResumeSource,
    SetMaxDowntime,
    StartPostcopy,
    SuspendGuest,
)
from pmigd.core.model import (
    Abort,
    Action,
    Because,
    Call,
    Direction,
    Job,
    Migration,
    Mode,
    Now,
    OnTimeout,
    Postcopy,
    Result,
    Sample,
    State,
    View,
)
from pmigd.core.problem import Code, Problem
from pmigd.core.states import may_move
from pmigd.core.verdict import Outcome, Verdict, judge, judge_external, judge_offline

LOOK_DELAYS_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Pauses between questions to both ends; the last one repeats while nothing is settled."""
ASK_ON_S: Final = 5.0
"""The pause between questions about an unresolved migration."""
LOOKS_UNTIL_UNRESOLVED: Final = 4
"""Unclear answers in a row before a migration is called unresolved (about 2 s and the asking)."""
LOOKS_UNTIL_STUCK: Final = 14
"""The same while libvirt should clean up by itself: its keepalive takes 30 s to miss a peer."""
UNWATCHED_LIMIT_S: Final = 30.0
"""How long libvirt may be away before its running migrations are called unresolved."""
ABORT_RETRY_S: Final = 0.1
"""Pause before an abort is asked for again that came before libvirt's job had begun."""
POSTCOPY_RETRY_S: Final = 0.5
"""Pause before post-copy is asked for again that QEMU was not ready for."""
RECOVER_DELAYS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a broken post-copy is gone on with by itself; the last one repeats."""
CALL_GRACE_S: Final = 5.0
"""How long a call that may have been made just before a crash is given to show its job."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of the migration and what is to be done, in order."""

    migration: Migration
    effects: tuple[Effect, ...] = ()


def durable(migration: Migration) -> Migration:
    """The part that must survive a crash: a step that leaves it as it was is not journalled."""
    return replace(
        migration, progress=None, looks=0, watching=True, unwatched_since=None, recover_mono=0.0
    )


def may_abort(migration: Migration) -> Problem | None:
    """Why `migration` cannot be aborted, or None. Aborting twice is not an error."""
    if migration.state is State.CANCELLED:
        return None
    if migration.direction is Direction.INCOMING:
        return Problem(Code.WRONG_STATE, "An incoming migration can only be aborted at its source.")
    if migration.state.terminal:
        return Problem(Code.WRONG_STATE, f"The migration has {migration.state} already.")
    if migration.evidence.postcopy and migration.state is not State.UNRESOLVED:
        return Problem(
            Code.WRONG_STATE,
            "In post-copy the guest runs at the destination: aborting would lose it.",
        )
    if migration.state is State.UNRESOLVED:
        return Problem(
            Code.WRONG_STATE, "An unresolved migration has no job to abort; resolve it instead."
        )
    return None


def may_resolve(migration: Migration) -> Problem | None:
    """Why an operator cannot close `migration` by hand, or None."""
    if migration.state is State.UNRESOLVED:
        return None
    return Problem(
        Code.WRONG_STATE,
        f"Only an unresolved migration can be resolved; this one is {migration.state}.",
    )


def may_suspend(migration: Migration) -> Problem | None:
    """Why the guest cannot be paused to get `migration` finished, or None."""
    if migration.state is not State.PRECOPY or migration.direction is Direction.INCOMING:
        return Problem(
            Code.WRONG_STATE,
            f"A guest is paused while its memory is copied; this migration is {migration.state}.",
        )
    return None


def may_postcopy(migration: Migration) -> Problem | None:
    """Why `migration` cannot be switched to post-copy, or None. Doing so twice is not an error."""
    if migration.state in (State.POSTCOPY, State.POSTCOPY_PAUSED):
        return None
    if migration.request.postcopy is Postcopy.NEVER:
        return Problem(
            Code.WRONG_STATE, "It was started without post-copy, which must be allowed beforehand."
        )
    if migration.state is not State.PRECOPY:
        return Problem(
            Code.WRONG_STATE,
            f"Post-copy begins from pre-copy; this migration is {migration.state}.",
        )
    return None


def may_change(migration: Migration) -> Problem | None:
    """Why the settings of `migration` cannot be changed, or None."""
    if migration.direction is Direction.INCOMING:
        return Problem(Code.WRONG_STATE, "An incoming migration is controlled at its source.")
    if migration.state in (State.QUEUED, State.PREPARING, State.PRECOPY, State.POSTCOPY):
        return None
    return Problem(
        Code.WRONG_STATE, f"Settings are changed of what waits or runs; this is {migration.state}."
    )


def may_recover(migration: Migration) -> Problem | None:
    """Why there is no broken post-copy to recover, or None."""
    if migration.state is State.POSTCOPY:
        return None  # it goes on already
    if migration.state is not State.POSTCOPY_PAUSED or migration.plan is None:
        return Problem(
            Code.WRONG_STATE,
            f"Only a broken post-copy can be recovered; this migration is {migration.state}.",
        )
    return None


def step(migration: Migration, event: ev.Event, now: Now) -> Step:
    """Apply one event."""
    after = _step(migration, event, now)
    if after.migration.state is migration.state:
        return after
    return Step(replace(after.migration, state_since=now.utc), after.effects)


def _step(m: Migration, event: ev.Event, now: Now) -> Step:
    if m.state.terminal:
        return Step(m)
    if isinstance(event, _FROM_LIBVIRT) and m.call is Call.NOT_MADE and not m.external:
        return Step(m)  # about a job that somebody else has on the domain
    match event:
        case ev.Admitted():
            return _admitted(m, now)
        case ev.NotAdmitted(problem):
            return Step(_end(m, State.FAILED, problem, now) if m.state is State.QUEUED else m)
        case ev.Prepared():
            return _prepared(m, event)
        case ev.PrepareFailed(problem):
            return _prepare_failed(m, problem, now)
        case ev.CallReturned(failure):
            return _call_returned(m, failure)
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
            # Our own call is about to come back and will ask both ends; otherwise it is done here.
            return Step(m) if m.call is Call.MADE or m.external else Step(m, (Look(),))
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
        case ev.AbortAsked(abort):
            return _abort(m, abort, now)
        case ev.AbortAnswered(failure, no_job):
            return _abort_answered(m, failure, no_job=no_job, now=now)
        case ev.SuspendAnswered(failure):
            if failure is None:
                return Step(m)
            return Step(_act(m, "suspend", "pmigd", f"failed: {failure.detail}", now))
        case ev.SuspendAsked(by):
            if may_suspend(m) is not None or m.suspended:
                return Step(m)
            m = replace(_act(m, "suspend", by, f"asked for by {by}", now), suspended=True)
            return Step(m, (SuspendGuest(),))
        case ev.PostcopyAsked(by):
            return _start_postcopy(m, by, f"asked for by {by}", now)
        case ev.PostcopyAnswered(failure):
            if failure is None or m.state is not State.PRECOPY:
                return Step(m)
            if failure.code in (Code.UNSUPPORTED_BY_LIBVIRT, Code.SOURCE_AUTH):
                return Step(_act(m, "postcopy", "pmigd", f"refused: {failure.detail}", now))
            # QEMU refuses until its first pass has begun.
            return Step(m, (StartPostcopy(POSTCOPY_RETRY_S),))
        case ev.RecoverAsked(by):
            return _recover(m, by, now)
        case ev.Changed(request, by, reason):
            return Step(replace(_act(m, "set", by, reason, now), request=request))
        case ev.ResumeAnswered(failure):
            if failure is not None:
                m = _act(m, "resume", "pmigd", f"failed: {failure.detail}", now)
            return _look_again(m)
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


_FROM_LIBVIRT: Final = (
    ev.IterationBegan,
    ev.SwitchedOver,
    ev.PostcopyBegan,
    ev.PostcopyBroke,
    ev.Left,
    ev.GuestEnded,
    ev.Completed,
)
_BEFORE_SWITCH: Final = frozenset({State.PREPARING, State.PRECOPY})
_ON_THE_WIRE: Final = frozenset({State.PREPARING, State.PRECOPY, State.POSTCOPY, State.FINISHING})


def _move(m: Migration, state: State) -> Migration:
    """`m` in `state` if that move exists; a move that does not exist is not made."""
    return replace(m, state=state) if may_move(m.state, state) else m


def _act(m: Migration, action: str, by: str, reason: str, now: Now) -> Migration:
    return replace(m, actions=(*m.actions, Action(now.utc, action, by, reason)))


def _end(m: Migration, state: State, problem: Problem | None, now: Now) -> Migration:
    """`m` in a terminal state, with its final figures."""
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
    )
    if state is State.SUCCEEDED and m.completed is not None:
        # Only libvirt's measurement after the fact is a pause; before, the field is a forecast.
        figures = replace(
            figures,
            downtime_ms=m.completed.downtime_ms,
            downtime_net_ms=m.completed.downtime_net_ms,
        )
    m = _move(m, state)
    return replace(m, problem=problem, result=figures, finished_at=now.utc)


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


def _prepared(m: Migration, event: ev.Prepared) -> Step:
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return Step(m)
    evidence = replace(
        m.evidence,
        because_before=event.because_before,
        paused_before=event.paused_before,
        destination_uuid=event.destination_uuid,
    )
    m = replace(m, plan=event.plan, evidence=evidence, call=Call.MADE)
    return Step(m, (Perform(event.plan),))


def _prepare_failed(m: Migration, problem: Problem, now: Now) -> Step:
    if m.state is State.POSTCOPY_PAUSED and m.call is not Call.MADE:
        return Step(m, (Look(ASK_ON_S),))  # it was not gone on with: another look tries again
    if m.state is not State.PREPARING or m.call is not Call.NOT_MADE:
        return Step(m)
    if problem.code in (Code.LIBVIRT_UNAVAILABLE, Code.JOURNAL_UNAVAILABLE):
        # This host is not able to, now; the queue says what it waits for.
        return Step(_back_to_queue(m))
    return Step(_end(m, State.FAILED, problem, now))


def _back_to_queue(m: Migration) -> Migration:
    """`m` as it was before it was admitted: nobody called libvirt for it."""
    m = replace(_move(m, State.QUEUED), started_at=None, started_mono=0.0)
    return replace(m, watching=True, unwatched_since=None)


def _call_returned(m: Migration, failure: Problem | None) -> Step:
    if m.call is not Call.MADE:
        return Step(m)
    m = replace(m, call=Call.OK if failure is None else Call.FAILED, failure=failure, looks=0)
    if failure is None and m.state in (*_BEFORE_SWITCH, State.POSTCOPY):
        m = _move(m, State.FINISHING)
    return Step(m, (Look(),))


def _transferring(m: Migration) -> Step:
    """Disks or memory are on their way."""
    if m.state is not State.PREPARING:
        return Step(m)
    limit = m.request.max_downtime_ms
    # Now rather than before: libvirt takes back what was set during a job that fails.
    effects = (SetMaxDowntime(limit),) if limit is not None and not m.external else ()
    return Step(_move(m, State.PRECOPY), effects)


def _iteration(m: Migration, iteration: int, now: Now) -> Step:
    begun = _transferring(m)
    if iteration < 2 or m.request.postcopy is not Postcopy.AFTER_PRECOPY:
        return begun
    switched = _start_postcopy(begun.migration, "policy", "one pass of pre-copy is done", now)
    return Step(switched.migration, (*begun.effects, *switched.effects))


def _start_postcopy(m: Migration, by: str, reason: str, now: Now) -> Step:
    if m.postcopy_asked or m.state is not State.PRECOPY or may_postcopy(m) is not None:
        return Step(m)
    m = replace(_act(m, "postcopy", by, reason, now), postcopy_asked=True)
    return Step(m, (StartPostcopy(),))


def _recover(m: Migration, by: str, now: Now) -> Step:
    if m.state is not State.POSTCOPY_PAUSED or m.plan is None or m.call is Call.MADE:
        return Step(m)
    m = replace(
        _act(m, "recover", by, "go on with the broken post-copy", now), call=Call.MADE, failure=None
    )
    return Step(m, (Recover(m.plan),))  # type: ignore[arg-type]  # checked above


def _sampled(m: Migration, job: Job, sample: Sample | None, now: Now) -> Step:
    if job is Job.OUTGOING and m.state is State.UNRESOLVED and not m.evidence.postcopy:
        # A job alone settles nothing about post-copy: libvirt keeps it for a broken one, too.
        m = replace(_move(m, State.PRECOPY), problem=None)
    # Before and after the transfer proper libvirt counts nothing: that is no progress.
    begun = Step(m)
    if sample is not None and sample.memory_total_bytes + sample.disk_total_bytes > 0:
        begun = _transferring(replace(m, progress=sample.after(m.progress)))
        m = begun.migration
    if job is Job.NONE and m.state is not State.QUEUED and m.call is not Call.MADE:
        # Nobody waits for the call and libvirt has no job: it is over, one way or another. While
        # the call is out this means nothing: its job has not begun, or its answer is on the way.
        return _look_again(m) if m.looks == 0 and m.call is not Call.NOT_MADE else Step(m)
    ticked = _ticked(m, now)
    return Step(ticked.migration, (*begun.effects, *ticked.effects))


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


def _postcopy_paused(m: Migration, now: Now) -> Migration:
    m = replace(m, evidence=replace(m.evidence, postcopy=True, switched=True))
    if m.state is not State.POSTCOPY_PAUSED:
        m = replace(_move(m, State.POSTCOPY_PAUSED), recover_mono=now.mono + RECOVER_DELAYS_S[0])
    left = m.request.recover_attempts - m.recoveries
    if m.external or m.request.recover_attempts == 0:
        what_next = ""
    elif left > 0:
        what_next = f" pmigd goes on with it when the destination answers, {left} tries left."
    else:
        what_next = f" pmigd has tried {m.recoveries} times to go on with it."
    broke = "The stream of memory pages broke."
    return replace(m, problem=Problem(Code.POSTCOPY_FAILED, broke + what_next))


def _still_broken(m: Migration, destination: View, now: Now) -> Step:
    """Go on with a broken post-copy by itself, as often as the request allows.

    Only when both ends have just been seen to wait for it: an attempt while the peer is away would
    hold a thread for libvirt's long time-outs and prove nothing.
    """
    if m.failure is not None and m.state is State.POSTCOPY_PAUSED:
        # The call came back, the first one or one that was to go on with it: say why.
        tried = any(action.action == "recover" for action in m.actions)
        m = _act(m, "recover" if tried else "postcopy", "pmigd", f"failed: {m.failure.detail}", now)
        pause = RECOVER_DELAYS_S[min(m.recoveries, len(RECOVER_DELAYS_S) - 1)] if tried else 0.0
        m = replace(m, failure=None, recover_mono=max(m.recover_mono, now.mono + pause))
    m = _postcopy_paused(m, now)
    if m.external or m.call is Call.MADE or m.recoveries >= m.request.recover_attempts:
        return Step(m)
    if now.mono < m.recover_mono:
        return Step(m, (Look(m.recover_mono - now.mono),))
    if destination.because is not Because.POSTCOPY_FAILED:
        return Step(m, (Look(ASK_ON_S),))
    return _recover(replace(m, recoveries=m.recoveries + 1), "policy", now)


def _looked(m: Migration, event: ev.Looked, now: Now) -> Step:
    if m.state is State.QUEUED or (m.call is Call.NOT_MADE and not m.external):
        return Step(m)
    if m.external:
        verdict = judge_external(m.evidence, m.direction, event.source)
    elif m.request.offline:
        verdict = judge_offline(m.call, event.source, event.destination)
    else:
        verdict = judge(m.evidence, event.source, event.destination, suspended=m.suspended)
    return _act_on(m, verdict, event, now)


def _act_on(m: Migration, verdict: Verdict, event: ev.Looked, now: Now) -> Step:
    match verdict.outcome:
        case Outcome.ARRIVED:
            m = replace(m, completed=m.completed or event.completed)
            return Step(_end(m, State.SUCCEEDED, None, now))
        case Outcome.STAYED if verdict.resume_source:
            m = _act(m, "resume", "pmigd", "the migration failed and left the guest paused", now)
            return Step(m, (ResumeSource(),))
        case Outcome.STAYED:
            return Step(_stayed(m, event, now))
        case Outcome.ENDED:
            problem = Problem(Code.GUEST_STOPPED, f"The domain is {event.source.power} here.")
            return Step(_end(m, State.FAILED, problem, now))
        case Outcome.GOES_ON:
            return _goes_on(m, now)
        case Outcome.POSTCOPY_PAUSED:
            return _still_broken(m, event.destination, now)
        case Outcome.SETTLING | Outcome.UNKNOWN:
            limit = (
                LOOKS_UNTIL_STUCK if verdict.outcome is Outcome.SETTLING else LOOKS_UNTIL_UNRESOLVED
            )
            # An absent libvirt is given more time: see _ticked.
            patient = verdict.code is Code.LIBVIRT_UNAVAILABLE
            if (m.looks >= limit and not patient) or m.state is State.UNRESOLVED:
                m = _unresolved(m, verdict.code or Code.GUEST_NOT_FOUND, verdict.why)
            return _look_again(m)
        case _:
            assert_never(verdict.outcome)


def _stayed(m: Migration, event: ev.Looked, now: Now) -> Migration:
    """It is proven that the guest did not move: was that a failure, or what was wanted?"""
    if m.abort is not None and not m.abort.timeout:
        return _end(m, State.CANCELLED, Problem(Code.CANCELLED, m.abort.reason), now)
    if m.abort is not None:
        return _end(m, State.FAILED, Problem(Code.TIMEOUT, m.abort.reason), now)
    if m.failure is not None and m.failure.code is Code.ABORTED_ELSEWHERE:
        return _end(m, State.CANCELLED, m.failure, now)
    if m.failure is not None:
        return _end(m, State.FAILED, m.failure, now)
    if m.external:
        detail = "The migration that others started ended without success."
        return _end(m, State.FAILED, Problem(Code.MIGRATION_FAILED, detail), now)
    detail = (
        f"Nobody saw the answer of libvirt. The guest is {event.source.power} here "
        f"and {event.destination.power} at the destination."
    )
    return _end(m, State.FAILED, Problem(Code.INTERRUPTED, detail), now)


def _goes_on(m: Migration, now: Now) -> Step:
    """The job is still there although its call came back, or nobody waits for the call."""
    if m.call in (Call.FAILED, Call.OK):
        m = _act(m, "watch", "pmigd", "the call ended but libvirt's job goes on", now)
        m = replace(m, call=Call.LOST, failure=None)
    if m.state is State.UNRESOLVED:
        # From post-copy there is no way back to pre-copy.
        state = State.POSTCOPY if m.evidence.postcopy else State.PRECOPY
        m = replace(_move(m, state), problem=None)
    if m.direction is Direction.INCOMING:
        return _look_again(m)  # a destination has no statistics whose end would be noticed
    m = replace(m, looks=0)
    return Step(m, _abort_again(m))


def _abort(m: Migration, abort: Abort, now: Now) -> Step:
    if m.abort is not None or may_abort(m) is not None:
        return Step(m)
    m = replace(_act(m, "abort", abort.by, abort.reason, now), abort=abort)
    if m.call is Call.NOT_MADE and not m.external:
        # libvirt was never called: there is nothing but our own record to undo.
        state, code = (
            (State.FAILED, Code.TIMEOUT) if abort.timeout else (State.CANCELLED, Code.CANCELLED)
        )
        return Step(_end(m, state, Problem(code, abort.reason), now))
    return Step(m, (AbortJob(),))


def _abort_answered(m: Migration, failure: Problem | None, *, no_job: bool, now: Now) -> Step:
    if m.abort is None or (failure is None and not no_job):
        return Step(m)
    if no_job:
        # The call is out but its job has not begun: try until it has, or the call comes back.
        return Step(m, _abort_again(m, ABORT_RETRY_S) if m.call is Call.MADE else ())
    if failure is not None and not failure.retryable:
        return Step(_act(m, "abort", "pmigd", f"libvirt refused: {failure.detail}", now))
    return Step(m, _abort_again(m, 1.0) if m.watching else ())


def _abort_again(m: Migration, after_s: float = 0.0) -> tuple[AbortJob, ...]:
    """The abort that was asked for, as long as it would not lose the guest."""
    if m.abort is None or m.evidence.postcopy:
        return ()
    return (AbortJob(after_s),)


def _watch_back(m: Migration) -> Step:
    if m.state is State.QUEUED or m.watching:
        return Step(m)
    m = replace(m, watching=True, unwatched_since=None, looks=0)
    # Our own call, if it is still out, will speak for itself; everything else is asked afresh.
    if m.call is Call.MADE:
        return Step(m)
    return _look_again(m) if m.call is not Call.NOT_MADE or m.external else Step(m)


def _restarted(m: Migration, now: Now) -> Step:
    """What the journal says is compared with what is there; nothing is called a second time."""
    if m.state is State.QUEUED:
        return Step(m)
    if m.state is State.PREPARING and m.call is Call.NOT_MADE:
        # The intent to call is journalled before the call, so this one was never made.
        return Step(_back_to_queue(m))
    since_start = (now.utc - m.started_at).total_seconds() if m.started_at else 0.0
    m = replace(
        m,
        adopted=True,
        started_mono=now.mono - max(0.0, since_start),
        call=Call.LOST if m.call is Call.MADE else m.call,
        evidence=replace(m.evidence, blind=True),
        looks=0,
        recover_mono=0.0,
    )
    m = _act(m, "adopt", "pmigd", "found in the journal after a restart", now)
    # libvirt may not have begun the job of a call that was made right before the crash.
    young = since_start < CALL_GRACE_S and m.state is State.PREPARING
    look = Look(CALL_GRACE_S if young else 0.0)
    # An abort that was asked for may not have reached libvirt.
    return Step(replace(m, looks=1), (*_abort_again(m), look))


def _ticked(m: Migration, now: Now) -> Step:
    if (
        m.unwatched_since is not None
        and now.mono - m.unwatched_since > UNWATCHED_LIMIT_S
        and m.state is not State.UNRESOLVED
    ):
        return Step(
            _unresolved(m, Code.LIBVIRT_UNAVAILABLE, "libvirt has not answered for 30 seconds.")
        )
    limit = m.request.timeout_s
    if not limit or m.timed_out or m.external or m.state not in _BEFORE_SWITCH:
        return Step(m)
    if now.mono - m.started_mono < limit:
        return Step(m)
    reason = f"It still ran after {limit:g} s."
    match m.request.on_timeout:
        case OnTimeout.CONTINUE:
            return Step(replace(_act(m, "continue", "policy", reason, now), timed_out=True))
        case OnTimeout.ABORT:
            abort = Abort("policy", reason, now.utc, timeout=True)
            return _abort(replace(m, timed_out=True), abort, now)
        case OnTimeout.SUSPEND | OnTimeout.POSTCOPY if m.state is State.PREPARING:
            # Both help only once memory is on its way; libvirt's set-up is short.
            return Step(m)
        case OnTimeout.POSTCOPY:
            return _start_postcopy(replace(m, timed_out=True), "policy", reason, now)
        case OnTimeout.SUSPEND:
            m = replace(_act(m, "suspend", "policy", reason, now), timed_out=True, suspended=True)
            return Step(m, (SuspendGuest(),))
        case _:
            assert_never(m.request.on_timeout)


def _resolved(m: Migration, verdict: State, by: str, now: Now) -> Step:
    if m.state is not State.UNRESOLVED:
        return Step(m)
    m = _act(m, "resolve", by, f"closed as {verdict}", now)
    if verdict is State.SUCCEEDED:
        return Step(_end(m, State.SUCCEEDED, None, now))
    problem = Problem(Code.RESOLVED_AS_FAILED, m.problem.detail if m.problem else "")
    return Step(_end(m, State.FAILED, problem, now))
