"""Small builders for the core's values: every argument has a default that means nothing special."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pmigd.core import engine
from pmigd.core import events as ev
from pmigd.core.commands import Kind
from pmigd.core.effects import Do, Look
from pmigd.core.holdings import Account, Limits, Resource
from pmigd.core.model import (
    Because,
    Direction,
    Domain,
    Job,
    Migration,
    MigrationId,
    Now,
    Plan,
    Power,
    Request,
    Sample,
    Target,
    View,
)
from pmigd.core.problem import Problem

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TARGET = Target("hostb", "qemu+tls://hostb/system")
PLAN = Plan(TARGET, Request("web1", "hostb"), persist_destination=True, undefine_source=True)

RUNS = View(Power.RUNNING)
RUNS_AGAIN = View(Power.RUNNING, Because.MIGRATION_CANCELED)
MIGRATING = View(Power.RUNNING, job=Job.OUTGOING)
SWITCHING = View(Power.PAUSED, Because.MIGRATION, Job.OUTGOING)
LEFT_PAUSED = View(Power.PAUSED, Because.MIGRATION)
USER_PAUSED = View(Power.PAUSED, Because.USER)
INCOMING = View(Power.PAUSED, Because.MIGRATION, Job.INCOMING)
ARRIVED = View(Power.RUNNING, Because.MIGRATED)
ABSENT = View(Power.ABSENT)
LEFT = View(Power.SHUTOFF, Because.MIGRATED)
SHUT_DOWN = View(Power.SHUTOFF, Because.SHUTDOWN)
DESTROYED = View(Power.SHUTOFF, Because.DESTROYED)
CRASHED = View(Power.SHUTOFF, Because.CRASHED)
STARTING = View(Power.PAUSED, Because.STARTING_UP, Job.INCOMING)
ASLEEP = View(Power.ASLEEP)
SILENT = View(Power.UNKNOWN, detail="no route to host")
POSTCOPY_HERE = View(Power.PAUSED, Because.POSTCOPY, Job.OUTGOING)
POSTCOPY_THERE = View(Power.RUNNING, Because.POSTCOPY, Job.INCOMING)
POSTCOPY_BROKEN = View(Power.PAUSED, Because.POSTCOPY_FAILED)
POSTCOPY_BROKEN_THERE = View(Power.RUNNING, Because.POSTCOPY_FAILED)


def at(seconds: float) -> Now:
    """Both clocks `seconds` after the beginning."""
    return Now(1000.0 + seconds, T0 + timedelta(seconds=seconds))


def migration(**changes: Any) -> Migration:
    """A queued migration."""
    request = Request("web1", "hostb", **changes.pop("request", {}))
    made = Migration(
        id=MigrationId("0192e4a0-0000-7000-8000-000000000001"),
        request=request,
        domain=Domain("web1", "11111111-2222-3333-4444-555555555555"),
        source="hosta",
        destination="hostb",
        created_at=T0,
        target=TARGET,
    )
    return replace(made, **changes)


def sample(**figures: Any) -> Sample:
    """Statistics of a job that transfers."""
    return Sample(
        at=T0, **{"memory_total_bytes": 1 << 26, "memory_processed_bytes": 1 << 20} | figures
    )


PREPARED = ev.Prepared(PLAN, because_before=Because.OTHER, paused_before=False)


@dataclass(frozen=True)
class Reply:
    """What comes of the newest command of `kinds`: an answer that finds its number by itself."""

    kinds: tuple[Kind, ...]
    problem: Problem | None = None
    made: bool = True
    found: bool = True

    def to(self, m: Migration) -> ev.Answered:
        """The event for `m`; number 0, which is nobody's, where it has no such command."""
        numbers = [c.id for c in m.commands if c.kind in self.kinds]
        return ev.Answered(max(numbers, default=0), self.problem, self.made, self.found)


def returned(problem: Problem | None = None) -> Reply:
    """The migrate call comes back."""
    return Reply((Kind.PERFORM, Kind.RECOVER), problem)


def replied(kind: Kind, problem: Problem | None = None, **what: bool) -> Reply:
    """libvirt answers a command."""
    return Reply((kind,), problem, **what)


def play(m: Migration, *events: ev.Event | Reply, start: float = 0.0) -> engine.Step:
    """Apply `events` one tenth of a second apart; the effects are those of the last one."""
    step = engine.Step(m)
    for number, event in enumerate(events):
        if isinstance(event, Reply):
            event = event.to(step.migration)
        step = engine.step(step.migration, event, at(start + number / 10))
    return step


def done(step: engine.Step) -> list[tuple[Kind, int | None]]:
    """The commands that a step has carried out, each with its value."""
    return [(e.command.kind, e.command.value) for e in step.effects if isinstance(e, Do)]


def looks(step: engine.Step) -> list[float]:
    """For when a step asks for looks at both ends, in seconds from then."""
    return [effect.after_s for effect in step.effects if isinstance(effect, Look)]


def transferring(**changes: Any) -> Migration:
    """A migration in pre-copy, its call out."""
    return play(
        migration(**changes), ev.Admitted(), PREPARED, ev.Sampled(Job.OUTGOING, sample())
    ).migration


def limits(
    workers: int = 5, usable: int = 2, outgoing: int = 1, incoming: int = 1, preparing: int = 2
) -> Limits:
    """A host's limits, by default those of max_workers = 5."""
    return Limits(
        usable={
            Resource.OUTGOING_SLOT: outgoing,
            Resource.INCOMING_SLOT: incoming,
            Resource.PREPARING_SLOT: preparing,
            Resource.WORKER: usable,
            Resource.CLIENT: 100,
            Resource.ANONYMOUS_CLIENT: 20,
            Resource.MIGRATION_PORT: 64,
        },
        workers=workers,
    )


def assert_same(account: Account, other: Account) -> None:
    """Two accounts hold the same, entry by entry and resource by resource."""
    assert dict(account) == dict(other)
    for resource in Resource:
        assert account.used(resource) == other.used(resource), resource
    for direction in Direction:
        assert account.number(direction) == other.number(direction), direction
