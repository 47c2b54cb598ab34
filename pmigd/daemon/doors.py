"""The doors of the daemon: the UNIX socket of its clients, and its addresses on the network.

What can be served is served. The socket comes first, and without it there is no daemon. An address
that cannot be had now (a name that is not resolved yet at boot, a port that another program has)
keeps nobody from anything else: it is said with what to do, and tried again as long as it takes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system.listenfds import PassedSocket
from pmigd.adapters.system.network import tcp_listener
from pmigd.adapters.system.unixsocket import BoundSocket, bind_unix_socket
from pmigd.api.apps import make_app, make_metrics_app
from pmigd.api.backend import Backend
from pmigd.api.door import Door
from pmigd.api.guard import Guard
from pmigd.api.peers import make_peer_app
from pmigd.config.schema import ApiSection, Config
from pmigd.core.address import ListenAddress
from pmigd.daemon.peering import Peering
from pmigd.daemon.scraping import Scraping

LISTEN_DEADLINE_S: Final = 5.0
AGAIN_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between two attempts to have an address; the last one again and again."""
PATIENCE_S: Final = 1.0
BACKLOG: Final = 1024

_REMEDIES: Final[dict[int | None, str]] = {
    errno.EADDRINUSE: "another program has it: 'ss -ltnp' shows which; stop it, or change {key}",
    errno.EADDRNOTAVAIL: "no interface of this host has it: set it up, or change {key}",
    errno.EACCES: "pmigd may not have it: give its unit the right, or change {key}",
}
_NOT_FOUND: Final = "check its name and this host's resolver, or give an address in {key}"

log = structlog.get_logger()


@dataclass(slots=True)
class NetworkDoor:
    """One address on the network, and why it is not open. `fault` is empty where it is."""

    key: str
    address: ListenAddress
    runner: web.AppRunner
    guard: Guard
    fault: str = "not tried yet"


class Doors:
    """All of them. `passed` are the sockets that systemd gave."""

    def __init__(self, names: CallPool, passed: Sequence[PassedSocket]) -> None:
        self._names = names
        self._passed = passed
        self._bound: BoundSocket | None = None
        self._runners: list[web.AppRunner] = []
        self.network: list[NetworkDoor] = []

    async def open(
        self, config: Config, backend: Backend, peering: Peering, scraping: Scraping
    ) -> None:
        """Open all, the socket first: it is what nobody can do without.

        Raises SocketUnusable or OSError for that one alone.
        """
        await self._open_socket(make_app(backend), config.api)
        peer = config.peer.address
        await asyncio.gather(
            self._open_network(
                "peer.listen",
                make_peer_app(peering, peering.guard),
                peering.guard,
                [peer] if peer is not None else [],
            ),
            self._open_network(
                "metrics.listen",
                make_metrics_app(backend, scraping, scraping.guard),
                scraping.guard,
                config.metrics.addresses,
                passed="metrics",
            ),
        )

    async def _open_socket(self, app: web.Application, api: ApiSection) -> None:
        """Serve `app` to local clients. Raises SocketUnusable or OSError."""
        passed = self._given("api", socket.AF_UNIX)
        if passed:
            listener = passed[0]
        else:
            self._bound = bind_unix_socket(
                Path(api.socket), mode=api.mode_bits, group=api.group, backlog=BACKLOG
            )
            for warning in self._bound.warnings:
                log.warning("socket", detail=warning)
            # A second handle: the file is removed while the socket is still open.
            listener = self._bound.socket.dup()
        await Door(await self._runner(app), listener, backlog=BACKLOG).start()

    async def _open_network(
        self,
        key: str,
        app: web.Application,
        guard: Guard,
        addresses: Sequence[ListenAddress],
        *,
        passed: str = "",
    ) -> None:
        """Serve `app` on what systemd passed by that name, or else at the addresses of `key`.

        Raises nothing: what cannot be had is tried again by :meth:`run`.
        """
        given = self._given(passed, socket.AF_INET, socket.AF_INET6)
        if not given and not addresses:
            return
        runner = await self._runner(app)
        for listener in given:
            await Door(runner, listener, backlog=BACKLOG, guard=guard).start()
        if not given:
            fresh = [NetworkDoor(key, address, runner, guard) for address in addresses]
            self.network += fresh
            await asyncio.gather(*(self._try(door) for door in fresh))

    @property
    def shut(self) -> dict[str, str]:
        """The addresses that cannot be had, and why."""
        return {door.address.text: door.fault for door in self.network if door.fault}

    async def run(self) -> None:
        """Try again what could not be had, until all is open."""
        attempt = 0
        while self.shut:
            await asyncio.sleep(AGAIN_S[min(attempt, len(AGAIN_S) - 1)])
            attempt += 1
            await asyncio.gather(*(self._try(door) for door in self.network if door.fault))
        await asyncio.get_running_loop().create_future()  # nothing is left to do

    async def close(self) -> None:
        """Let nobody in any more, and end what is under way."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        if self._bound is not None:
            self._bound.remove()

    async def _try(self, door: NetworkDoor) -> None:
        address = door.address
        try:
            listener = await self._names.call(
                "listen",
                LISTEN_DEADLINE_S,
                lambda: tcp_listener(address.host, address.port, backlog=BACKLOG),
            )
        except (OSError, Overdue) as error:
            fault = _said(error)
            if fault != door.fault:
                remedy = _REMEDIES.get(getattr(error, "errno", None), _NOT_FOUND)
                log.error(
                    "address not opened",
                    address=address.text,
                    detail=fault,
                    remedy=remedy.format(key=door.key) + "; it is tried again",
                )
            door.fault = fault
            return
        await Door(door.runner, listener, backlog=BACKLOG, guard=door.guard).start()
        log.info("address opened", address=address.text, key=door.key)
        door.fault = ""

    def _given(self, name: str, *families: int) -> list[socket.socket]:
        return [
            passed.socket
            for passed in self._passed
            if passed.name == name and passed.socket.family in families
        ]

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=PATIENCE_S
        )
        await runner.setup()
        self._runners.append(runner)
        return runner


def _said(error: OSError | Overdue) -> str:
    """What is wrong, in the system's words: Python's repeat the address."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno is not None and error.errno > 0:  # the resolver's are below
        return os.strerror(error.errno)
    return str(error.strerror or error)
