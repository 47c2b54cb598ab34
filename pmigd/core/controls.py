"""What may be asked of a migration in its present state: None, or the problem that says why not."""

from __future__ import annotations

from pmigd.core.model import Direction, Migration, Postcopy, State
from pmigd.core.problem import Code, Problem


def may_abort(migration: Migration) -> Problem | None:
    """Why `migration` cannot be aborted, or None. Aborting twice is not an error."""
    if migration.verdict is State.CANCELLED:
        return None
    if migration.direction is Direction.INCOMING:
        return Problem(Code.WRONG_STATE, "An incoming migration can only be aborted at its source.")
    if migration.verdict is not None:
        return Problem(Code.WRONG_STATE, f"The migration has {migration.verdict} already.")
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
    if migration.state.about.in_postcopy:
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
