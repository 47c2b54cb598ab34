"""The live view of all migrations: from what is known to the lines of a screen.

Pure: clock, size and glyphs are passed in. What comes first is what an operator must see first:
what is in trouble, then what runs, then what waits in its turn; what has ended stands below.
"""

from __future__ import annotations

from collections import Counter, deque

from pmigd.cli import figures, listing, resources, tables
from pmigd.cli.cells import Cell
from pmigd.cli.output import one_line
from pmigd.core.states import STUCK, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import Any, Final

    from pmigd.cli.cells import Glyphs
    from pmigd.cli.migration import Migration
    from pmigd.cli.tables import Line
    from pmigd.client import JsonObject

_KEPT: Final = 100
"""How many that have ended are kept to be shown; all are counted."""
_ENDED_ROWS: Final = 3
"""Rows for what has ended that a crowd of open ones cannot take."""


class Board:
    """What is known, and the lines that show it."""

    def __init__(self) -> None:
        self._open: dict[str, Migration] = {}
        self._ended: deque[Migration] = deque(maxlen=_KEPT)
        self._over: set[str] = set()
        self._tally: Counter[str] = Counter()
        self.status: JsonObject = {}
        self.away = ""
        """Why the daemon is away, and for how long; empty while it is there."""

    def put(self, migration: Migration) -> None:
        """A migration's state. What has ended stays ended: older news may come later."""
        if migration.id in self._over:
            return
        if not migration.terminal:
            self._open[migration.id] = migration
            return
        self._open.pop(migration.id, None)
        self._over.add(migration.id)
        self._ended.appendleft(migration)
        self._tally[migration.state] += 1

    def waits(self, queued: Iterable[Migration]) -> None:
        """What queued ones wait for now; no event tells that a queue has moved on."""
        for migration in queued:
            known = self._open.get(migration.id)
            if known is not None and known.state == migration.state == State.QUEUED:
                self._open[migration.id] = migration

    def lines(self, now: datetime, width: int, height: int, g: Glyphs) -> list[Line]:
        """At most ``height`` lines of at most ``width`` cells."""
        head = [tables.joined(self._header(), width, g)]
        if alarm := self._alarm():
            head.append(tables.joined([Cell(alarm, "trouble")], width, g))
        shown = self._order()
        room = max(1, height - len(head) - 1)  # without the titles
        ended = list(self._ended)[: max(_ENDED_ROWS, room - len(shown) - 1)] if room > 9 else []
        if not shown and not ended:
            return [*head, tables.joined([Cell("no open migrations", "aside")], width, g)][:height]
        room -= len(ended) + 1 if ended else 0
        rest: list[Migration] = []
        if len(shown) > room:
            shown, rest = shown[: room - 1], shown[room - 1 :]
        rows = listing.rows([*shown, *ended], now, ids=False)
        titles, *table = tables.lines(listing.columns(ids=False), rows, width, g)
        lines = [*head, titles, *table[: len(shown)]]
        if rest:
            lines.append(tables.joined([Cell(_crowd(rest), "aside")], width, g))
        if ended:
            count = [Cell(f"{n} {state}", state) for state, n in sorted(self._tally.items())]
            lines += [tables.joined([Cell("ended", "title"), *count], width, g)]
            lines += table[len(shown) :]
        return lines[:height]

    def _order(self) -> list[Migration]:
        def place(m: Migration) -> tuple[int, float, str]:
            rank = 0 if m.state in STUCK else 2 if m.state == State.QUEUED else 1
            return rank, m.place if rank == 2 else 0, m.id

        return sorted(self._open.values(), key=place)

    def _header(self) -> Iterator[Cell]:
        """The host in a few words, the most important first."""
        status, running = self.status, [m for m in self._open.values() if m.state != State.QUEUED]
        yield Cell(one_line(status.get("name") or "pmigd"), "title")
        if self.away:
            yield Cell("AWAY", "trouble")
        elif status:
            yield Cell("ready", "good") if status.get("ready") else Cell("NOT READY", "trouble")
        states = Counter(m.state for m in self._open.values())
        for state in STUCK:
            if states[state]:
                yield Cell(f"{states[state]} {state}", "trouble")
        limits = _object(status, "limits")
        for way, arrow, key in (("out", "->", "max_outgoing"), ("in", "<-", "max_incoming")):
            text = f"{way} {sum(m.peer.startswith(arrow) for m in running)}"
            yield Cell(text if limits.get(key) is None else f"{text}/{one_line(limits[key])}")
        yield Cell(f"queued {states[State.QUEUED]}")
        if rate := sum(_rate(m) for m in running):
            yield Cell(figures.rate(rate))
        libvirt = _object(status, "libvirt")
        if libvirt.get("connected") and libvirt.get("version"):
            yield Cell(f"libvirt {one_line(libvirt['version'])}", "aside")

    def _alarm(self) -> str:
        """What keeps pmigd from working."""
        if self.away:
            return f"no news from pmigd {self.away}; migrations go on, trying again"
        missing = _object(self.status, "missing")
        return "; ".join(f"{one_line(part)}: {one_line(why)}" for part, why in missing.items())


def _crowd(rest: list[Migration]) -> str:
    """Those for whom there is no room, by what they are at or wait for."""
    words = Counter(_at(m) for m in rest)
    return f"{len(rest)} more: " + ", ".join(f"{n} {what}" for what, n in words.most_common())


def _at(migration: Migration) -> str:
    waiting = migration.raw.get("waiting_for")
    if not isinstance(waiting, dict):
        return migration.state
    return f"for {resources.wanted(waiting)}"


def _rate(migration: Migration) -> float:
    value = migration.progress.get("bytes_per_second")
    return value if isinstance(value, int | float) else 0


def _object(value: JsonObject, key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
