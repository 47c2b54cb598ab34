"""Which state may follow which: the one place that says so.

The diagram in docs/architecture.md is generated from this table
(``python -m pmigd.core.states``), and the engine refuses any move that is not in it.
"""

from __future__ import annotations

from typing import Final

from pmigd.core.model import State

_Q, _P, _R = State.QUEUED, State.PREPARING, State.PRECOPY
_PO, _PP, _F = State.POSTCOPY, State.POSTCOPY_PAUSED, State.FINISHING
_ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
_RUNNING = frozenset({_P, _R, _PO, _PP, _F})

MOVES: Final[dict[State, frozenset[State]]] = {
    # Back to the queue only when it is proven that libvirt was never called.
    _Q: frozenset({_P, State.FAILED, State.CANCELLED}),
    _P: frozenset({_Q, _R, _PO, _F, State.UNRESOLVED}) | _ENDS,
    _R: frozenset({_PO, _PP, _F, State.UNRESOLVED}) | _ENDS,
    _PO: frozenset({_PP, _F, State.UNRESOLVED}) | _ENDS,
    _PP: frozenset({_PO, _F, State.UNRESOLVED}) | _ENDS,
    # Back to pre-copy when the migrate call ended but its job turns out to go on.
    _F: frozenset({_R, _PO, _PP, State.UNRESOLVED}) | _ENDS,
    # The truth came to light.
    State.UNRESOLVED: _ENDS | _RUNNING - {_P},
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


def may_move(before: State, after: State) -> bool:
    """Whether `after` may follow `before`; staying is always allowed."""
    return before is after or after in MOVES[before]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for before, afters in MOVES.items():
        lines += [f"    {before} --> {after}" for after in State if after in afters]
        if not afters:
            lines.append(f"    {before} --> [*]")
    return "\n".join(lines)


if __name__ == "__main__":
    print(diagram())
