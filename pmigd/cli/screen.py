"""The whole terminal, until it is given back. Imports curses: only for a terminal.

curses knows the terminal's own sequences, sends only what has changed, follows a new size, and
gives the terminal back when it is stopped by Ctrl-Z. Nothing else may write meanwhile.
"""

from __future__ import annotations

import contextlib
import curses
import os

from rich.style import Style

from pmigd.cli.output import ROLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from pmigd.cli.tables import Line

_REDRAW = "\x0c"  # Ctrl-L
_FALLBACK = "xterm-256color"
"""For a terminal that this host has no description of; they all understand this one's sequences."""


class Screen:
    """From entering to leaving, the terminal shows lines and reads keys."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __enter__(self) -> Self:
        try:
            self._window = curses.initscr()
        except curses.error:
            os.environ["TERM"] = _FALLBACK
            self._window = curses.initscr()
        try:
            self._set_up()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines, and nothing else."""
        self._window.erase()
        for y, line in enumerate(lines):
            # A terminal may take a character for wider than it was counted. What hangs over the
            # edge goes to the next line, and is overwritten there.
            with contextlib.suppress(curses.error):
                self._window.move(y, 0)
                self._window.clrtoeol()
                for text, role in line:
                    self._window.addstr(text, self._attributes.get(role, 0))
        self._window.refresh()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        height, width = self._window.getmaxyx()
        return width, height

    def typed(self) -> str:
        """What was typed since it was asked last; takes up a new size of the terminal, too."""
        typed = ""
        while (code := self._window.getch()) != -1:
            if code < 0x80:
                typed += chr(code)
        if _REDRAW in typed:
            self._window.clearok(True)
        return typed

    def _set_up(self) -> None:
        self._window.nodelay(True)
        self._window.keypad(True)
        # None of these works everywhere: there may be nobody to type, and a cursor may be fixed.
        for setting in (curses.noecho, curses.cbreak, lambda: curses.curs_set(0)):
            with contextlib.suppress(curses.error):
                setting()
        self._attributes = self._looks()

    def _restore(self) -> None:
        for setting in (lambda: curses.curs_set(1), curses.endwin):
            with contextlib.suppress(curses.error):
                setting()

    def _looks(self) -> dict[str, int]:
        """The roles as curses has them, with no colours where they are not wanted."""
        coloured = self._colours and curses.has_colors()
        if coloured:
            curses.start_color()
            curses.use_default_colors()
        found = {}
        for role, look in ROLES.items():
            style = Style.parse(look)
            attribute = (curses.A_BOLD if style.bold else 0) | (curses.A_DIM if style.dim else 0)
            if coloured and style.color is not None and style.color.number is not None:
                curses.init_pair(style.color.number, style.color.number, -1)
                attribute |= curses.color_pair(style.color.number)
            found[role] = attribute
        return found
