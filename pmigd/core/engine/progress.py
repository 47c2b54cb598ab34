"""What libvirt tells of a migration while it runs, and what is over as time goes by."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pmigd.core import events as ev
from pmigd.core import ledger
from pmigd.core.commands import POLICY, REQUEST, Kind
from pmigd.core.effects import Look, ReadSettings
from pmigd.core.engine.ending import back_to_queue, unresolved
from pmigd.core.engine.evidence import (
    STILL_S,
    ended_by_event,
    is_anothers,
    look_again,
    looked_since,
    postcopy_paused,
    stands_still,
)
from pmigd.core.engine.steps import Step, move
from pmigd.core.engine.wishes import abort, start_postcopy
from pmigd.core.model import (
    Call,
    Direction,
    Job,
    Migration,
    Now,
    OnTimeout,
    Postcopy,
    Sample,
    State,
)
from pmigd.core.problem import Code

BREAK_GRACE_S: Final = 2.0
"""How soon after post-copy broke our own call comes back, if both hosts have noticed."""
UNWATCHED_LIMIT_S: Final = 30.0
"""How long libvirt may be away before its running migrations are called unresolved."""
UNSEEN_S: Final = 30.0
"""After how long without any look at it an open migration that nobody's call speaks for is looked
at: whatever was lost on the way, none is waited for for ever."""


def heard(m: Migration, event: ev.FromLibvirt, now: Now) -> Step:
    """libvirt has told, or shown, something about a migration that runs."""
    match event:
        case ev.Sampled(job, sample):
            return _sampled(m, job, sample, now)
        case ev.IterationBegan(iteration):
            return _iteration(m, iteration, now)
        case ev.SwitchedOver():
            m = replace(m, evidence=replace(m.evidence, switched=True))
            return Step(move(m, State.FINISHING) if m.state.about.before_switch else m)
        case ev.PostcopyBegan():
            m = replace(m, evidence=replace(m.evidence, switched=True, postcopy=True), problem=None)
            return Step(move(m, State.POSTCOPY))
        case ev.PostcopyBroke():
            m = postcopy_paused(m, now)
            if m.external:
                return Step(m)
            # Our own call is about to come back and will ask both ends, unless the other one has
            # not noticed.
            return Step(m, (Look(BREAK_GRACE_S if m.call is Call.MADE else 0.0),))
        case ev.Left():
            m = replace(m, evidence=replace(m.evidence, switched=True, left=True))
            return ended_by_event(m)
        case ev.GuestEnded():
            return ended_by_event(replace(m, evidence=replace(m.evidence, ended=True)))
        case ev.Arrived():
            if m.direction is Direction.INCOMING:
                # Look once more: the local daemon may still have the final statistics. The looks
                # of before were at something else, and must not make the next ones rare.
                return look_again(replace(move(m, State.FINISHING), looks=0))
            return Step(m)
        case ev.Completed(sample):
            m = replace(m, completed=sample, evidence=replace(m.evidence, left=True))
            return ended_by_event(m)
        case _:
            assert_never(event)


def _transferring(m: Migration, now: Now) -> Step:
    """Disks or memory are on their way."""
    if m.state is not State.PREPARING:
        return Step(m)
    m = move(m, State.PRECOPY)
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
    switched = start_postcopy(begun.migration, POLICY, "one pass of pre-copy is done", now)
    return Step(switched, begun.effects)


def _sampled(m: Migration, job: Job, sample: Sample | None, now: Now) -> Step:
    if job is Job.OUTGOING and is_anothers(m):
        return Step(m)
    if job is Job.OUTGOING:
        # That libvirt has its job is what a look at both ends would have to show, too.
        m = replace(m, looked_mono=m.looked_mono or now.mono)
        m = ledger.reopen_abort(m, now)
    if job is Job.OUTGOING and m.state is State.UNRESOLVED and not m.evidence.postcopy:
        # A job alone settles nothing about post-copy: libvirt keeps it for a broken one, too.
        m = replace(move(m, State.PRECOPY), problem=None)
    # Before and after the transfer proper libvirt counts nothing: that is no progress.
    begun = Step(m)
    if sample is not None and sample.memory_total_bytes + sample.disk_total_bytes > 0:
        begun = _transferring(_progressed(m, sample, now), now)
        m = begun.migration
    if job is Job.NONE and m.state is not State.QUEUED and m.call is not Call.MADE:
        # Nobody waits for the call and libvirt has no job: it is over, one way or another. While
        # the call is out this means nothing: its job has not begun, or its answer is on the way.
        return look_again(m) if m.looks == 0 and m.call is not Call.NOT_MADE else Step(m)
    ticked = tick(m, now)
    looks = (Look(),) if stands_still(m, now) and not looked_since(m, now, STILL_S) else ()
    return Step(ticked.migration, (*begun.effects, *ticked.effects, *looks))


def _progressed(m: Migration, sample: Sample, now: Now) -> Migration:
    """`m` with the figures of `sample`, and when they last changed."""
    if m.progress is None or m.progress.figures != sample.figures or not m.moved_mono:
        still = m.problem is not None and m.problem.code is Code.STANDSTILL
        m = replace(m, moved_mono=now.mono, problem=None if still else m.problem)
    return replace(m, progress=_with_limit(m, sample.after(m.progress)))


def _with_limit(m: Migration, sample: Sample) -> Sample:
    if m.in_force is None or m.in_force.max_downtime_ms is None:
        return sample
    return replace(sample, downtime_limit_ms=m.in_force.max_downtime_ms)


def tick(m: Migration, now: Now) -> Step:
    """Time went by: what is over?"""
    if (
        m.unwatched_since is not None
        and now.mono - m.unwatched_since > UNWATCHED_LIMIT_S
        and m.state is not State.UNRESOLVED
    ):
        if m.state is State.PREPARING and m.call is Call.NOT_MADE:
            return Step(back_to_queue(m, now))
        return Step(
            unresolved(m, Code.LIBVIRT_UNAVAILABLE, "libvirt has not answered for 30 seconds.")
        )
    unseen = _unseen(m, now)
    limit = m.request.timeout_s
    if not limit or m.timed_out or m.external or not m.state.about.before_switch:
        return Step(m, unseen)
    if now.mono - m.started_mono < limit:
        return Step(m, unseen)
    reason = f"It still ran after {limit:g} s."
    match m.request.on_timeout:
        case OnTimeout.CONTINUE:
            m = ledger.note(m, Kind.CONTINUE, POLICY, reason, now)
        case OnTimeout.ABORT:
            asked = ev.AbortAsked(POLICY, reason, Code.TIMEOUT)
            return abort(replace(m, timed_out=True), asked, now)
        case OnTimeout.SUSPEND | OnTimeout.POSTCOPY if m.state is State.PREPARING:
            # Both help only once memory is on its way; libvirt's set-up is short.
            return Step(m, unseen)
        case OnTimeout.POSTCOPY:
            m = start_postcopy(m, POLICY, reason, now)
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
