"""An event stream that outlives the daemon.

The migration goes on while pmigd restarts, so a broken stream is no verdict: this reconnects for a
bounded time, says once that it does, and then gives up without having decided anything. A thread
reads, so that Ctrl-C and the clock are served while the daemon is silent; everything reaches the
caller through one queue, in order, interrupts included.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pmigd.cli.client import migration_path
from pmigd.cli.errors import CliError, JsonObject, RefusedError, UnreachableError
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from pmigd.cli.client import Client, Stream

PATIENCE_S = 60.0
"""How long the daemon may be away; a restart takes a few seconds."""
POLL_S = 5
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_STEADY_S = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the stream (or the answer to a poll) about one migration."""

    migration: Migration
    raw: JsonObject


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream is open (again): whatever happened before may have been missed."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The daemon is away; said once each time, until it can be read again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of the questions beside the stream brought."""

    raw: JsonObject


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None


Item = Event | Connected | Outage | Interrupt | Answer


class Feed:
    """The events of one migration, or of all when ``migration_id`` is None."""

    def __init__(
        self, client: Client, migration_id: str | None = None, *, patience_s: float | None = None
    ) -> None:
        self._client = client
        self._id = migration_id
        self.patience_s = PATIENCE_S if patience_s is None else patience_s
        self._queue: queue.SimpleQueue[Item | _Ended] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._stream: Stream | None = None
        self._received = 0
        self._last: JsonObject | None = None
        self._over = False
        self._announced = False
        self._thread = threading.Thread(target=self._run, name="event-stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        stream = self._stream
        if stream is not None:
            stream.close()

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
                    with contextlib.suppress(CliError):
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

    def _run(self) -> None:
        try:
            self._pump()
        except BaseException as error:  # noqa: BLE001 - else the reader waits
            self._queue.put(_Ended(error))
        else:
            self._queue.put(_Ended(None))

    def _pump(self) -> None:
        pause_s = _FIRST_PAUSE_S
        away_since: float | None = None
        while not self._stopped.is_set():
            began, received = time.monotonic(), self._received
            reason = self._attempt()
            if self._over:
                return
            now = time.monotonic()
            if self._received != received:
                away_since = None
                self._announced = False
                if now - began >= _STEADY_S:
                    pause_s = _FIRST_PAUSE_S
            else:
                away_since = began if away_since is None else away_since
                if now - away_since >= self.patience_s:
                    raise self._gave_up(reason)
                if not self._announced:
                    self._announced = True
                    self._queue.put(Outage(str(reason)))
            self._stopped.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _gave_up(self, reason: CliError) -> UnreachableError:
        """A daemon that answers but cannot tell is, for who follows, as far away as a dead one."""
        if isinstance(reason, UnreachableError):
            return reason
        return UnreachableError(
            self._client.path, f"it only answers: {reason}", str(reason.problem.get("remedy") or "")
        )

    def _attempt(self) -> CliError:
        """One connection, to its end. Returns why it ended; raises what no repeat can mend."""
        try:
            self._read()
        except RefusedError as error:
            if error.status < 500:
                raise
            return self._poll(error)
        except UnreachableError as error:
            return error
        return UnreachableError(
            self._client.path, "the daemon closed the stream", "systemctl status pmigd"
        )

    def _read(self) -> None:
        path = "/v1/events" if self._id is None else migration_path(self._id, "events")
        stream = self._client.stream(path)
        self._stream = stream
        with contextlib.closing(stream):
            self._queue.put(Connected())
            for untrusted in stream.objects():
                if self._stopped.is_set():
                    return
                self._received += 1
                if untrusted is None:
                    continue
                self._take(untrusted)
                if self._over:
                    return

    def _poll(self, refusal: RefusedError) -> CliError:
        """The slower way to the truth while streams are refused."""
        if self._id is None:
            return refusal
        try:
            answer = self._client.get(
                migration_path(self._id), [("wait", str(POLL_S))], extra_s=POLL_S
            )
        except RefusedError as error:
            if error.status < 500:
                raise
            return error
        except UnreachableError as error:
            return error
        self._received += 1
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._take({"event": "state", "at": at, "migration": answer})
        return refusal

    def _take(self, untrusted: JsonObject) -> None:
        raw = untrusted.get("migration")
        if not isinstance(raw, dict):
            return
        migration = Migration(raw)
        if self._id is not None:
            # Every connection begins with the state as it is; after a reconnect that is often the
            # one already told.
            if raw == self._last:
                return
            self._last = raw
            self._over = migration.terminal
        self._queue.put(Event(migration, untrusted))
