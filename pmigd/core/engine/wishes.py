"""What people and policies want of a migration, made into commands of its ledger."""

from __future__ import annotations

from dataclasses import replace

from pmigd.core import events as ev
from pmigd.core import ledger
from pmigd.core.commands import Kind
from pmigd.core.controls import may_abort, may_postcopy
from pmigd.core.engine.ending import aborted, end
from pmigd.core.engine.steps import Step
from pmigd.core.model import Call, Migration, Now, Settings, State
from pmigd.core.problem import Code, Problem
from pmigd.core.settings import changed, given


def start_postcopy(m: Migration, by: str, reason: str, now: Now) -> Migration:
    """`m` with the switch to post-copy wanted, where it makes sense."""
    if m.state is not State.PRECOPY or may_postcopy(m) is not None:
        return m
    return ledger.want(m, Kind.POSTCOPY, by, reason, now)


def recover(m: Migration, by: str, now: Now) -> Migration:
    """`m` with its broken post-copy to be gone on with."""
    if m.state is not State.POSTCOPY_PAUSED or m.plan is None:
        return m
    return ledger.want(m, Kind.RECOVER, by, "go on with the broken post-copy", now)


def change(m: Migration, event: ev.SetAsked, now: Now) -> Migration:
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


def abort(m: Migration, asked: ev.AbortAsked, now: Now) -> Step:
    """An abort is wanted: of libvirt, or only of our own record."""
    if m.abort is not None or may_abort(m) is not None:
        return Step(m)
    m = ledger.want(m, Kind.ABORT, asked.by, asked.reason, now, code=asked.code)
    if m.call is Call.NOT_MADE and m.abort is not None:
        # libvirt was never called: there is nothing but our own record to undo.
        return Step(aborted(m, m.abort, now))
    return Step(m)


def resolve(m: Migration, verdict: State, by: str, now: Now) -> Step:
    """An operator has closed it."""
    if m.state is not State.UNRESOLVED:
        return Step(m)
    m = ledger.note(m, Kind.RESOLVE, by, f"closed as {verdict}", now)
    if verdict is State.SUCCEEDED:
        return Step(end(m, State.SUCCEEDED, None, now))
    problem = Problem(Code.RESOLVED_AS_FAILED, m.problem.detail if m.problem else "")
    return Step(end(m, State.FAILED, problem, now))
