"""A journal in memory that keeps what the one in SQLite keeps, and fails as a disk fails.

The :class:`Disk` outlives the daemons that write to it. What was answered is durable; of what was
not answered when its daemon was killed, the disk has some of the oldest, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import msgspec

from pmigd.adapters.journal import Entry, JournalError
from pmigd.core.leases import Lease
from pmigd.core.model import Migration, MigrationId

T = TypeVar("T")

SYNC_S: Final = 0.002
_ENCODER: Final = msgspec.json.Encoder()
_MIGRATION: Final = msgspec.json.Decoder(Migration)
_LEASE: Final = msgspec.json.Decoder(Lease)


class Disk:
    """What is durable on one host."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.migrations: dict[str, tuple[bool, bytes]] = {}
        self.keys: dict[str, str] = {}
        self.leases: dict[str, bytes] = {}
        self.broken = ""
        """Why nothing can be written: it is full, or read-only; empty: it can."""
        self.hangs = False
        """Nothing comes back from it, for now."""


class _Write:
    def __init__(self, apply: Callable[[], None]) -> None:
        self.apply = apply
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class MemoryJournal:
    """The journal of one life of a daemon, on `disk`; the same as :class:`Journal` to its users."""

    def __init__(self, disk: Disk, name: str = "journal") -> None:
        self.path = Path(f"/{name}")
        self.error: str | None = "not opened yet"
        self._disk = disk
        self._waiting: list[_Write] = []
        self._timer: asyncio.TimerHandle | None = None
        self._dead = False

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self.error is None

    async def open(self) -> None:
        """Open it. Raises JournalError."""
        await self._ask(lambda: None)

    async def probe(self) -> None:
        """Prove that it can be written. Raises JournalError."""
        await self._ask(lambda: None)

    async def write(self, *entries: Entry) -> None:
        """Make `entries` durable, in order. Raises JournalError, and then none of them is."""
        disk = self._disk

        def insert() -> None:
            for entry in entries:
                m = entry.migration
                if m.idempotency_key is not None:
                    other = disk.keys.setdefault(m.idempotency_key, m.id)
                    if other != m.id:
                        raise JournalError("UNIQUE constraint failed: migrations.idempotency_key")
            for entry in entries:
                m = entry.migration
                disk.migrations[m.id] = (m.open, _ENCODER.encode(m))

        await self._ask(insert)

    async def load(self, keep: int) -> list[Migration]:
        """All open migrations and the `keep` newest closed ones, oldest first."""
        await self._read()
        closed = sorted((i for i, (is_open, _) in self._disk.migrations.items() if not is_open))
        dropped = set(closed[:-keep]) if keep else set(closed)
        return [
            _MIGRATION.decode(document)
            for iden, (_, document) in sorted(self._disk.migrations.items())
            if iden not in dropped
        ]

    async def prune(self, keep: int) -> None:
        """Forget all but the `keep` newest closed migrations."""
        disk = self._disk

        def delete() -> None:
            closed = sorted(i for i, (is_open, _) in disk.migrations.items() if not is_open)
            for iden in closed[: len(closed) - keep]:
                del disk.migrations[iden]
                disk.keys = {k: i for k, i in disk.keys.items() if i != iden}

        await self._ask(delete)

    async def entries(self, migration: MigrationId) -> list[tuple[str, str, str]]:
        """Nobody reads the steps here."""
        del migration
        return []

    async def keep_lease(self, lease: Lease) -> None:
        """Make a granted lease durable. Raises JournalError."""

        def insert() -> None:
            self._disk.leases[lease.id] = _ENCODER.encode(lease)

        await self._ask(insert)

    async def forget_leases(self, *ids: str) -> None:
        """Forget leases that are over. Raises JournalError."""

        def delete() -> None:
            for iden in ids:
                self._disk.leases.pop(iden, None)

        await self._ask(delete)

    async def leases(self) -> list[Lease]:
        """All granted leases."""
        await self._read()
        return [_LEASE.decode(document) for document in self._disk.leases.values()]

    async def close(self) -> None:
        """Everything written before is durable already."""
        await self._read()

    def kill(self) -> None:
        """Its daemon is gone: of what waits, the disk gets some of the oldest or nothing."""
        self._dead = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._disk.broken:
            survive = self._disk.random.randint(0, len(self._waiting))
            for write in self._waiting[:survive]:
                self._apply(write)
        self._waiting.clear()

    async def _ask(self, apply: Callable[[], None]) -> None:
        if self._dead:
            raise asyncio.CancelledError
        write = _Write(apply)
        self._waiting.append(write)
        self._schedule()
        await asyncio.shield(write.done)

    async def _read(self) -> None:
        while self._disk.hangs or self._waiting:
            await asyncio.sleep(0.1)

    def _schedule(self) -> None:
        if self._timer is None:
            delay = SYNC_S * self._disk.random.uniform(0.5, 3)
            self._timer = asyncio.get_running_loop().call_later(delay, self._commit)

    def _commit(self) -> None:
        self._timer = None
        if self._disk.hangs:
            self._timer = asyncio.get_running_loop().call_later(0.5, self._commit)
            return
        batch, self._waiting = self._waiting, []
        for write in batch:
            self._settle(write)
        if self._waiting:
            self._schedule()

    def _settle(self, write: _Write) -> None:
        try:
            if self._disk.broken:
                raise JournalError(self._disk.broken)
            self._apply(write)
        except JournalError as error:
            self.error = str(error)
            if not write.done.done():
                write.done.set_exception(error)
                write.done.exception()
        else:
            self.error = None
            if not write.done.done():
                write.done.set_result(None)

    def _apply(self, write: _Write) -> None:
        write.apply()


__all__: Sequence[str] = ["Disk", "MemoryJournal"]
