"""What a step is, and the moves that a migration can make."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pmigd.core import ledger
from pmigd.core.effects import Effect
from pmigd.core.model import Migration, State
from pmigd.core.states import may_move


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


def move(m: Migration, state: State) -> Migration:
    """`m` in `state` if that move exists; a move that does not exist is not made."""
    return replace(m, state=state) if may_move(m.state, state) else m
