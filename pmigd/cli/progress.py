"""One migration on a terminal: a bar that redraws itself on one line.

Imports rich, so nothing may import this before a terminal is certain. Totals of a migration move
backwards when the guest writes faster than the wire carries, so the bar only shows what is true
now and promises nothing. Whatever the width, it stays one line.
"""

from __future__ import annotations

from rich.live import Live
from rich.text import Text

from pmigd.cli import tables
from pmigd.cli.cells import Cell, Gauge
from pmigd.cli.output import role
from pmigd.core.figures import SHOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console, ConsoleOptions, RenderResult

    from pmigd.cli.cells import Glyphs
    from pmigd.cli.migration import Migration
    from pmigd.cli.tables import Line

_LEAST_BAR = 10
_MOST_BAR = 40


class ProgressLine:
    """What is drawn: guest, state, bar, figures, as many as the width allows."""

    def __init__(self, migration: Migration, now: datetime, g: Glyphs) -> None:
        self._migration = migration
        self._now = now
        self._g = g

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by rich at each redraw, with the width the terminal has then."""
        # Room for the "^C" that the terminal echoes: it must not wrap, or the bar is not wiped.
        yield Text.assemble(*self.line(options.max_width - 3), no_wrap=True)

    def line(self, width: int) -> Line:
        """One line of at most ``width`` cells."""
        migration, percent = self._migration, self._migration.percent
        head = f"{migration.domain} {migration.state}"
        waiting = migration.waiting(self._now)
        if waiting is not None or percent is None:
            text = f"{head}: waits for {waiting}" if waiting else f"{head} {self._elapsed()}"
            return tables.joined([Cell(text)], width, self._g)
        look = role(migration.state)
        left = tables.joined([Cell(f"{head} ", look)], width, self._g)
        tail = self._tail(width - tables.length(left) - _LEAST_BAR)
        room = min(_MOST_BAR, width - tables.length(left) - len(tail))
        if room < 3:
            return tables.joined([Cell(f"{percent:3d}% {head}", look)], width, self._g)
        bar = tables.pieces(Gauge(percent, look, longest=room), room, self._g)
        return [*left, *bar, (tail, "")]

    def _tail(self, width: int) -> str:
        migration = self._migration
        tail = f" {migration.percent_words:>4}"
        for figure, shown in sorted(SHOWN, key=lambda row: row[0].wire != "eta_s"):
            text = migration.shown(figure)
            if not shown.bar or text in ("-", "0"):
                continue
            longer = f"{tail} {shown.bar.format(text)}"
            if len(longer) > width:
                break
            tail = longer
        elapsed = self._elapsed()
        return f"{tail} {elapsed}" if len(tail) + len(elapsed) < width else tail

    def _elapsed(self) -> str:
        return self._migration.elapsed(self._now)


class Bar:
    """The live line: shown, hidden for a question, and gone at the end."""

    def __init__(self, console: Console, g: Glyphs) -> None:
        self.console = console
        self._g = g
        self._live: Live | None = None

    def draw(self, migration: Migration, now: datetime) -> None:
        """Show this state from now on."""
        line = ProgressLine(migration, now, self._g)
        if self._live is None:
            # transient: the final line replaces the bar instead of standing below it.
            self._live = Live(
                line,
                console=self.console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
            return
        self._live.update(line, refresh=True)

    def above(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        self.console.print(Text(text))

    def hide(self) -> None:
        """Take the bar off the screen and give the cursor back."""
        if self._live is not None:
            self._live.stop()
            self._live = None
