"""One migration on a terminal: a bar that redraws itself on one line.

Imports rich, so nothing may import this before a terminal is certain. Totals of a migration move
backwards when the guest writes faster than the wire carries, so the bar only shows what is true
now and promises nothing. Whatever the width, it stays one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pmigd.cli.output import STATE_STYLES

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console, ConsoleOptions, RenderResult

    from pmigd.cli.migration import Migration

_LEAST_BAR = 10
_MOST_BAR = 40


class ProgressLine:
    """What is drawn: guest, state, bar, figures, as many as the width allows."""

    def __init__(self, migration: Migration, now: datetime) -> None:
        self._migration = migration
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by rich at each redraw, with the width the terminal has then."""
        migration = self._migration
        head = f"{migration.domain} {migration.state}"
        waiting, percent = migration.waiting(self._now), migration.percent
        if waiting is not None or percent is None:
            text = f"{head}: waits for {waiting}" if waiting else f"{head} {self._elapsed()}"
            yield Text(text, no_wrap=True, overflow="ellipsis")
            return
        # Room for the "^C" that the terminal echoes: it must not wrap, or the bar is not wiped.
        width = options.max_width - 3
        tail = self._tail(width - len(head) - _LEAST_BAR - 2, percent)
        bar_width = min(_MOST_BAR, width - len(head) - len(tail) - 2)
        style = STATE_STYLES.get(migration.state, "")
        if bar_width < 3:
            yield Text(f"{percent:3d}% {head}", style=style, no_wrap=True, overflow="ellipsis")
            return
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(
            Text(head, style=style, no_wrap=True),
            ProgressBar(total=100, completed=percent, width=bar_width),
            Text(tail, no_wrap=True, overflow="ellipsis"),
        )
        yield grid

    def _tail(self, width: int, percent: int) -> str:
        migration, progress = self._migration, self._migration.progress
        tail = f"{percent:3d}%"
        candidates = [
            ("eta_s", "eta {}"),
            ("bytes_per_second", "{}"),
            ("dirty_bytes_per_second", "dirty {}"),
            ("iteration", "pass {}"),
            ("throttle_percent", "throttle {}"),
        ]
        for key, words in candidates:
            if not progress.get(key):
                continue
            longer = f"{tail} {words.format(migration.figure(key))}"
            if len(longer) > width:
                break
            tail = longer
        elapsed = self._elapsed()
        return f"{tail} {elapsed}" if len(tail) + len(elapsed) < width else tail

    def _elapsed(self) -> str:
        return self._migration.age(self._now)


class Bar:
    """The live line: shown, hidden for a question, and gone at the end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None

    def draw(self, migration: Migration, now: datetime) -> None:
        """Show this state from now on."""
        line = ProgressLine(migration, now)
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
