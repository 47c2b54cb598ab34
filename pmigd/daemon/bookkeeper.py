"""Keeps memory and journal the same: reads it when it appears, writes what could not be written.

Until everything was read nothing is started, taken or called external: an empty list would not be
an answer. A journal that appears behind its path later (mounted over, replaced, put back) is read
the same way before it is written; what is known by then is carried over into it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from pmigd.adapters.journal import Journal, JournalError
from pmigd.daemon.controller import Controller
from pmigd.daemon.granting import Granting

LOOK_EVERY_S: Final = 2.0
PATIENCE_S: Final = 5.0


class Bookkeeper:
    """`on_read` is told when a journal was read and taken up."""

    def __init__(
        self,
        journal: Journal,
        migrations: Controller,
        granting: Granting,
        on_read: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._migrations = migrations
        self._granting = granting
        self._on_read = on_read
        self._tried = asyncio.Event()

    async def first_attempt(self) -> None:
        """Wait until the journal was read or could not be; not for a disk that does not answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._tried.wait()

    async def run(self) -> None:
        """Until cancelled. What goes wrong the journal says itself."""
        while True:
            with contextlib.suppress(JournalError):
                await self.once()
            self._tried.set()
            self._migrations.pump()
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> None:
        """Look at the journal once. Raises JournalError."""
        if not self._journal.unread:
            try:
                await self._migrations.records.write_down()
            except JournalError:
                if not self._journal.unread:
                    raise
        if self._journal.unread:
            contents = await self._journal.load()
            self._journal.unread = True  # until all of it was taken up
            self._granting.load(contents.leases)
            self._migrations.load(contents)
            self._journal.unread = False
            self._on_read()
            await self._migrations.records.write_down()
