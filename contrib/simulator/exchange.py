"""What lies between two pmigd: the real channel's calls, carried by the simulated network.

Each message is written and read again as on the wire, and answered by the very rows that answer
it behind the real door. It may come late, never, or twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import msgspec

from contrib.simulator.world import World
from pmigd.adapters.peer.client import (
    CALL_DEADLINE_S,
    SILENCE_S,
    Gives,
    PeerAway,
    PeerChannel,
    PeerRefused,
    Takes,
)
from pmigd.adapters.peer.tls import Certificates
from pmigd.adapters.pool import CallPool
from pmigd.api.peers import ROWS
from pmigd.core.problem import Refused
from pmigd.core.uri import PmigdUrl
from pmigd.wire.peer import Exchange, LeaseEvent

if TYPE_CHECKING:
    from contrib.simulator.daemon import Pmigd

_ACTS: Final = {row.exchange.name: row.act for row in ROWS}
_ENCODE: Final = msgspec.json.encode


class Chances:
    """How unreliable messages between pmigd are; 0 to 1."""

    lost = 0.0
    doubled = 0.0
    late_s = 0.0


class SimulatedChannel(PeerChannel):
    """The way from one life of the pmigd of `source` to that of `name`, whichever that is in now.

    Greeting, epochs, deadlines and what they make of a refusal are the real channel's.
    """

    def __init__(
        self,
        world: World,
        source: str,
        name: str,
        chances: Chances,
        find: Callable[[], Pmigd | None],
    ) -> None:
        super().__init__(name, PmigdUrl(name, 9717), certificates=Certificates, pool=NOBODY)
        self.chances = chances
        self._world = world
        self._source = source
        self._find = find

    async def close(self) -> None:
        """There is nothing to close."""

    async def _exchange(self, exchange: Exchange[Takes, Gives], body: Takes) -> Gives:
        content = b"" if body is None else _ENCODE(self._stamped(body))
        server = await self._reach()
        answer = self._served(server, exchange, content)
        answer.add_done_callback(_forget)
        if body is not None and self._world.random.random() < self.chances.doubled:
            self._served(server, exchange, content).add_done_callback(_forget)
        try:
            given = await asyncio.shield(answer)
        except asyncio.CancelledError:
            if answer.cancelled():
                raise ConnectionResetError("it closed the connection") from None
            raise
        except Refused as refused:
            raise PeerRefused(refused.problem) from None
        await self._carry(self.name, self._source)
        return msgspec.json.decode(given, type=exchange.gives)

    def _served(
        self, server: Pmigd, exchange: Exchange[Takes, Gives], content: bytes
    ) -> asyncio.Task[bytes]:
        epoch = self._epoch

        async def serve() -> bytes:
            takes = exchange.takes
            if takes is None:
                return _ENCODE(server.peering.hello(self._source, epoch))
            body = msgspec.json.decode(content, type=takes)
            return _ENCODE(await _ACTS[exchange.name](server.peering, self._source, body))

        return server.life.spawn(serve())

    async def _reach(self) -> Pmigd:
        await self._carry(self._source, self.name)
        server = self._find()
        if server is None or not server.listening:
            raise ConnectionRefusedError("Connection refused")
        return server

    async def _carry(self, source: str, destination: str) -> None:
        random = self._world.random
        if random.random() < self.chances.lost:
            await asyncio.sleep(CALL_DEADLINE_S * 2)
        if self.chances.late_s:
            await asyncio.sleep(random.uniform(0, self.chances.late_s))
        await self._world.network.carry(source, destination)

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[LeaseEvent]]:
        """What happens to this host's leases."""
        with self._away():
            async with asyncio.timeout(CALL_DEADLINE_S):
                if self.known is None:
                    await self._agree()
                server = await self._reach()
        queue: asyncio.Queue[LeaseEvent | None] = asyncio.Queue()

        async def pump() -> None:
            try:
                async with contextlib.aclosing(server.peering.events(self._source)) as events:  # type: ignore[type-var]
                    async for event in events:
                        queue.put_nowait(event)
            finally:
                queue.put_nowait(None)

        pumping = server.life.spawn(pump())
        await asyncio.sleep(0)
        try:
            yield self._heard(queue)
        finally:
            pumping.cancel()

    async def _heard(self, queue: asyncio.Queue[LeaseEvent | None]) -> AsyncIterator[LeaseEvent]:
        """Events as they come; a stream without a sign of life is given up."""
        while True:
            silent_s = 0.0
            while queue.empty():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5.0):
                        event = await queue.get()
                        queue.put_nowait(event)
                        break
                cut = not self._world.network.up(self._source, self.name)
                silent_s = silent_s + 5.0 if cut else 0.0
                if silent_s >= SILENCE_S:
                    raise PeerAway(f"{self.name}: silent for {SILENCE_S:g} s")
            event = queue.get_nowait()
            if event is None:
                raise PeerAway(f"{self.name}: it ended the stream of events")
            await self._carry(self.name, self._source)
            yield event


NOBODY: Final = CallPool("nobody", 0)
"""Threads for what the simulator never does."""


def _forget(task: asyncio.Task[bytes]) -> None:
    if not task.cancelled():
        task.exception()
