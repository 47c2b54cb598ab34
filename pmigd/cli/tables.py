"""From rows to lines that fit a terminal. Imports rich: only for a terminal.

Pure: the width is passed in, and a line is made of pieces with roles instead of colours.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from pmigd.cli.cells import Cell, Gauge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pmigd.cli.cells import AnyCell, Column, Glyphs

Piece = tuple[str, str]
"""Text and its role."""
Line = list[Piece]

_GAP = 2
_NOTHING = ("", "-")


def lines(
    columns: Sequence[Column], rows: Sequence[Sequence[AnyCell]], width: int, g: Glyphs
) -> list[Line]:
    """The titles and then a line for each row, none wider than ``width`` cells.

    A row may be shorter than the columns: then its last cell has the place of all the rest. Whole
    columns go first, in the order they ask for; only what may not go is cut. A dozen columns of one
    letter each, which is what shrinking alone gives, tell nobody anything.
    """
    widths = _widths(columns, rows, width, g)
    titles = [Cell(c.title, "title") for c in columns]
    return [_line(columns, row, widths, width, g) for row in (titles, *rows)]


def joined(cells: Iterable[AnyCell], width: int, g: Glyphs) -> Line:
    """The cells in a line, as many as fit; only the first is cut if need be."""
    line: Line = []
    for cell in cells:
        gap = " " * (_GAP if line else 0)
        room = width - length(line) - len(gap)
        if line and _full(cell, g) > room:
            break
        line += [(gap, ""), *pieces(cell, room, g)]
    return line


def length(line: Line) -> int:
    """In cells."""
    return sum(cell_len(text) for text, _ in line)


def cut(text: str, width: int, g: Glyphs, *, middle: bool = False) -> str:
    """The text in ``width`` cells at most, with a sign where something is missing."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    tail = (width - 1) // 2 if middle else 0
    head = set_cell_size(text, width - 1 - tail).rstrip()
    return head + g.cut + (set_cell_size(text[::-1], tail)[::-1].lstrip() if tail else "")


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[AnyCell]], width: int, g: Glyphs
) -> dict[int, int]:
    """The width of each column that is kept, by its place."""
    keep: list[int] = []
    full: list[int] = []
    for i, column in enumerate(columns):
        # The last cell of a short row is not the column's: it takes what room there is.
        cells = [row[i] for row in rows if i < len(row) - (len(row) < len(columns))]
        if not column.optional or any(str(cell) not in _NOTHING for cell in cells):
            keep.append(i)
        full.append(max(cell_len(column.title), column.least, *(_full(c, g) for c in cells)))
    need = [n if c.cut is None else min(n, c.cut) for n, c in zip(full, columns, strict=True)]

    def spare() -> int:
        return width - sum(need[i] + _GAP for i in keep) + _GAP

    while spare() < 0:
        droppable = [i for i in keep if columns[i].drop]
        if not droppable:
            break
        keep.remove(max(droppable, key=lambda i: columns[i].drop))
    # What is left goes to all that want more, a cell each in turn.
    while spare() > 0 and (wanting := [i for i in keep if need[i] < full[i]]):
        for i in wanting[: spare()]:
            need[i] += 1
    return {i: need[i] for i in keep}


def _line(
    columns: Sequence[Column],
    row: Sequence[AnyCell],
    widths: dict[int, int],
    width: int,
    g: Glyphs,
) -> Line:
    line: Line = []
    at = 0
    for i, wide in widths.items():
        room = width - at
        if i >= len(row) or room < 1:
            break
        last = i == len(row) - 1 < len(columns) - 1
        place = room if last else min(wide, room)
        cell = pieces(row[i], place, g, middle=columns[i].middle)
        blank = place - length(cell) if columns[i].right and not last else 0
        line += [(" " * (at - length(line) + blank), ""), *cell]
        at += wide + _GAP
    return line


def pieces(cell: AnyCell, width: int, g: Glyphs, *, middle: bool = False) -> Line:
    """A cell in ``width`` cells at most."""
    if isinstance(cell, Gauge):
        done, left = cell.bar(min(width, cell.longest), g)
        return [(done, cell.role), (left, "left")]
    role = cell.role if isinstance(cell, Cell) else ""
    return [(cut(_shown(cell, g), width, g, middle=middle), role)]


def _full(cell: AnyCell, g: Glyphs) -> int:
    if isinstance(cell, Gauge):
        return cell.longest
    return cell_len(_shown(cell, g))


def _shown(cell: AnyCell, g: Glyphs) -> str:
    """The text as the terminal can show it."""
    return str(cell).encode("ascii", "backslashreplace").decode() if g.ascii else str(cell)
