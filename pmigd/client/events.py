"""An event stream that outlives the daemon.

Migrations go on while pmigd restarts, so a broken stream is no verdict: this connects again for a
bounded time, tells what happened meanwhile, and then gives up without having decided anything.
"""

from __future__ import annotations

from contextlib import suppress
from time import gmtime, monotonic, strftime

from pmigd.client import errors, link
from pmigd.client.http import migration_path
from pmigd.client.migration import OPEN_STATES, Migration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container

    from pmigd.client.calls import Calls
    from pmigd.client.errors import ClientError, JsonObject
    from pmigd.client.link import Exchange

POLL_S = 5
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_STEADY_S = 5.0


class Event:
    """Something new about one migration.

    ``raw`` is the line of the stream. ``caught_up`` says that it was in no line, but was asked for
    after the stream had been opened, as what had happened before.
    """

    __slots__ = ("caught_up", "migration", "raw")

    def __init__(self, raw: JsonObject, migration: JsonObject, *, caught_up: bool = False) -> None:
        self.raw = raw
        self.migration = Migration(migration)
        self.caught_up = caught_up

    @property
    def kind(self) -> str:
        """What is new: ``state``, ``progress`` or ``action``."""
        return str(self.raw.get("event") or "")

    @property
    def at(self) -> str:
        """When, by the daemon's clock: RFC 3339 in UTC."""
        return str(self.raw.get("at") or "")


class Connected:
    """The stream is open (again)."""


class Outage:
    """The daemon is away; said once each time, until it can be read again."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


if TYPE_CHECKING:
    Told = Callable[[Connected | Outage], object]


class Following:
    """The events of one migration up to its end, or those of all when ``migration_id`` is None.

    Raises RefusedError when the daemon does not know the migration (any more), UnreachableError
    when it was away for ``patience_s``, NotEndedError after ``timeout_s``.
    """

    def __init__(
        self,
        calls: Calls,
        migration_id: str | None,
        *,
        patience_s: float,
        timeout_s: float | None = None,
        told: Told | None = None,
    ) -> None:
        self._calls = calls
        self._id = migration_id
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else monotonic() + timeout_s
        self._told = told or (lambda _news: None)
        self._exchange: Exchange | None = None
        self._stopped = False
        self._over = False
        self._received = 0
        self._last: JsonObject | None = None
        self._open: set[str] = set()

    def stop(self) -> None:
        """No more events; also from another thread."""
        self._stopped = True
        exchange = self._exchange
        if exchange is not None:
            exchange.shut()

    async def events(self) -> AsyncGenerator[Event]:
        """All events, over as many connections as it takes."""
        pause_s = _FIRST_PAUSE_S
        away_since: float | None = None
        announced = False
        while not self._stopped:
            began, received = monotonic(), self._received
            try:
                async for event in self._one_connection():
                    yield event
                reason: ClientError = errors.UnreachableError(
                    self._calls.path, "the daemon closed the stream", "systemctl status pmigd"
                )
            except (errors.RefusedError, errors.UnreachableError) as error:
                if link.is_final(error):
                    raise
                reason = error
            if self._over or self._stopped:
                return
            now = monotonic()
            if self._received != received:
                away_since, announced = None, False
                if now - began >= _STEADY_S:
                    pause_s = _FIRST_PAUSE_S
            else:
                away_since = began if away_since is None else away_since
                if now - away_since >= self._patience_s:
                    raise self._gave_up(reason)
                if not announced:
                    announced = True
                    self._told(Outage(str(reason)))
            await self._calls.transport.pause(self._within(pause_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _gave_up(self, reason: ClientError) -> errors.UnreachableError:
        """A daemon that answers but cannot tell is, for who follows, as far away as a dead one."""
        if isinstance(reason, errors.UnreachableError):
            return reason
        said = f"it only answers: {reason}"
        return errors.UnreachableError(self._calls.path, said, reason.remedy)

    async def reached(self, states: Container[str]) -> Migration:
        """The migration once it is in one of ``states``, or at its end."""
        events = self.events()
        migration = Migration({})
        try:
            async for event in events:
                migration = event.migration
                if migration.state in states:
                    break
        finally:
            await events.aclose()
        return migration

    async def _one_connection(self) -> AsyncGenerator[Event]:
        path = "/v1/events" if self._id is None else migration_path(self._id, "events")
        try:
            exchange = await link.stream(self._calls.transport, path, self._within(link.ANSWER_S))
        except errors.RefusedError as error:
            if self._id is not None and not link.is_final(error):
                async for event in self._poll(self._id):
                    yield event
            raise
        self._exchange = exchange
        try:
            self._told(Connected())
            if self._id is None:
                for event in await self._missed():
                    yield event
            async for line in link.objects(exchange, self._calls.path, self._idle):
                if self._stopped:
                    return
                self._received += 1
                if line is not None and (known := self._take(line)) is not None:
                    yield known
                if self._over:
                    return
        finally:
            self._exchange = None
            exchange.close()

    async def _poll(self, migration_id: str) -> AsyncGenerator[Event]:
        """The slower way to the truth while streams are refused."""
        wait_s = max(1, int(self._within(POLL_S)))
        answer = await self._calls.get(
            migration_path(migration_id), [("wait", str(wait_s))], extra_s=wait_s
        )
        self._received += 1
        event = self._take(_line(answer))
        if event is not None:
            yield event

    def _take(self, line: JsonObject, *, caught_up: bool = False) -> Event | None:
        raw = line.get("migration")
        if not isinstance(raw, dict):
            return None
        event = Event(line, raw, caught_up=caught_up)
        if self._id is not None:
            # Every connection begins with the state as it is; after another one that is often what
            # was told already.
            if raw == self._last:
                return None
            self._last = raw
            self._over = event.migration.terminal
        elif event.migration.terminal:
            self._open.discard(event.migration.id)
        else:
            self._open.add(event.migration.id)
        return event

    async def _missed(self) -> list[Event]:
        """What happened before the stream was open, which is in no line of it.

        The open ones as they are now, the oldest first, and those that were open and are no longer;
        nothing if the daemon is away again, for then there will be another connection.
        """
        found: list[Migration] = []
        with suppress(errors.UnreachableError, errors.RefusedError):
            running = [m async for m in self._calls.migrations(OPEN_STATES)]
            gone = self._open - {m.id for m in running}
            found += reversed(running)
            for migration_id in sorted(gone):
                try:
                    found.append(await self._calls.migration(migration_id))
                except errors.RefusedError as error:
                    if link.is_final(error):  # too old to be kept
                        self._open.discard(migration_id)
        events = [self._take(_line(m.raw), caught_up=True) for m in found]
        return [event for event in events if event is not None]

    def _idle(self) -> float:
        """How long the stream may be silent. Raises NotEndedError when the time is up."""
        return self._within(link.IDLE_S)

    def _within(self, seconds: float) -> float:
        if self._deadline is None or self._timeout_s is None:
            return seconds
        left = self._deadline - monotonic()
        if left <= 0:
            raise errors.NotEndedError(self._id or "", self._timeout_s)
        return min(seconds, left)


def _line(migration: JsonObject) -> JsonObject:
    """A line as the stream would have it."""
    return {
        "event": "state",
        "at": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()),
        "migration": migration,
    }
