"""Watch one migration to its end, or all of them for as long as you like.

With an ID the exit code is the migration's, as with migrate. Ctrl-C only stops watching.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from datetime import UTC, datetime

from pmigd.cli import exits, figures
from pmigd.cli.command import Subcommand
from pmigd.cli.migration import ShownMigration
from pmigd.client.errors import RefusedError
from pmigd.client.events import Connected, Outage
from pmigd.client.migration import OPEN_STATES
from pmigd.core.figures import SHOWN
from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.board import Board
    from pmigd.cli.feed import Feed, Item
    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

_HELP = "\n".join(f"  {shown.title:<10}{shown.help}" for _, shown in SHOWN if shown.help)
_EPILOG = f"""\
Without an ID a terminal shows all of them on a screen of its own, those in trouble first; q or
Ctrl-C leaves it. Columns that do not fit are left out.

  DONE      of memory, or of disks while these are copied, which come first
{_HELP}
  ->, <-    leaves this host, comes to it

It stays while the daemon is away and goes on by itself. In a pipe it is one line a change, and ends
when the daemon has been away for a minute.

examples:
  pmigctl watch
  pmigctl watch web1
  pmigctl --json watch | jq -r 'select(.event == "state") | .migration.state'
"""

DRAW_EVERY_S = 0.25
LOOK_EVERY_S = 2.0
"""Between questions for what no event tells: the host's state, and places in the queue."""
QUIET_S = 7.0
"""Without an answer for this long the daemon hangs, although its socket is there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", nargs="?", help="the migration; all when left out")


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Follow. Raises ClientError."""
    from pmigd.cli.feed import Feed
    from pmigd.cli.follow import Follower, view_for
    from pmigd.cli.interrupts import Interrupts

    if args.id is not None:
        migration_id = client.find(args.id)
        with Interrupts() as interrupts, Feed(client, migration_id) as feed:
            interrupts.tell(feed.interrupt)
            view = view_for(output)
            return Follower(client, output, view, submitted=False).run(feed, migration_id)
    next(client.migrations(OPEN_STATES), None)  # a daemon that is away now is not waited for
    patience_s = math.inf if output.terminal else None
    with Interrupts() as interrupts, Feed(client, patience_s=patience_s) as feed:
        interrupts.tell(feed.interrupt)
        return _on_a_screen(client, output, feed) if output.terminal else _in_a_pipe(output, feed)


def _in_a_pipe(output: Output, feed: Feed) -> int:
    from pmigd.cli.feed import FeedEvent, Interrupt

    lines = _Lines(output)
    for item in feed.items():
        match item:
            case FeedEvent() if not output.json:
                lines.put(item.migration, item.at or _now())
            case FeedEvent() if not item.caught_up:
                output.object(item.raw)
            case Outage():
                output.note(
                    f"lost the daemon ({item.reason}); trying again for up to"
                    f" {feed.patience_s:.0f} s"
                )
            case Interrupt():
                return exits.INTERRUPTED
            case _:
                pass
    return exits.SUCCEEDED


def _on_a_screen(client: Client, output: Output, feed: Feed) -> int:
    from pmigd.cli.board import Board
    from pmigd.cli.feed import Interrupt
    from pmigd.cli.screen import Screen

    board = Board()
    feed.ask(lambda: _look(client), every_s=LOOK_EVERY_S)
    news = _News()
    with Screen(colours=not os.environ.get("NO_COLOR")) as screen:
        drawn = -math.inf
        for item in feed.items(tick_s=DRAW_EVERY_S):
            if isinstance(item, Interrupt):
                return exits.INTERRUPTED
            _take(board, news, item)
            if time.monotonic() - drawn < DRAW_EVERY_S:
                continue
            if "q" in screen.typed():
                return exits.SUCCEEDED
            board.away = news.absence()
            screen.draw(board.lines(datetime.now(UTC), *screen.size, output.glyphs))
            drawn = time.monotonic()
    return exits.SUCCEEDED


class _News:
    """When the daemon was last heard of, and why it is not any more."""

    def __init__(self) -> None:
        self._heard = time.monotonic()
        self._reason = ""

    def come(self) -> None:
        """It was heard of."""
        self._heard, self._reason = time.monotonic(), ""

    def stay_away(self, reason: str) -> None:
        """It is away."""
        self._reason = reason

    def absence(self) -> str:
        """How long it has been away and why; nothing while it is there."""
        seconds = time.monotonic() - self._heard
        reason = self._reason or ("no answer" if seconds > QUIET_S else "")
        return f"for {figures.duration(int(seconds))} ({printable(reason)})" if reason else ""


def _take(board: Board, news: _News, item: Item | None) -> None:
    from pmigd.cli.feed import Answer, FeedEvent

    match item:
        case FeedEvent():
            news.come()
            board.put(item.migration)
        case Answer():
            news.come()
            board.status = item.raw["status"]
            board.waits(ShownMigration(m) for m in item.raw["queued"])
        case Connected():
            news.come()
        case Outage():
            news.stay_away(item.reason)
        case _:
            pass


def _look(client: Client) -> JsonObject:
    """What no event tells: the host's state, and what the queued ones wait for."""
    status: JsonObject = {}
    queued: list[JsonObject] = []
    with contextlib.suppress(RefusedError):  # it answers, and that is something
        status = client.get("/v1/status")
        migrations = status.get("migrations")
        if isinstance(migrations, dict) and migrations.get("queued"):
            queued = list(client.items("/v1/migrations", [("state", "queued"), ("limit", "200")]))
    return {"status": status, "queued": queued}


class _Lines:
    """One line a state change."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._states: dict[str, str] = {}
        self._ended: set[str] = set()

    def put(self, migration: ShownMigration, at: str) -> None:
        """Tell a migration's state, if it is new."""
        # What was asked for after connecting may be newer than events already in line.
        if migration.id in self._ended or self._states.get(migration.id) == migration.state:
            return
        if migration.terminal:
            self._states.pop(migration.id, None)
            self._ended.add(migration.id)
        else:
            self._states[migration.id] = migration.state
        waiting = migration.waiting()
        suffix = f" waits for {waiting}" if waiting else ""
        code = (migration.problem or {}).get("code")
        suffix += f" {code}" if code else ""
        external = " (external)" if migration.external else ""
        self._output.line(
            f"{at} {migration.id} {migration.domain} {migration.route}"
            f" {migration.state}{external}{suffix}"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


COMMAND = Subcommand(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
