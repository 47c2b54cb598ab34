"""The states, for people: the diagram and the guide's table, made from the one table of them."""

from __future__ import annotations

from itertools import groupby

from pmigd.core.states import MOVES, State


def diagram() -> str:
    """Which state may follow which, as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED}"]
    for before, afters in MOVES.items():
        lines += [f"    {before} --> {after}" for after in State if after in afters]
        if before.terminal:
            lines.append(f"    {before} --> [*]")
    return "\n".join(["```mermaid", *lines, "```"])


def table() -> str:
    """What each state means, in Markdown; those that mean the same share a line."""
    lines = ["| state | means | the guest |", "|---|---|---|"]
    for (means, guest), same in groupby(State, key=lambda s: (s.about.means, s.about.guest)):
        lines.append(f"| {', '.join(f'`{state}`' for state in same)} | {means} | {guest} |")
    return "\n".join(lines)
