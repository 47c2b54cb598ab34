"""Documents of earlier versions made into those of the next one: pure functions from dict to dict.

Whoever changes what a journalled dataclass looks like raises :data:`VERSION` and adds a step, and
the journal of the release before stays as ``tests/unit/journal/data/journal-vN.sql``. A step knows
the two shapes that it is between and nothing of today's classes: those will change again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Document = dict[str, Any]

VERSION: Final = 2
"""Of the file: its tables and the documents in them. SQLite keeps it as ``user_version``."""


def _as_it_is(document: Document) -> Document:
    return document


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From one version to the next, for each kind of document. They may change what they are given.

    Events are kept since version 2.
    """

    migration: Callable[[Document], Document] = _as_it_is
    lease: Callable[[Document], Document] = _as_it_is
    event: Callable[[Document], Document] = _as_it_is


# From 1 to 2: what was wanted of libvirt was a boolean each, with notes of it; it became a ledger.

_LEDGER_MAX: Final = 64
_CLOSED: Final = ("succeeded", "failed", "cancelled")
_OUTCOME_OF_CALL: Final = {"made": "pending", "ok": "done", "failed": "refused"}
_COMMANDS: Final = ("abort", "suspend", "resume", "postcopy", "recover")
_UNSUCCESSFUL: Final = ("failed: ", "refused: ", "libvirt refused: ")


def _with_a_ledger(m: Document) -> Document:
    """Each thing that was asked for is an entry; what was owed by its boolean is owed still."""
    entries = [_first_call(m)] if m["call"] != "not_made" else []
    for action in m["actions"]:
        same = [entry for entry in entries if entry["kind"] == action["action"]]
        if action["reason"].startswith(_UNSUCCESSFUL) and same:
            same[-1]["waits"] = action["reason"].partition(": ")[2]
        else:
            entries.append(_entry(action["action"], action))
    for entry in entries:
        if entry["kind"] in _COMMANDS:
            entry |= {"attempts": 1, "outcome": _outcome(entry, m, entries)}
            if entry["outcome"] == "pending":
                entry |= {"ended_at": None, "waits": ""}
    if m["abort"] is not None:
        code = "timeout" if m["abort"]["timeout"] else "cancelled"
        for entry in entries:
            entry |= {"code": code} if entry["kind"] == "abort" else {}
    for number, entry in enumerate(entries, start=1):
        entry["id"] = number
    m["numbered"] = len(entries)
    m["commands"] = _shortened(entries)
    m["dropped"] = m["numbered"] - len(m["commands"])
    for name in ("call", "abort", "suspended", "postcopy_asked", "actions"):
        del m[name]
    return m


def _entry(kind: str, action: Document) -> Document:
    at = action["at"]
    said = {"kind": kind, "by": action["by"], "reason": action["reason"], "at": at}
    return said | {"outcome": "done", "ended_at": at}


def _first_call(m: Document) -> Document:
    """The migrate call; ``call`` told of the last one, which may have been made to recover."""
    at = m["started_at"] or m["created_at"]
    action = {"at": at, "by": "pmigd", "reason": "nothing speaks against it"}
    recovered = any(action["action"] == "recover" for action in m["actions"])
    outcome = "overtaken" if recovered else _OUTCOME_OF_CALL.get(m["call"], "overtaken")
    problem = m["failure"] if outcome == "refused" else None
    return (
        _entry("perform", action)
        | {"attempts": 1, "outcome": outcome, "problem": problem}
        | ({"ended_at": None} if outcome == "pending" else {})
    )


def _outcome(entry: Document, m: Document, entries: list[Document]) -> str:
    """What became of a command, as far as version 1 knew; in doubt it is owed, if that is safe."""
    closed = m["state"] in _CLOSED
    match entry["kind"]:
        case "abort" if closed:
            return "overtaken" if m["state"] == "succeeded" else "done"
        case "abort":
            return "pending"
        case "recover":
            last = [e for e in entries if e["kind"] == "recover"][-1]
            return _OUTCOME_OF_CALL.get(m["call"], "overtaken") if entry is last else "refused"
        case "postcopy" if m["evidence"]["postcopy"]:
            return "done"
        case "postcopy":
            return "pending" if m["state"] == "precopy" and "waits" not in entry else "overtaken"
        case "resume":
            return "done" if closed else "overtaken"
        case _:  # a suspend may have taken effect: the guest is resumed if it stays
            return "done"


def _shortened(entries: list[Document]) -> list[Document]:
    """Not more than a ledger keeps: the oldest notes of settings go first."""
    spare = len(entries) - _LEDGER_MAX
    kept = []
    for entry in entries:
        if spare > 0 and entry["kind"] == "set":
            spare -= 1
        else:
            kept.append(entry)
    return kept


UPGRADES: Final[Mapping[int, Upgrade]] = {
    1: Upgrade(migration=_with_a_ledger),
}
