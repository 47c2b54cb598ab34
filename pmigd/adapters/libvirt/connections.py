"""A few connections for many calls, of which any may hang: one call at a time on each.

libvirtd reads only five requests of a connection at a time (`max_client_requests`), and calls that
shared one with a call that hung were slow on libvirt 9.0: once up to 13.7 s, beside 0.2 s on one of
their own. So calls share no connection. Those that come back soon wait for
each other's; one that hangs keeps its own, another is opened in its place, and what is idle beyond
need is closed again. Everything here runs in the threads that make the calls.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

from pmigd.adapters.pool import Withdrawn

KEEP: Final = 4
"""Connections that there are for calls that come back soon."""
SLOW_S: Final = 1.0
"""A call that is out for longer is not waited for: its connection does not count any more."""
LOOK_UP_S: Final = 0.05
"""How often a call that waits for a connection looks whether it is still wanted."""


class Connection(Protocol):
    """What is asked of a connection here; libvirt's answer without asking the daemon."""

    def isAlive(self) -> int:  # noqa: N802 - libvirt's name
        """Whether it has not been lost yet."""


C = TypeVar("C", bound=Connection)


@dataclass(eq=False, slots=True)
class _Line(Generic[C]):
    """A place for one call at a time."""

    connection: C | None = None
    lent_at: float | None = None

    @property
    def idle(self) -> bool:
        return self.lent_at is None

    @property
    def slow(self) -> bool:
        return self.lent_at is not None and monotonic() - self.lent_at > SLOW_S


class Connections(Generic[C]):
    """Connections made by `open_`, which may raise and may hang, and ended by `close`."""

    def __init__(self, open_: Callable[[], C], close: Callable[[C], object]) -> None:
        self._open = open_
        self._close = close
        self._changed = threading.Condition()
        self._lines: list[_Line[C]] = []  # only with `_changed` held

    @property
    def number(self) -> int:
        """Connections that are open now, or being opened."""
        return len(self._lines)

    @contextlib.contextmanager
    def lend(self, wanted: Callable[[], bool]) -> Iterator[C]:
        """A connection of one's own, for as long as the block takes.

        Raises Withdrawn when the call is not `wanted` any more before there is one, or what
        opening raises.
        """
        line = self._take(wanted)
        try:
            if line.connection is None:
                line.connection = self._open()
            yield line.connection
        finally:
            self._give_back(line)

    def close(self) -> None:
        """Close those that are idle; the others end with the process."""
        with self._changed:
            idle = self._drop([line for line in self._lines if line.idle])
        self._close_all(idle)

    def _take(self, wanted: Callable[[], bool]) -> _Line[C]:
        dead: list[_Line[C]] = []
        try:
            with self._changed:
                while True:
                    if not wanted():
                        raise Withdrawn
                    idle = [line for line in self._lines if line.idle]
                    dead += self._drop([line for line in idle if not _alive(line)])
                    line = next((line for line in self._lines if line.idle), None)
                    if line is None and self._brisk() < KEEP:
                        line = _Line()
                        self._lines.append(line)
                    if line is not None:
                        line.lent_at = monotonic()
                        return line
                    self._changed.wait(LOOK_UP_S)
        finally:
            self._close_all(dead)

    def _give_back(self, line: _Line[C]) -> None:
        with self._changed:
            line.lent_at = None
            beyond_need = self._brisk() > KEEP
            ended = self._drop([line]) if beyond_need or not _alive(line) else []
            self._changed.notify_all()
        self._close_all(ended)

    def _brisk(self) -> int:
        """Connections that are idle or will be soon."""
        return sum(not line.slow for line in self._lines)

    def _drop(self, lines: list[_Line[C]]) -> list[_Line[C]]:
        self._lines = [line for line in self._lines if line not in lines]
        return lines

    def _close_all(self, lines: list[_Line[C]]) -> None:
        for line in lines:
            if line.connection is not None:
                self._close(line.connection)


def _alive(line: _Line[C]) -> bool:
    return line.connection is not None and bool(line.connection.isAlive())
