"""Watch one migration to its end, or all of them for as long as you like.

With an ID the exit code is the migration's, as with migrate. Ctrl-C only stops watching.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from pmigd.cli import exits, ids, listing
from pmigd.cli.client import migration_path
from pmigd.cli.command import Command
from pmigd.cli.errors import CliError
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    import argparse

    from rich.live import Live
    from rich.table import Table

    from pmigd.cli.client import Client
    from pmigd.cli.feed import Feed
    from pmigd.cli.output import Output

_EPILOG = """\
examples:
  pmigctl watch
  pmigctl watch web1
  pmigctl --json watch | jq -r 'select(.event == "state") | .migration.state'
"""

DRAW_EVERY_S = 0.25
FINISHED_STAYS_S = 30.0
"""How long a finished migration stays in the live table, to be seen ending."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", nargs="?", help="the migration; all when left out")


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Follow. Raises CliError."""
    from pmigd.cli.feed import Feed
    from pmigd.cli.follow import Follower, view_for
    from pmigd.cli.interrupts import Interrupts

    if args.id is not None:
        migration_id = ids.resolve(client, args.id)
        with Interrupts() as interrupts, Feed(client, migration_id) as feed:
            interrupts.tell(feed.interrupt)
            view = view_for(output)
            return Follower(client, output, view, submitted=False).run(feed, migration_id)
    running = list(client.items("/v1/migrations", ids.OPEN_QUERY))
    with Interrupts() as interrupts, Feed(client) as feed:
        interrupts.tell(feed.interrupt)
        return _watch_all(client, output, feed, [Migration(item) for item in running])


class _Board(Protocol):
    """Where the states of many migrations are shown."""

    def put(self, migration: Migration, at: str) -> None:
        """A migration's latest state."""

    def draw(self) -> None:
        """A good moment to redraw."""

    def close(self) -> None:
        """Nothing more comes."""


def _watch_all(client: Client, output: Output, feed: Feed, running: list[Migration]) -> int:
    from pmigd.cli.feed import Connected, Event, Interrupt, Outage

    known: dict[str, Migration] = {}
    board: _Board = _Table(output) if output.terminal else _Lines(output)

    ended: set[str] = set()

    def take(migration: Migration, at: str) -> None:
        # What was asked for after connecting may be newer than events already in line.
        if migration.id in ended:
            return
        known[migration.id] = migration
        board.put(migration, at)
        if migration.terminal:
            del known[migration.id]
            ended.add(migration.id)

    try:
        if not output.json:
            for migration in reversed(running):
                take(migration, _now())
        for item in feed.items(tick_s=DRAW_EVERY_S):
            match item:
                case Event() if output.json:
                    output.object(item.raw)
                case Event():
                    take(item.migration, str(item.raw.get("at") or _now()))
                case Connected() if not output.json:
                    # What happened before this moment is in no event: ask for it.
                    with contextlib.suppress(CliError):
                        for migration in _missed(client, known):
                            take(migration, _now())
                case Outage():
                    output.note(
                        f"lost the daemon ({item.reason}); trying again for up to"
                        f" {feed.patience_s:.0f} s"
                    )
                case Interrupt():
                    return exits.INTERRUPTED
                case _:
                    pass
            board.draw()
    finally:
        board.close()
    return exits.SUCCEEDED


def _missed(client: Client, known: dict[str, Migration]) -> list[Migration]:
    """The open ones as they are now, and those that were open and are no longer."""
    running = [Migration(item) for item in client.items("/v1/migrations", ids.OPEN_QUERY)]
    gone = set(known) - {m.id for m in running}
    ended = [Migration(client.get(migration_path(i))) for i in sorted(gone)]
    return [*reversed(running), *ended]


class _Lines:
    """One line a state change."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._states: dict[str, str] = {}

    def put(self, migration: Migration, at: str) -> None:
        if self._states.get(migration.id) == migration.state:
            return
        if migration.terminal:
            self._states.pop(migration.id, None)
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

    def draw(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Table:
    """A live table."""

    def __init__(self, output: Output) -> None:
        from rich.live import Live

        self._console = output.console()
        self._shown: dict[str, Migration] = {}
        self._until: dict[str, float] = {}
        self._drawn = 0.0
        self._live: Live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def put(self, migration: Migration, at: str) -> None:  # noqa: ARG002 - AGE says it already
        self._shown[migration.id] = migration
        if migration.terminal:
            self._until.setdefault(migration.id, time.monotonic() + FINISHED_STAYS_S)

    def draw(self) -> None:
        now = time.monotonic()
        if now - self._drawn < DRAW_EVERY_S:
            return
        self._drawn = now
        for gone in [i for i, until in self._until.items() if until <= now]:
            del self._until[gone], self._shown[gone]
        self._live.update(self._render(), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> Table | str:
        from pmigd.cli import tables

        if not self._shown:
            return "no open migrations"
        newest_first = [self._shown[i] for i in sorted(self._shown, reverse=True)]
        rows = listing.rows(newest_first, datetime.now(UTC), full_ids=False)
        return tables.build(listing.COLUMNS, rows, self._console.width)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


COMMAND = Command(
    name="watch",
    help="follow one migration, or all, as they go on",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
