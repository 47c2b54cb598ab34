"""The client for programs that block."""

from __future__ import annotations

import time
from contextlib import suppress

from pmigd.client import link
from pmigd.client.calls import PATIENCE_S, Calls
from pmigd.client.migration import SETTLED_STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, Literal, Self, TypeVar

    from pmigd.client.errors import JsonObject
    from pmigd.client.events import Event, Following, Told
    from pmigd.client.link import Query, Reply
    from pmigd.client.migration import Migration

    T = TypeVar("T")


class _Link:
    """A socket with a timeout."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes, timeout_s: float) -> None:
        self._sock.settimeout(timeout_s)
        self._sock.sendall(data)

    async def receive(self, timeout_s: float) -> bytes:
        self._sock.settimeout(timeout_s)
        return self._sock.recv(65536)

    def close(self) -> None:
        self._sock.close()

    def shut(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(2)  # SHUT_RDWR


class _Blocking:
    """A transport that never suspends."""

    def __init__(self, path: str, pause: Callable[[float], object] = time.sleep) -> None:
        self.path = path
        self._pause = pause

    def link(self, sock: socket.socket) -> _Link:
        return _Link(sock)

    async def pause(self, seconds: float) -> None:
        self._pause(seconds)


class Events:
    """Events as they come; ``close`` ends them, also from another thread."""

    def __init__(self, following: Following, stop: Callable[[], object]) -> None:
        self._following = following
        self._stop = stop
        self._events = following.events()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return link.run(self._events.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """End them."""
        self._stop()
        self._following.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        link.run(self._events.aclose())


class Client:
    """One daemon's API, by its socket: $PMIGD_SOCKET or the usual one when none is named.

    Holds no connection between calls, and may be used by several threads. Every call raises
    RefusedError when the daemon says no, and UnreachableError, or one of its kinds, when there is
    no answer; each has ``answer_s`` for its whole answer. :class:`pmigd.client.calls.Calls` says
    more of each method.
    """

    def __init__(self, path: str | None = None, *, answer_s: float = link.ANSWER_S) -> None:
        self.path = path or link.default_socket()
        self._answer_s = answer_s
        self._calls = Calls(_Blocking(self.path), answer_s)

    def ask(
        self,
        method: str,
        path: str,
        body: JsonObject | bytes | None = None,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        extra_s: float = 0.0,
    ) -> Reply:
        """One request, and its answer whatever the status: for who looks closer than the rest."""
        return link.run(
            self._calls.ask(method, path, body, query=query, headers=headers, extra_s=extra_s)
        )

    def get(self, path: str, query: Query = (), *, extra_s: float = 0.0) -> JsonObject:
        """GET one object; ``extra_s`` is how long the daemon was asked to hold the answer."""
        return link.run(self._calls.get(path, query, extra_s=extra_s))

    def post(
        self, path: str, body: JsonObject | None = None, headers: Mapping[str, str] | None = None
    ) -> JsonObject:
        """POST one object or nothing."""
        return link.run(self._calls.post(path, body, headers))

    def patch(self, path: str, body: JsonObject) -> JsonObject:
        """PATCH one object."""
        return link.run(self._calls.patch(path, body))

    def text(self, path: str, headers: Mapping[str, str] | None = None) -> str:
        """GET what is no JSON, such as ``/metrics``."""
        return link.run(self._calls.text(path, headers))

    def items(self, path: str, query: Query = ()) -> Iterator[JsonObject]:
        """Every item of a list, page after page."""
        return _each(self._calls.items(path, query))

    def submit(
        self,
        domain: str,
        destination: str,
        *,
        key: str | None = None,
        traceparent: str | None = None,
        told: Callable[[str], object] | None = None,
        **fields: Any,
    ) -> Migration:
        """Ask for a migration; it is accepted, not done, when this returns.

        Repeated under its idempotency key if the answer is lost. Raises OutcomeUnknownError when no
        repeat gets through.
        """
        return link.run(
            self._calls.submit(
                domain, destination, key=key, traceparent=traceparent, told=told, **fields
            )
        )

    def check(self, domain: str, destination: str, **fields: Any) -> JsonObject:
        """Everything that speaks against a migration; nothing is started."""
        return link.run(self._calls.check(domain, destination, **fields))

    def migration(self, migration_id: str) -> Migration:
        """One migration as it is now."""
        return link.run(self._calls.migration(migration_id))

    def migrations(
        self, states: Iterable[str] = (), *, domain: str | None = None
    ) -> Iterator[Migration]:
        """Migrations, newest first: in any of ``states`` (all that are kept if there is none)."""
        return _each(self._calls.migrations(states, domain=domain))

    def find(self, text: str) -> str:
        """The ID of what a person typed: an ID, a unique beginning of one, or a guest's name."""
        return link.run(self._calls.find(text))

    def abort(self, migration_id: str) -> Migration:
        """Ask for an abort; the end comes later."""
        return link.run(self._calls.abort(migration_id))

    def postcopy(self, migration_id: str) -> Migration:
        """Have the guest move now and its memory follow."""
        return link.run(self._calls.postcopy(migration_id))

    def suspend(self, migration_id: str) -> Migration:
        """Have the guest paused so that the migration finishes."""
        return link.run(self._calls.suspend(migration_id))

    def recover(self, migration_id: str) -> Migration:
        """Go on with a broken post-copy."""
        return link.run(self._calls.recover(migration_id))

    def resolve(self, migration_id: str, verdict: Literal["succeeded", "failed"]) -> Migration:
        """Close an unresolved one by saying what a person has seen on both hosts."""
        return link.run(self._calls.resolve(migration_id, verdict))

    def set(self, migration_id: str, **settings: Any) -> Migration:
        """Change settings of one that waits or runs; the fields of ``pmigctl set``."""
        return link.run(self._calls.set(migration_id, **settings))

    def settings(self, migration_id: str) -> JsonObject:
        """The settings in force."""
        return link.run(self._calls.settings(migration_id))

    def wait(
        self,
        migration_id: str,
        *,
        states: Container[str] = SETTLED_STATES,
        timeout_s: float | None = None,
        patience_s: float = PATIENCE_S,
        told: Told | None = None,
    ) -> Migration:
        """The migration when it is in one of ``states`` (has ended, or is unresolved), or ended.

        Goes on while the daemon is away, for ``patience_s`` each time. Raises NotEndedError after
        ``timeout_s``.
        """
        return link.run(
            self._calls.wait(
                migration_id, states=states, timeout_s=timeout_s, patience_s=patience_s, told=told
            )
        )

    def events(
        self,
        migration_id: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        told: Told | None = None,
    ) -> Events:
        """The events of one migration up to its end, or of all for as long as you like.

        Connects again when the daemon was away, and tells what happened meanwhile; ``told`` hears
        of it. Raises UnreachableError when it was away for ``patience_s``.
        """
        from threading import Event as Flag

        stopped = Flag()
        calls = Calls(_Blocking(self.path, stopped.wait), self._answer_s)
        following = calls.following(migration_id, patience_s=patience_s, told=told)
        return Events(following, stopped.set)

    def status(self) -> JsonObject:
        """How the daemon is."""
        return link.run(self._calls.status())

    def limits(self) -> JsonObject:
        """What migrations may hold on this host, and hold now."""
        return link.run(self._calls.limits())

    def peers(self) -> list[JsonObject]:
        """The hosts that guests can be sent to."""
        return link.run(self._calls.peers())

    def domains(self) -> list[JsonObject]:
        """This host's guests."""
        return link.run(self._calls.domains())


def _each(items: AsyncGenerator[T]) -> Iterator[T]:
    while True:
        try:
            yield link.run(items.__anext__())
        except StopAsyncIteration:
            return
