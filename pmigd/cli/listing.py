"""The table of migrations: what ``list`` shows once and ``watch`` keeps up to date."""

from __future__ import annotations

from pmigd.cli import figures
from pmigd.cli.cells import Cell, Column, Gauge
from pmigd.cli.migration import Migration, outcome, short_ids
from pmigd.cli.output import one_line, role
from pmigd.core.figures import SHOWN
from pmigd.core.states import STUCK, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Final

    from pmigd.cli.cells import AnyCell

PLAIN: Final = (
    Column("ID"),
    Column("DOMAIN"),
    Column("STATE"),
    Column("FROM->TO"),
    Column("PROGRESS"),
    Column("RATE"),
    Column("DIRTY"),
    Column("PAUSE"),
    Column("ETA"),
    Column("AGE"),
)
"""The columns in a pipe."""

_ID: Final = Column("ID")
_COLUMNS: Final = (
    Column("DOMAIN", cut=15, middle=True),
    Column("STATE", least=9),
    Column("PEER", drop=5, cut=9, middle=True),
    Column("DONE", right=True),
    Column("", drop=2, cut=4),
    *(
        Column(s.title, drop=s.drop, right=True, least=s.least, optional=s.optional)
        for _, s in SHOWN
    ),
    Column("ELAPSED", drop=10, right=True),
)
"""The columns on a terminal. A sentence may stand in the place of figures."""

_LONGEST_BAR: Final = 24


def plain_rows(migrations: Sequence[Migration], now: datetime) -> list[list[str]]:
    """A row for each, as wide as it is, for readers that cannot ask again, such as scripts."""
    return [
        [
            m.id,
            m.domain,
            f"{m.state} (external)" if m.external else m.state,
            m.route,
            m.percent_words,
            "-" if m.terminal else m.figure("bytes_per_second"),
            m.dirty(),
            m.pause(),
            _without_article(m.waiting()) or m.owed_words(now) or m.eta(),
            m.age(now),
        ]
        for m in migrations
    ]


def columns(*, ids: bool) -> tuple[Column, ...]:
    """The columns on a terminal, with the IDs or without."""
    return (_ID, *_COLUMNS) if ids else _COLUMNS


def rows(migrations: Sequence[Migration], now: datetime, *, ids: bool) -> list[list[AnyCell]]:
    """A row for each, on a terminal; IDs are as short as still tells them apart."""
    short = short_ids([m.id for m in migrations])
    return [[*([short[m.id]] if ids else []), *_row(m, now)] for m in migrations]


def _row(m: Migration, now: datetime) -> list[AnyCell]:
    # What came in is always others' doing, and the arrow says it.
    state = f"{m.state} (external)" if m.external and m.peer.startswith("->") else m.state
    look = role(m.state)
    if m.state in STUCK:
        return [m.domain, Cell(f"{state} {m.peer}: {_problem(m, 'remedy')}", look)]
    head: list[AnyCell] = [m.domain, Cell(state, look), m.peer]
    if (sentence := _sentence(m, now)) is not None:
        return [*head, sentence]
    percent = m.percent
    return [
        *head,
        "-" if percent is None else f"{percent}%",
        "-" if percent is None else Gauge(percent, look, longest=_LONGEST_BAR),
        *(
            Cell(m.shown(figure), "trouble" if shown.red and m.outpaced else "")
            for figure, shown in SHOWN
        ),
        m.elapsed(now),
    ]


def _sentence(m: Migration, now: datetime) -> str | None:
    """What there is to say where figures say nothing: why it waits, or how it ended."""
    if not m.terminal:
        return _without_article(m.waiting(now)) or m.owed_words(now) or None
    parts = [outcome(m), _problem(m, "detail") if m.state == State.FAILED else ""]
    if m.raw.get("finished_at"):
        parts.append(f"{figures.age(m.raw['finished_at'], now)} ago")
    return "; ".join(part for part in parts if part)


def _problem(m: Migration, more: str) -> str:
    problem = m.problem or {}
    return ": ".join(one_line(problem[k]) for k in ("title", more) if problem.get(k))


def _without_article(text: str | None) -> str | None:
    return text and text.removeprefix("a ").removeprefix("an ")
