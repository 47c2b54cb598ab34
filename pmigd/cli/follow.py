"""Following one migration to its end: shared by ``migrate`` and ``watch ID``.

Shows, and passes a person's wish to abort on to the daemon. Leaving never stops a migration.
"""

from __future__ import annotations

import select
import sys
import time

from pmigd.cli import exits
from pmigd.cli.feed import Event, Feed, Interrupt
from pmigd.cli.migration import Migration, action, left_undone, sample, summary
from pmigd.client.errors import ClientError, RefusedError, UnreachableError
from pmigd.client.events import Outage
from pmigd.core.states import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from pmigd.cli.output import Output
    from pmigd.cli.progress import Bar
    from pmigd.client import Client

    class View(Protocol):
        """How the events of one migration are shown."""

        def show(self, event: Event) -> None:
            """Show a new state, sample or action."""

        def tick(self) -> None:
            """A second passed."""

        def pause(self) -> None:
            """Make room for other text; the next event may draw again."""

        def end(self, migration: Migration) -> None:
            """Show how it ended."""


_PAST_ABORT = frozenset(state for state in State if state.about.in_postcopy)
_ADVICE = {state.value: state.about.advice for state in State if state.about.advice}

PLAIN_EVERY_S = 5.0
"""At most one progress line in this time, in a pipe."""


