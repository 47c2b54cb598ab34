"""The configuration in force, and changed ones, taken up one after the other as asked for.

All that can fail or has to be waited for is done before anything changes: a configuration is in
force as a whole or not at all. systemd waits for the word that a reload is over, and hears it
whatever comes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from pmigd.adapters.pool import CallPool
from pmigd.config.reload import restart_needed
from pmigd.config.schema import Config

RELOAD_DEADLINE_S: Final = 10.0

Load = Callable[[], Config]
Take = Callable[[], None]
Prepare = Callable[[Config], Awaitable[Take]]
"""Reads all that a configuration names; what takes it up, which neither waits nor fails."""

log = structlog.get_logger()


class Watching(Protocol):
    """Who is told of reloads: systemd, and the metrics."""

    def reload_begins(self) -> None:
        """A configuration is being read."""

    def reload_is_over(self, *, ok: bool) -> None:
        """It is in force, or the one before is."""


class Reloading:
    """The configuration of one daemon, `config` at first.

    `prepares` are its parts that read what a configuration names, `takes` those that only have to
    be told, before the others. `names` has the threads that files are read in.
    """

    def __init__(
        self,
        config: Config,
        names: CallPool,
        watching: Watching,
        *,
        takes: Sequence[Callable[[Config], None]],
        prepares: Sequence[Prepare],
    ) -> None:
        self.config = config
        self._names = names
        self._watching = watching
        self._takes = takes
        self._prepares = prepares
        self._asked: asyncio.Queue[Load] = asyncio.Queue()

    def ask(self, load: Load) -> None:
        """Have a configuration taken up when those before it are, and the daemon has started."""
        self._asked.put_nowait(load)

    async def run(self) -> None:
        """Take up what is asked for, until cancelled."""
        while True:
            load = await self._asked.get()
            self._watching.reload_begins()
            self._watching.reload_is_over(ok=await self._taken(load))

    async def prepare(self, new: Config) -> Take:
        """Have every part read what `new` names; what has all of them take it up. Raises what the
        first raises that cannot use it."""
        prepared = [await prepare(new) for prepare in self._prepares]

        def take() -> None:
            if later := restart_needed(self.config, new):
                log.warning("some keys take effect at the next start", keys=later)
            self.config = new
            for told in self._takes:
                told(new)
            for one in prepared:
                one()

        return take

    async def _taken(self, load: Load) -> bool:
        try:
            take = await self.prepare(await self._names.call("reload", RELOAD_DEADLINE_S, load))
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
