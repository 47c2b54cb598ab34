"""A migration, a problem and the lists of them, as clients see them (version 1 of the contract)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final, Literal, get_type_hints

import msgspec

from pmigd.core import model
from pmigd.core.checks import Checked
from pmigd.core.commands import REQUEST, Command, Kind, Outcome
from pmigd.core.figures import FIGURES
from pmigd.core.problem import Problem as CoreProblem
from pmigd.core.request import CHANGES, SET
from pmigd.core.states import State
from pmigd.schema.fields import made_of
from pmigd.wire.request import MigrationRequest, request_view


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field of a request."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details; ``code`` is one of a closed set, documented in docs/problems.md."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    remedy: str
    retryable: bool
    errors: tuple[FieldError, ...] = ()
    instance: str | None = None


class Domain(msgspec.Struct, frozen=True):
    """A guest."""

    name: str
    uuid: str


class WaitingFor(msgspec.Struct, frozen=True):
    """The one resource that a migration waits for, queued or before its start is seen.

    ``position`` is its place in line, 0 where there is none.
    """

    resource: str
    host: str
    used: int
    limit: int
    position: int
    since: datetime
    detail: str
    eta_s: float | None


def _type_of(name: str) -> object:
    """The type of a sample's field or property."""
    found = getattr(model.Sample, name)
    types = get_type_hints(found.fget if isinstance(found, property) else model.Sample)
    return types.get(name, types.get("return"))


@made_of(
    [
        *((figure.wire, _type_of(figure.name)) for figure in FIGURES if figure.wire),
        ("outpaced", bool),
    ]
)
class Progress(msgspec.Struct, frozen=True):
    """The latest sample. Null where libvirt gives no figure.

    Disks are copied first: until they are, the figures of memory are 0 and ``eta_s`` is the disks'.
    ``bytes_per_second`` is memory and disks together. ``outpaced``: the guest writes its memory as
    fast as it is sent, so that no end is in sight; ``eta_s`` is null then.
    """


class Result(msgspec.Struct, frozen=True):
    """Final figures. ``downtime_net_ms`` leaves the difference of the hosts' clocks out.

    ``afterwards`` is a sentence about a guest that arrived and was found to have ended, or to have
    been moved on, by the time that this was known; else null.
    """

    duration_s: float
    downtime_ms: int | None
    downtime_net_ms: int | None
    transferred_bytes: int | None
    iterations: int | None
    mode: model.Mode
    afterwards: str | None


class Action(msgspec.Struct, frozen=True):
    """An entry of the ledger: what a person, a policy or pmigd wanted, and what became of it.

    ``id`` counts from 1; what is missing in between was left out of a long record. ``outcome`` is
    ``pending`` until it is known: then ``waits`` says why it takes so long, null while there is
    nothing to say. ``waits`` of an overtaken one says why it was of no use any more, ``problem`` of
    a refused one why libvirt refused it. ``at`` is when it was asked for and ``ended_at`` when its
    outcome was known.
    """

    id: int
    at: datetime
    action: str
    by: str
    reason: str
    outcome: Outcome
    waits: str | None
    problem: Problem | None
    ended_at: datetime | None


class Migration(msgspec.Struct, frozen=True):
    """One migration. ``destination`` is null where others started it and did not say where to.

    ``trace_id`` is that of the trace it belongs to, null where there is none.
    """

    id: str
    domain: Domain
    source: str | None
    destination: str | None
    direction: model.Direction
    state: State
    external: bool
    problem: Problem | None
    waiting_for: WaitingFor | None
    progress: Progress | None
    result: Result | None
    actions: tuple[Action, ...]
    adopted: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    submitted_by: str
    request: MigrationRequest | None
    trace_id: str | None


_IN_FORCE: Final = [row for row in CHANGES if not row.about.change.queued]


@made_of(
    [
        *((row.key, row.type | None if row in SET else row.type) for row in _IN_FORCE),
        ("on_timeout", model.OnTimeout),
    ]
)
class Settings(msgspec.Struct, frozen=True):
    """Settings in force. Null: this libvirt or QEMU does not tell. Bandwidth 0 is unlimited."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that a check found; ``field`` names the request field that it is about."""

    code: str
    level: Literal["block", "warn", "info"]
    detail: str
    remedy: str
    field: str | None


