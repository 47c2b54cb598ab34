"""The client's events in line with everything else that happens while something is followed.

A thread reads them, so that Ctrl-C and the clock are served while the daemon is silent; everything
reaches the caller through one queue, in order, interrupts and answers to other questions included.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress

from pmigd.cli.migration import Migration
from pmigd.client.calls import PATIENCE_S
from pmigd.client.errors import ClientError
from pmigd.client.events import Connected, Outage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from pmigd.client import Client, JsonObject
    from pmigd.client import Event as Told


class Event:
    """Something new about one migration; ``caught_up`` as the client has it."""

    __slots__ = ("at", "caught_up", "migration", "raw")

    def __init__(self, told: Told) -> None:
        self.migration = Migration(told.migration.raw)
        self.raw = told.raw
        self.at = told.at
        self.caught_up = told.caught_up


class Answer:
    """What one of the questions beside the stream brought."""

    __slots__ = ("raw",)

    def __init__(self, raw: JsonObject) -> None:
        self.raw = raw


class Interrupt:
    """Ctrl-C was pressed."""


class _Ended:
    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


if TYPE_CHECKING:
    Item = Event | Connected | Outage | Interrupt | Answer


class Feed:
    """The events of one migration, or of all when ``migration_id`` is None."""

    def __init__(
        self, client: Client, migration_id: str | None = None, *, patience_s: float | None = None
    ) -> None:
        self.patience_s = PATIENCE_S if patience_s is None else patience_s
        self._queue: queue.SimpleQueue[Item | _Ended] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._events = client.events(migration_id, patience_s=self.patience_s, told=self._queue.put)

    def __enter__(self) -> Self:
        threading.Thread(target=self._read, name="event-stream", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._events.close()

    def interrupt(self) -> None:
        """Put an Interrupt in line. Safe in a signal handler (SimpleQueue.put is reentrant)."""
        self._queue.put(Interrupt())

    def ask(self, question: Callable[[], JsonObject], *, every_s: float) -> None:
        """Ask now and ``every_s`` after each answer; the answers come in line.

        In a thread of its own. While the daemon is away there are none.
        """

        def run() -> None:
            try:
                while not self._stopped.is_set():
                    with suppress(ClientError):
                        self._queue.put(Answer(question()))
                    self._stopped.wait(every_s)
            except BaseException as error:  # noqa: BLE001 - else nobody hears of it
                self._queue.put(_Ended(error))

        threading.Thread(target=run, name="questions", daemon=True).start()

    def items(self, *, tick_s: float = 1.0) -> Iterator[Item | None]:
        """Items as they come, None when ``tick_s`` passed without one.

        Ends after a terminal state (never, for the stream of all). Raises RefusedError when the
        daemon no longer knows the migration, UnreachableError when patience is at its end.
        """
        while True:
            try:
                item = self._queue.get(timeout=tick_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _read(self) -> None:
        try:
            for event in self._events:
                self._queue.put(Event(event))
        except BaseException as error:  # noqa: BLE001 - else the reader waits
            self._queue.put(_Ended(error))
        else:
            self._queue.put(_Ended(None))
