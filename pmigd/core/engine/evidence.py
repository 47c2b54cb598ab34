"""What both ends show of a migration, and what follows: looks, verdicts, broken post-copies.

The verdict itself is :mod:`pmigd.core.verdict`'s."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pmigd.core import autostart, ledger
from pmigd.core import events as ev
from pmigd.core.autostart import Place
from pmigd.core.commands import PMIGD, POLICY, Kind
from pmigd.core.effects import Look
from pmigd.core.engine.ending import aborted, back_to_queue, end, unresolved
from pmigd.core.engine.steps import Step, durable, move
from pmigd.core.engine.wishes import recover
from pmigd.core.model import UNASKED, Call, Direction, Migration, Now, State
from pmigd.core.problem import Code, Problem
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
STILL_S: Final = 30.0
"""After how long without any change in its figures a transfer is said to stand still."""
RECOVER_DELAYS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a broken post-copy is gone on with by itself; the last one repeats."""
CALL_GRACE_S: Final = 5.0
"""How long a call that may have been made just before a crash is given to show its job."""
_ANSWER_LOST: Final = frozenset({Code.CONNECTION_BROKE, Code.LIBVIRT_UNAVAILABLE, Code.INTERNAL})


def stands_still(m: Migration, now: Now) -> bool:
    """libvirt has its job, and for long nothing has been sent nor anything else happened."""
    going = m.state in (State.PRECOPY, State.POSTCOPY, State.FINISHING)
    moved = max(m.moved_mono, 0.0)
    return going and bool(moved) and now.mono - moved > STILL_S


def looked_since(m: Migration, now: Now, seconds: float) -> bool:
    """Both ends were asked lately, or are being asked."""
    return m.look_mono is not None or now.mono - m.looked_mono < seconds


def look_again(m: Migration) -> Step:
    """Ask both ends once more, after the pause whose turn it is."""
    if m.state is State.UNRESOLVED:
        delay = ASK_ON_S
    else:
        delay = LOOK_DELAYS_S[min(m.looks, len(LOOK_DELAYS_S) - 1)]
    return Step(replace(m, looks=m.looks + 1), (Look(delay),))


def ended_by_event(m: Migration) -> Step:
    """libvirt said that it is over. Our own call is about to return and will ask both ends."""
    if m.state is State.QUEUED:
        return Step(m)
    if m.state.holds_slot and m.state is not State.POSTCOPY_PAUSED:
        m = move(m, State.FINISHING)
    return Step(m) if m.call is Call.MADE else look_again(replace(m, looks=0))


def postcopy_paused(m: Migration, now: Now, waits: str = "") -> Migration:
    """`m` whose post-copy broke, with what follows from that."""
    m = replace(m, evidence=replace(m.evidence, postcopy=True, switched=True))
    if m.state is not State.POSTCOPY_PAUSED:
        m = replace(move(m, State.POSTCOPY_PAUSED), recover_mono=now.mono + RECOVER_DELAYS_S[0])
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
    m = postcopy_paused(m, now, "" if m.external else keeps)
    if m.external:
        return Step(m, (Look(ASK_ON_S),) if m.direction is Direction.INCOMING else ())
    asked = m.pending(Kind.RECOVER) is not None
    if keeps or asked:
        return Step(m, (Look(ASK_ON_S),))
    if m.recoveries >= m.request.recover_attempts:
        return Step(m)
    if now.mono < m.recover_mono:
        return Step(m, (Look(m.recover_mono - now.mono),))
    return Step(recover(replace(m, recoveries=m.recoveries + 1), POLICY, now))