class Prediction(msgspec.Struct, frozen=True):
    """How long the transfer takes at the bandwidth asked for if the guest writes nothing.

    ``basis`` says what was counted. Null without a limit to the bandwidth.
    """

    memory_bytes: int
    disk_bytes: int
    seconds_at_least: float
    basis: str


class CheckResult(msgspec.Struct, frozen=True):
    """All findings; ``ready`` is true when none of them blocks."""

    findings: tuple[Finding, ...]
    ready: bool
    prediction: Prediction | None


class Page(msgspec.Struct, frozen=True):
    """One page of a list, newest first; ``next_cursor`` null on the last one."""

    items: tuple[Migration, ...]
    next_cursor: str | None


class StreamEvent(msgspec.Struct, frozen=True):
    """One line of an event stream."""

    event: Literal["state", "progress", "action"]
    at: datetime
    migration: Migration


class StreamEnd(msgspec.Struct, frozen=True):
    """The last line of an event stream whose reader did not keep up: nothing before it is missing,
    and what comes after it is not told."""

    event: Literal["lagged"]
    detail: str


def check_view(checked: Checked) -> CheckResult:
    """What a check found, as clients see it."""
    found = tuple(
        Finding(f.code, f.level.value, f.detail, f.remedy, f.field) for f in checked.findings
    )
    expected = checked.prediction
    return CheckResult(
        findings=found,
        ready=all(finding.level != "block" for finding in found),
        prediction=None if expected is None else Prediction(**asdict(expected)),
    )


def problem_view(problem: CoreProblem, instance: str | None = None) -> Problem:
    """A problem as clients see it."""
    kind = problem.code.kind
    return Problem(
        type=f"urn:pmigd:problem:{problem.code}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        code=str(problem.code),
        remedy=kind.remedy,
        retryable=kind.retryable,
        errors=tuple(FieldError(error.field, error.message) for error in problem.errors),
        instance=instance,
    )


def migration_view(m: model.Migration, waiting: model.Waiting | None) -> Migration:
    """A migration as clients see it."""
    return Migration(
        id=m.id,
        domain=Domain(m.domain.name, m.domain.uuid),
        source=m.source or None,
        destination=m.destination or None,
        direction=m.direction,
        state=m.state,
        external=m.external,
        problem=problem_view(m.problem) if m.problem else None,
        waiting_for=_waiting_view(waiting) if waiting else None,
        progress=_progress_view(m, m.progress) if m.progress else None,
        result=_result_view(m.result) if m.result else None,
        actions=tuple(_action_view(c) for c in m.commands if _is_news(c, m)),
        adopted=m.adopted,
        created_at=m.created_at,
        started_at=m.started_at,
        finished_at=m.finished_at,
        submitted_by=m.submitted_by,
        request=None if m.external else request_view(m.request),
        trace_id=m.trace.trace_id if m.trace is not None else None,
    )


def settings_view(found: model.Settings, request: model.Request) -> Settings:
    """What libvirt says is in force, and what pmigd itself goes by."""
    given = {row.key: getattr(found, row.key, row.of(request)) for row in _IN_FORCE}
    return Settings(**given, on_timeout=request.on_timeout)


def _is_news(c: Command, m: model.Migration) -> bool:
    """Whether it is more than the request being carried out, and its end being told twice."""
    if c.kind is not Kind.PERFORM and c.by != REQUEST:
        return True
    told = c.kind is Kind.PERFORM and m.state in (State.FAILED, State.CANCELLED)
    return (c.outcome is Outcome.REFUSED and not told) or bool(c.pending and c.waits)


def _action_view(c: Command) -> Action:
    return Action(
        id=c.id,
        at=c.at,
        action=c.action,
        by=c.by,
        reason=c.reason,
        outcome=c.outcome,
        waits=c.waits or None,
        problem=problem_view(c.problem) if c.problem is not None else None,
        ended_at=c.ended_at,
    )


def _waiting_view(w: model.Waiting) -> WaitingFor:
    eta_s = None if w.eta_s is None else round(w.eta_s, 1)
    return WaitingFor(w.resource, w.host, w.used, w.limit, w.position, w.since, w.detail, eta_s)


def _progress_view(m: model.Migration, s: model.Sample) -> Progress:
    sampled = {figure.wire: getattr(s, figure.name) for figure in FIGURES if figure.wire}
    return Progress(**sampled | {"outpaced": m.outpaced})


def _result_view(r: model.Result) -> Result:
    return Result(**r.figures, afterwards=r.afterwards or None)
