"""Changed configurations, taken up one after the other in the order in which they were asked for.

All that can fail or has to be waited for is done before anything changes: a configuration is in
force as a whole or not at all. systemd waits for the word that a reload is over, and hears it
whatever comes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from pmigd.adapters.pool import CallPool
from pmigd.config.schema import Config

RELOAD_DEADLINE_S: Final = 10.0

Load = Callable[[], Config]
Take = Callable[[], None]

log = structlog.get_logger()


class Reloadable(Protocol):
    """The daemon, as far as its configuration goes."""

    async def prepare(self, new: Config) -> Take:
        """Read all that `new` names; what takes it up, which neither waits nor fails."""

    def reload_begins(self) -> None:
        """Say that a configuration is being read."""

    def reload_is_over(self, *, ok: bool) -> None:
        """Say that it is in force, or that the one before is."""


class Reloading:
    """The reloads of one daemon. `names` has the threads that files are read in."""

    def __init__(self, daemon: Reloadable, names: CallPool) -> None:
        self._daemon = daemon
        self._names = names
        self._asked: asyncio.Queue[Load] = asyncio.Queue()

    def ask(self, load: Load) -> None:
        """Have a configuration taken up when those before it are, and the daemon has started."""
        self._asked.put_nowait(load)

    async def run(self) -> None:
        """Take up what is asked for, until cancelled."""
        while True:
            load = await self._asked.get()
            self._daemon.reload_begins()
            self._daemon.reload_is_over(ok=await self._taken(load))

    async def _taken(self, load: Load) -> bool:
        try:
            new = await self._names.call("reload", RELOAD_DEADLINE_S, load)
            take = await self._daemon.prepare(new)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one stays
            log.error(
                "configuration not reloaded",
                detail=str(error) or type(error).__name__,
                remedy="put it right ('pmigd --check' says what is wrong) and reload again;"
                " the one before stays in force",
            )
            return False
        try:
            take()
        except Exception:
            log.exception("configuration taken up in part", remedy="restart pmigd")
            return False
        log.info("configuration reloaded")
        return True
