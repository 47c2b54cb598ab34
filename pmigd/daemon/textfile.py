"""The metrics as a file for node_exporter's textfile collector, for hosts without a further port.

What cannot be written is said once, and tried again all the time. The file is never removed: its
age, which node_exporter tells, is the sign that pmigd is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system.textfile import replace_text
from pmigd.config.schema import Config

WRITE_DEADLINE_S: Final = 5.0
LAST_WRITE_DEADLINE_S: Final = 1.0
_REMEDY: Final = "its folder must be there, have room, and be in ReadWritePaths of pmigd's unit"

log = structlog.get_logger()


class Textfile:
    """Writes what `render` returns, which is called on the loop."""

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render
        self._path: Path | None = None
        self._every_s = 1.0
        self._configured = asyncio.Event()
        self._fault = ""
        self._begun = False
        # One thread of its own: a file system that hangs must hold up nothing else.
        self.pool = CallPool("textfile", 1)

    def configure(self, config: Config) -> None:
        """Take up which file it is, and how often it is written."""
        path = Path(config.metrics.textfile) if config.metrics.textfile else None
        if path != self._path:
            self._path, self._fault = path, ""
        self._every_s = float(config.metrics.textfile_interval_s)
        self._configured.set()

    async def run(self) -> None:
        """Write it again and again, until cancelled."""
        while True:
            self._configured.clear()
            await self.write()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._configured.wait()

    async def stop(self) -> None:
        """Write it a last time, so that all that was counted is in it."""
        if self._begun:
            await self.write(LAST_WRITE_DEADLINE_S)
        self.pool.stop()

    async def write(self, deadline_s: float = WRITE_DEADLINE_S) -> None:
        """Write it now, and say it if that is no longer possible, or is again."""
        path = self._path
        self._begun = True
        if path is None:
            return
        content = self._render()
        fault = ""
        try:
            await self.pool.call("textfile", deadline_s, lambda: replace_text(path, content))
        except (OSError, Overdue) as error:
            fault = getattr(error, "strerror", None) or str(error)
        if fault == self._fault:
            return
        self._fault = fault
        if fault:
            log.error("metrics file cannot be written", detail=f"{path}: {fault}; {_REMEDY}")
        else:
            log.info("metrics file is written again", path=str(path))
