"""What the log says about one change of a migration's state: the canonical line.

One line for each change, with the same keys every time, and the final figures on the last one: the
log is the durable history that metrics cannot be. Nothing here is secret: no XML, no request body.
"""

from __future__ import annotations

from collections.abc import Iterator

from pmigd.core.commands import CALLS
from pmigd.core.model import Direction, Migration, Now

EVENT = "migration"
COMMAND_EVENT = "command"


def about(m: Migration) -> dict[str, object]:
    """The fields of every line that is about one migration."""
    return {
        "migration": str(m.id),
        "domain": m.domain.name,
        "uuid": m.domain.uuid,
        "trace_id": m.trace.trace_id if m.trace is not None else None,
    }


def migration_line(before: Migration | None, after: Migration, now: Now) -> dict[str, object]:
    """The fields of the line for the step from `before` (None: there was nothing) to `after`.

    ``elapsed_s`` is the time since the start, None before it. ``reason`` is the problem's code and
    ``detail`` its sentence, which may quote libvirt. When it has ended ``duration_s``,
    ``downtime_ms``, ``downtime_net_ms``, ``transferred_bytes``, ``iterations`` and ``mode`` are
    added, None where nothing is known.
    """
    line: dict[str, object] = {
        "event": EVENT,
        **about(after),
        "peer": _peer(after) or None,
        "direction": str(after.direction),
        "state": str(after.state),
        "from": str(before.state) if before is not None else None,
        "elapsed_s": _elapsed_s(after, now),
        "reason": str(after.problem.code) if after.problem is not None else None,
        "external": after.external,
        "adopted": after.adopted,
    }
    if after.problem is not None:
        line["detail"] = after.problem.detail
    if after.state.terminal and after.result is not None:
        line |= after.result.figures | {"mode": str(after.result.mode)}
    return line


def command_lines(before: Migration | None, after: Migration) -> Iterator[dict[str, object]]:
    """The fields of a line for each command that has another outcome, or waits for another reason.

    ``command`` is its name, ``asked_by`` who wanted it; ``outcome`` is pending, done, refused or
    overtaken, and ``waits`` or ``reason`` and ``detail`` say why.
    """
    known = {c.id: (c.outcome, c.waits) for c in before.commands} if before is not None else {}
    for command in after.commands:
        if command.kind in CALLS or known.get(command.id) == (command.outcome, command.waits):
            continue
        line: dict[str, object] = {
            "event": COMMAND_EVENT,
            **about(after),
            "command": str(command.kind),
            "number": command.id,
            "asked_by": command.by,
            "why": command.reason,
            "outcome": str(command.outcome),
            "waits": command.waits or None,
        }
        if command.problem is not None:
            line |= {"reason": str(command.problem.code), "detail": command.problem.detail}
        yield line


def _peer(m: Migration) -> str:
    return m.source if m.direction is Direction.INCOMING else m.destination


def _elapsed_s(m: Migration, now: Now) -> float | None:
    if m.started_at is None:
        return None
    return round(max(0.0, now.mono - m.started_mono), 3)