class JsonView:
    """NDJSON: the daemon's events, unchanged."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, event: Event) -> None:
        """Print the event."""
        self._output.object(event.raw)

    def tick(self) -> None:
        """Nothing moves without an event."""

    def pause(self) -> None:
        """Nothing is on the screen."""

    def end(self, migration: Migration) -> None:
        """The last event said it."""


class _Actions:
    """What of which action was told already; streams repeat them all.

    That one was done is no news; that it waits, or was refused, is.
    """

    def __init__(self) -> None:
        self._told: dict[object, tuple[object, object]] = {}

    def new(self, migration: Migration) -> list[str]:
        lines = []
        for entry in migration.actions:
            news = (entry.get("outcome"), entry.get("waits"))
            key = entry.get("id") or (entry.get("at"), entry.get("action"))
            told = self._told.get(key)
            if told is None or (news != told and news[0] != "done"):
                lines.append(action(entry))
            self._told[key] = news
        return lines


class PlainView:
    """Plain lines: one a state change or action, and now and then a sample."""

    def __init__(self, output: Output, *, every_s: float) -> None:
        self._output = output
        self._every_s = every_s
        self._state: str | None = None
        self._sampled = -every_s
        self._sample = ""
        self._actions = _Actions()

    def show(self, event: Event) -> None:
        """Print what is new in the event."""
        migration = event.migration
        for text in self._actions.new(migration):
            self._output.line(f"{migration.domain}: {text}")
        changed = migration.state != self._state
        self._state = migration.state
        if migration.state in exits.BY_STATE:
            return
        if changed:
            waiting = migration.waiting()
            suffix = f", waits for {waiting}" if waiting else ""
            self._output.line(f"{migration.domain}: {migration.state}{suffix}")
            return
        if not migration.progress and migration.waiting() is None:
            return
        now, text = time.monotonic(), sample(migration)
        if text != self._sample and now - self._sampled >= self._every_s:
            self._sampled, self._sample = now, text
            self._output.line(f"{migration.domain}: {text}")

    def tick(self) -> None:
        """Nothing moves without an event."""

    def pause(self) -> None:
        """Nothing is on the screen."""

    def end(self, migration: Migration) -> None:
        """Print the final line."""
        self._output.line(summary(migration))


class TerminalView:
    """A progress bar, with the actions above it."""

    def __init__(self, output: Output, bar: Bar) -> None:
        self._output = output
        self._bar = bar
        self._migration: Migration | None = None
        self._actions = _Actions()

    def show(self, event: Event) -> None:
        """Redraw."""
        self._migration = event.migration
        for text in self._actions.new(event.migration):
            self._bar.above(f"{event.migration.domain}: {text}")
        self.tick()

    def tick(self) -> None:
        """Redraw with the clock moved on, unless there is nothing left to draw."""
        from datetime import UTC, datetime

        if self._migration is not None and self._migration.state not in exits.BY_STATE:
            self._bar.draw(self._migration, datetime.now(UTC))

    def pause(self) -> None:
        """Take the bar away."""
        self._bar.hide()

    def end(self, migration: Migration) -> None:
        """Leave the final line on the screen."""
        self._bar.hide()
        self._output.line(summary(migration))


def view_for(output: Output, *, verbose: bool = False) -> View:
    """The view that fits where the output goes."""
    if output.json:
        return JsonView(output)
    if output.terminal:
        from pmigd.cli.progress import Bar

        return TerminalView(output, Bar(output.console(), output.glyphs))
    return PlainView(output, every_s=0.0 if verbose else PLAIN_EVERY_S)


class Follower:
    """Follows one migration; returns the exit code that its end means.

    ``submitted`` says that this run asked for the migration: then Ctrl-C offers to abort it, and no
    later refusal may look like one before it began.
    """

    def __init__(self, client: Client, output: Output, view: View, *, submitted: bool) -> None:
        self._submitted = submitted
        self._client = client
        self._output = output
        self._view = view
        self._state = ""

    def run(self, feed: Feed, migration_id: str) -> int:
        """Follow until it is over, unresolved, left or out of reach."""
        try:
            return self._follow(feed, migration_id)
        except KeyboardInterrupt:
            return self._leave(migration_id)
        except UnreachableError as error:
            error.problem["detail"] += "; the migration goes on without pmigctl"
            error.problem["remedy"] += f"; look later with: pmigctl show {migration_id}"
            raise
        except RefusedError as error:
            if not self._submitted:
                raise
            self._view.pause()
            self._output.problem(error.problem)
            self._output.note(f"migration {migration_id} was accepted; its outcome is not known")
            return exits.BY_STATE[State.UNRESOLVED]
        finally:
            self._view.pause()

    def _follow(self, feed: Feed, migration_id: str) -> int:
        for item in feed.items():
            match item:
                case None:
                    self._view.tick()
                case Event():
                    self._view.show(item)
                    self._notice(item.migration)
                    if item.migration.state in exits.BY_STATE:
                        return self._end(item.migration)
                case Outage():
                    self._view.pause()
                    self._output.note(
                        f"lost the daemon ({item.reason}); the migration goes on,"
                        f" trying again for up to {feed.patience_s:.0f} s"
                    )
                case Interrupt():
                    if not self._stay(migration_id):
                        return self._leave(migration_id)
                case _:
                    pass
        raise UnreachableError(
            self._client.path, "the stream ended before the migration", "systemctl status pmigd"
        )

    def _end(self, migration: Migration) -> int:
        self._view.end(migration)
        if (
            migration.problem is not None
            and not self._output.json
            and migration.state != State.SUCCEEDED
        ):
            self._output.problem(migration.problem)
        if not self._output.json:
            for text in left_undone(migration):
                self._output.note(text)
        self._advise(migration)
        return exits.BY_STATE[migration.state]

    def _notice(self, migration: Migration) -> None:
        """Keep the state, and say what to do about one that does not go on by itself."""
        before, self._state = self._state, migration.state
        if before != self._state not in exits.BY_STATE:
            self._advise(migration)

    def _advise(self, migration: Migration) -> None:
        advice = _ADVICE.get(migration.state)
        if advice and not self._output.json:
            self._view.pause()
            self._output.note(advice.format(id=migration.id))

    def _leave(self, migration_id: str) -> int:
        self._view.pause()
        ways = f"left it running; pmigctl watch {migration_id} follows it"
        if self._state not in _PAST_ABORT:
            ways += f", pmigctl abort {migration_id} ends it"
        self._output.note(ways)
        return exits.INTERRUPTED

    def _stay(self, migration_id: str) -> bool:
        """What a person wants after Ctrl-C; without a person to ask, to leave."""
        if not self._submitted or not self._output.can_ask:
            return False
        self._view.pause()
        abortable = self._state not in _PAST_ABORT
        question = (
            "[a]bort the migration, [l]eave it running, [c]ontinue watching? "
            if abortable
            else "In post-copy it cannot be aborted any more, only left.\n"
            "[l]eave it running, [c]ontinue watching? "
        )
        while True:
            print(f"\n{question}", end="", file=sys.stderr, flush=True)
            answer = _line()
            if not answer:  # end of input: nobody is there any more
                return False
            match answer.strip().lower():
                case "a" | "abort" if abortable:
                    self._abort(migration_id)
                    return True
                case "l" | "leave":
                    return False
                case "c" | "continue":
                    return True
                case _:
                    continue

    def _abort(self, migration_id: str) -> None:
        try:
            self._client.abort(migration_id)
        except ClientError as error:
            # It may be over by now, or the daemon away: the stream will tell, so go on watching.
            self._output.problem(error.problem)
        else:
            self._output.note("abort requested")


def _line() -> str:
    """A line from the terminal; "" at the end of input.

    A signal that comes right before a blocking read is handled only after the next line, so what
    is waited for is that there is something to read, and not for long at a time.
    """
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        continue
    return sys.stdin.readline()
