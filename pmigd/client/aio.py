"""The client for programs on asyncio: the same calls, with ``await``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from pmigd.client import link
from pmigd.client.calls import PATIENCE_S, Calls

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator

    from pmigd.client.events import Event, Told


class _Link:
    """A socket on the running loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self, timeout_s: float) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().sock_recv(self._sock, 65536)

    def close(self) -> None:
        self._sock.close()

    def shut(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(2)  # SHUT_RDWR


class _Looping:
    """A transport on the running loop."""

    def __init__(self, path: str) -> None:
        self.path = path

    def link(self, sock: socket.socket) -> _Link:
        return _Link(sock)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class AsyncClient(Calls):
    """One daemon's API, by its socket: $PMIGD_SOCKET or the usual one when none is named.

    As ``Client``, with ``await`` and ``async for``. A call may be cancelled at any time, which does
    not take back what the daemon heard already.
    """

    def __init__(self, path: str | None = None, *, answer_s: float = link.ANSWER_S) -> None:
        super().__init__(_Looping(path or link.default_socket()), answer_s)

    def events(
        self,
        migration_id: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        told: Told | None = None,
    ) -> AsyncGenerator[Event]:
        """The events of one migration up to its end, or of all for as long as you like.

        Connects again when the daemon was away, and tells what happened meanwhile; ``told`` hears
        of it. Raises UnreachableError when it was away for ``patience_s``. ``aclose`` ends them.
        """
        return self.following(migration_id, patience_s=patience_s, told=told).events()
