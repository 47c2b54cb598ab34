"""A journal that is read late: what it has of a guest that something was begun for meanwhile.

pmigd cannot tell a new host from one whose state directory is not mounted yet, so it may have begun
to work when the journal appears. What it watches itself is the newer knowledge and goes on; what
the journal has beside it must neither be begun nor be judged by what the other one does.
"""

from __future__ import annotations

from dataclasses import replace

from pmigd.core import ledger
from pmigd.core.model import Call, Migration, Now, State
from pmigd.core.problem import Code, Problem


def meanwhile_begun(found: Migration, known: Migration, now: Now) -> Migration:
    """What becomes of `found` in the journal, open, of the guest that `known` is of."""
    if found.problem is not None and found.state is State.UNRESOLVED:
        return found
    if found.call is Call.NOT_MADE:
        detail = f"Migration {known.id} of the guest was begun while the journal was away."
        return _ended(found, State.FAILED, Problem(Code.DOMAIN_BUSY, detail), now)
    detail = f"Migration {known.id} was begun meanwhile; this one had called libvirt before."
    problem = Problem(Code.JOURNAL_CONFLICT, detail)
    return replace(found, state=State.UNRESOLVED, problem=problem, state_since=now.utc)


def it_was_ours(known: Migration, found: Migration, now: Now) -> Migration:
    """What becomes of `known`, taken for one that others started, when the journal has `found`."""
    detail = f"It is migration {found.id} of this pmigd, whose journal was not there before."
    return _ended(known, State.CANCELLED, Problem(Code.CANCELLED, detail), now)


def _ended(m: Migration, state: State, problem: Problem, now: Now) -> Migration:
    m = ledger.close(replace(m, state=state), state, now)
    return replace(m, problem=problem, finished_at=now.utc, state_since=now.utc)
