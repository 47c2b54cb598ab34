"""Where the answer goes and in which of three forms: terminal, plain lines, JSON.

Standard output carries the answer, standard error everything else. rich is imported here only, and
only for a terminal; each line is flushed, because a pipe's reader is waiting for it.
"""

from __future__ import annotations

import json
import os
import sys

from pmigd.cli import cells, figures
from pmigd.core.printable import printable
from pmigd.core.states import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from pmigd.cli.cells import AnyCell, Column, Glyphs
    from pmigd.client import JsonObject

ROLES = {
    **{state.value: state.about.style for state in State},
    "block": "bold red",
    "warn": "yellow",
    "info": "cyan",
    "trouble": "bold red",
    "good": "green",
    "title": "bold",
    "left": "dim",
    "aside": "dim",
}
"""How each role looks: states, levels of findings, parts of tables.

In the terminal's own colours, which its owner chose to suit the background. White, black and their
bright kin are left out: one of them cannot be seen on a light background, or on a dark one.
"""


class Output:
    """The three forms, chosen once per run."""

    def __init__(self, *, json_wanted: bool) -> None:
        self.json = json_wanted
        self.terminal = (
            not json_wanted and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        )

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer a question."""
        return self.terminal and sys.stdin is not None and sys.stdin.isatty()

    def line(self, text: str = "") -> None:
        """One line of the answer."""
        print(text, flush=True)

    def headed(self, level: str, text: str, *, width: int) -> None:
        """One line headed by a finding's level, which is coloured on a terminal."""
        if not self.terminal:
            self.line(f"{level.ljust(width)}{text}")
            return
        from rich.text import Text

        head = Text(level.ljust(width), style=role(level))
        self.console().print(head.append(text, style="default"), soft_wrap=True)

    def object(self, value: JsonObject) -> None:
        """One JSON object on a line of its own."""
        print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)

    def note(self, text: str) -> None:
        """Something about the run, not part of the answer."""
        print(f"pmigctl: {text}", file=sys.stderr, flush=True)

    def problem(self, problem: JsonObject) -> None:
        """A problem, as the object itself with ``--json``, else in words on standard error."""
        if self.json:
            self.object(problem)
            return
        for text in problem_lines(problem):
            print(text, file=sys.stderr)
        sys.stderr.flush()

    def console(self) -> Console:
        """The terminal, by rich, which also honours NO_COLOR and the width."""
        from rich.console import Console
        from rich.theme import Theme

        return Console(highlight=False, markup=False, emoji=False, theme=Theme(ROLES))

    @property
    def glyphs(self) -> Glyphs:
        """What the terminal can surely show."""
        return cells.glyphs(os.environ, sys.stdout.encoding or "")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[AnyCell]]) -> None:
        """A table: fitted to the width of a terminal, in aligned plain columns in a pipe."""
        if self.terminal:
            from rich.text import Text

            from pmigd.cli import tables

            console = self.console()
            for line in tables.lines(columns, rows, console.width, self.glyphs):
                console.print(Text.assemble(*line), no_wrap=True)
            return
        for text in plain_table([c.title for c in columns], rows):
            self.line(text)


def role(name: str) -> str:
    """A name from elsewhere, such as a state, as a role; none if it is none."""
    return name if name in ROLES else ""


def problem_lines(problem: JsonObject) -> list[str]:
    """A problem in words: what, every field that is wrong, and what to do."""
    from pmigd.cli.words import in_options

    title = one_line(problem.get("title") or "Error")
    detail = in_options(one_line(problem.get("detail") or ""))
    lines = [f"pmigctl: {title}: {detail}" if detail else f"pmigctl: {title}"]
    errors = problem.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            field = one_line(error.get("field") or "request")
            lines.append(f"  {field}: {in_options(one_line(error.get('message') or ''))}")
    if problem.get("remedy"):
        lines.append(f"  remedy: {in_options(one_line(problem['remedy']))}")
    return lines


def one_line(value: object) -> str:
    """Text of several lines joined into one and made harmless."""
    return printable(" ".join(str(value).split()))


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[AnyCell]]) -> list[str]:
    """Aligned columns, two spaces apart, no trailing blanks."""
    table = [list(titles), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(titles))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def groups(value: JsonObject) -> list[str]:
    """Any object as ``key: value`` lines: the plain keys first, then each nested one as a group.

    Knows no key by name, so what a newer daemon adds simply shows.
    """
    simple = {k: v for k, v in value.items() if not isinstance(v, dict | list) or not v}
    lines = key_values(simple)
    for key, nested in value.items():
        if key not in simple:
            below = [f"  {text}" if text else "" for text in _nested(nested)]
            lines += ["", f"{one_line(key)}:", *below]
    return lines[1:] if lines[:1] == [""] else lines


def key_values(values: JsonObject) -> list[str]:
    """Aligned ``key: value`` lines of an object without nested ones."""
    width = max((len(k) for k in values), default=0) + 1
    return [f"{one_line(k) + ':':<{width}} {_scalar(k, v)}" for k, v in values.items()]


def _nested(value: object) -> list[str]:
    if isinstance(value, dict):
        return groups(value)
    if not isinstance(value, list):
        return [one_line(value)]
    lines: list[str] = []
    for entry in value:
        first, *rest = groups(entry) if isinstance(entry, dict) else [one_line(entry)]
        lines += [f"- {first}", *(f"  {text}" for text in rest)]
    return lines


def _scalar(key: str, value: object) -> str:
    if isinstance(value, list | dict):
        return "none"
    return figures.by_unit(key, value)