def looked(m: Migration, event: ev.Looked, now: Now) -> Step:
    """Both ends were asked: what they said, with all the rest, is judged."""
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
            ended = end(m, State.SUCCEEDED, None, now, afterwards=verdict.why, place=place)
            return Step(ended)
        case Truth.STAYED if verdict.resume_source:
            why = "the migration failed and left the guest paused"
            return Step(ledger.want(m, Kind.RESUME, PMIGD, why, now))
        case Truth.STAYED if any(c.kind is Kind.SUSPEND and c.calling for c in m.commands):
            return look_again(m)  # it may yet be paused, and is then to be resumed
        case Truth.STAYED:
            return Step(_stayed(m, event, verdict.why, now))
        case Truth.ENDED:
            problem = Problem(verdict.code or Code.GUEST_STOPPED, verdict.why)
            if m.external:
                m = replace(m, evidence=replace(m.evidence, run_before=event.source.run))
            # A half of it may still run, until it needs a page that was not sent.
            lost = verdict.code is Code.POSTCOPY_LOST
            place = Place.UNKNOWN if lost else Place.HERE
            return Step(end(m, State.FAILED, problem, now, place=place))
        case Truth.GOES_ON:
            return _goes_on(m, event, now)
        case Truth.POSTCOPY_PAUSED:
            return _still_broken(m, event, now)
        case Truth.SETTLING | Truth.UNKNOWN:
            if m.settling_mono is not None:
                unclear = now.mono - m.settling_mono > SETTLES_S
            else:
                # An absent libvirt is given more time: see tick.
                patient = verdict.code is Code.LIBVIRT_UNAVAILABLE
                unclear = m.looks >= LOOKS_UNTIL_UNRESOLVED and not patient
            if unclear or m.state is State.UNRESOLVED:
                m = unresolved(m, verdict.code or Code.GUEST_NOT_FOUND, verdict.why)
            return look_again(m)
        case _:
            assert_never(verdict.outcome)


def _stayed(m: Migration, event: ev.Looked, besides: str, now: Now) -> Migration:
    """It is proven that the guest did not move: was that a failure, or what was wanted?

    `besides` is what else is to be said of it.
    """
    if m.abort is not None:
        return aborted(m, m.abort, now)
    if m.failure is not None:
        cancelled = m.failure.code is Code.ABORTED_ELSEWHERE
        problem = replace(m.failure, detail=f"{m.failure.detail} {besides}".strip())
        return end(m, State.CANCELLED if cancelled else State.FAILED, problem, now)
    if m.external:
        detail = "The migration that others started ended without success."
        return end(m, State.FAILED, Problem(Code.MIGRATION_FAILED, detail), now)
    detail = (
        f"Nobody saw the answer of libvirt. The guest is {event.source.power} here "
        f"and {event.destination.power} at the destination."
    )
    return end(m, State.FAILED, Problem(Code.INTERRUPTED, detail), now)


def _goes_on(m: Migration, event: ev.Looked, now: Now) -> Step:
    """The job is still there although its call came back, nobody waits for the call, or it is out
    and gets nowhere."""
    if is_anothers(m):
        return look_again(m)
    if m.call in (Call.FAILED, Call.OK):
        m = ledger.note(m, Kind.WATCH, PMIGD, "the call ended but libvirt's job goes on", now)
        m = replace(ledger.lose_call(m, now), failure=None)
    if m.state is State.UNRESOLVED:
        # From post-copy there is no way back to pre-copy.
        state = State.POSTCOPY if m.evidence.postcopy else State.PRECOPY
        m = replace(move(m, state), problem=None)
    if m.direction is Direction.INCOMING:
        return look_again(m)  # a destination has no statistics whose end would be noticed
    if stands_still(m, now) and m.progress is not None and not m.external:
        why = standstill(m.progress, event.source, event.destination)
        m = replace(m, problem=Problem(Code.STANDSTILL, why))
    m = replace(m, looks=0)
    return Step(m if m.call is Call.MADE else ledger.reopen_abort(m, now))


def is_anothers(m: Migration) -> bool:
    """Whether a job on the guest cannot be this migration's: libvirt itself has ended that.

    Only an answer that was lost on its way, because a connection broke, leaves it open.
    """
    if m.external or m.evidence.postcopy:
        return False
    lost = m.failure is not None and m.failure.code in _ANSWER_LOST
    return m.call is Call.OK or (m.call is Call.FAILED and not lost)


def watch_back(m: Migration) -> Step:
    """libvirt answers again; what it told meanwhile was missed."""
    if m.state is State.QUEUED or m.watching:
        return Step(m)
    m = ledger.at_once(replace(m, watching=True, unwatched_since=None, looks=0))
    # Our own call, if it is still out, will speak for itself; everything else is asked afresh.
    if m.call is Call.MADE:
        return Step(m)
    return look_again(m) if m.call is not Call.NOT_MADE else Step(m)


def restarted(m: Migration, now: Now) -> Step:
    """What the journal says is compared with what is there; nothing is called a second time."""
    if m.state is State.QUEUED:
        return Step(m)
    m = durable(m)  # the rest is of the life before, and of its clock
    if m.state is State.PREPARING and m.call is Call.NOT_MADE:
        # The intent to call is journalled before the call, so this one was never made.
        return Step(back_to_queue(ledger.restarted(m, now), now))
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
