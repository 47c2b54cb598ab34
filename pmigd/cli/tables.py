"""Tables on a terminal. Imports rich, so nothing may import this before a terminal is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pmigd.cli.output import STATE_STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pmigd.cli.output import Column

_GAP = 2


def build(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Table:
    """A table that fits ``width`` cells.

    Whole columns go first, in the order they ask for; only what may not go is cut with an ellipsis.
    A dozen columns of one letter each, which is what shrinking alone gives, tell nobody anything.
    """
    keep = list(range(len(columns)))
    full = [
        max([cell_len(c.title), *(cell_len(r[i]) for r in rows)]) for i, c in enumerate(columns)
    ]
    need = [n if c.cut is None else min(n, c.cut) for n, c in zip(full, columns, strict=True)]

    def spare() -> int:
        return width - sum(need[i] + _GAP for i in keep) + _GAP

    while spare() < 0:
        droppable = [i for i in keep if columns[i].drop]
        if not droppable:
            break
        keep.remove(max(droppable, key=lambda i: columns[i].drop))
    for i in keep:
        need[i] += max(0, min(full[i] - need[i], spare()))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for i in keep:
        table.add_column(
            Text(columns[i].title),
            justify="right" if columns[i].right else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=need[i],
        )
    for row in rows:
        table.add_row(
            *(Text(row[i], style=STATE_STYLES.get(row[i].split(" ")[0], "")) for i in keep)
        )
    return table
