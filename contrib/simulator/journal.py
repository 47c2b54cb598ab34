"""The real journal on a simulated disk, which fails as disks do.

What a :class:`Disk` has outlives the daemons that write to it. What was answered is durable; of
what was not answered when its daemon was killed, the disk has some of the oldest, or none.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from pmigd.adapters.journal import Journal
from pmigd.adapters.journal.documents import (
    Row,
    Unreadable,
    encoded,
    lease_of,
    read_row,
)
from pmigd.adapters.journal.journal import Job, batches
from pmigd.adapters.journal.store import EVENTS_MAX, Contents, Store
from pmigd.adapters.journal.upgrades import VERSION
from pmigd.core.chronicle import Logged
from pmigd.core.leases import Lease
from pmigd.core.model import Migration

SYNC_S: Final = 0.002


class Disk:
    """What is durable on one host."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.migrations: dict[str, Row] = {}
        self.logs: dict[str, list[Logged]] = {}
        self.leases: dict[str, bytes] = {}
        self.error: int | None = None
        """What the system says to everybody who writes (ENOSPC, EROFS); None: it writes."""
        self.slow = 1.0
        """A factor on what a write takes."""
        self.hangs = False
        """Nothing comes back from it, for now."""


class MemoryStore(Store):
    """What the journal has in its file, without a file: the same methods on a :class:`Disk`."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(Path("/journal"))
        self.disk = disk
        self._undo: list[Callable[[], None]] = []
        self._part = 0

    def contents(self) -> Contents:
        """Everything."""
        disk = self.disk
        found = [read_row(row, None, None) for _, row in sorted(disk.migrations.items())]
        leases = [lease_of(document, VERSION) for _, document in sorted(disk.leases.items())]
        wrong: dict[str, str] = {m.id: str(why) for m, why in found if why is not None}
        return Contents([m for m, _ in found], leases, wrong)

    def events(self, migration: str) -> list[Logged | Unreadable]:
        """What happened to a migration, oldest first."""
        return list(self.disk.logs.get(migration, ()))

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """All of it, or nothing."""
        self._undo = []
        try:
            yield self
            if self.disk.error is not None:
                raise OSError(self.disk.error, os.strerror(self.disk.error))
        except BaseException:
            self._back(0)
            raise

    def execute(self, statement: str) -> None:
        """The three words that the journal says to SQLite about parts of a transaction."""
        if statement.startswith("SAVEPOINT"):
            self._part = len(self._undo)
        elif statement.startswith("ROLLBACK"):
            self._back(self._part)

    def write(self, migration: Migration, log: Iterable[Logged]) -> None:
        """Put down what a migration is now, and what happened to it."""
        m, domain = migration, migration.domain
        row = Row(m.id, m.idempotency_key, domain.name, domain.uuid, VERSION, encoded(m))
        self._put(self.disk.migrations, m.id, row)
        if log := tuple(log):
            told = [*self.disk.logs.get(m.id, ()), *log]
            self._put(self.disk.logs, m.id, told[-EVENTS_MAX:])

    def forget(self, migrations: Iterable[str]) -> None:
        """Drop migrations and their logs."""
        for iden in migrations:
            self._drop(self.disk.migrations, iden)
            self._drop(self.disk.logs, iden)

    def keep_leases(self, leases: Iterable[Lease]) -> None:
        """Put down leases that were granted."""
        for lease in leases:
            self._put(self.disk.leases, lease.id, encoded(lease))

    def forget_leases(self, leases: Iterable[str]) -> None:
        """Drop leases that are over."""
        for iden in leases:
            self._drop(self.disk.leases, iden)

    def prove(self) -> None:
        """What is written is what was there before."""

    def close(self) -> None:
        """There is no file."""

    def _put(self, table: dict[str, Any], key: str, value: object) -> None:
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: cast(None, table.pop(key, None)))
        table[key] = value

    def _drop(self, table: dict[str, Any], key: str) -> None:
        if key in table:
            before = table.pop(key)
            self._undo.append(lambda: table.__setitem__(key, before))

    def _back(self, to: int) -> None:
        while len(self._undo) > to:
            self._undo.pop()()


class DiskWorker:
    """Serves the jobs of one life of a daemon, each when the disk has had its time for it."""

    def __init__(self, disk: Disk, serve: Callable[[Sequence[Job]], None]) -> None:
        self._disk = disk
        self._serve = serve
        self._waiting: list[Job] = []
        self._timer: asyncio.TimerHandle | None = None

    def put(self, job: Job | None) -> None:
        """One more to do; None is the last."""
        if job is not None:
            self._waiting.append(job)
            if self._timer is None:
                delay_s = SYNC_S * self._disk.slow * self._disk.random.uniform(0.5, 3)
                self._timer = asyncio.get_running_loop().call_later(delay_s, self._go_on)

    def kill(self) -> None:
        """Its daemon is gone: of what waits, the disk gets some of the oldest or nothing."""
        if self._timer is not None:
            self._timer.cancel()
        survive = self._disk.random.randint(0, len(self._waiting))
        for batch in batches(self._waiting[:survive]):
            self._serve(batch)
        self._waiting.clear()

    def _go_on(self) -> None:
        self._timer = None
        if self._disk.hangs:
            self._timer = asyncio.get_running_loop().call_later(0.5, self._hung)
            return
        jobs, self._waiting = self._waiting, []
        for batch in batches(jobs):
            self._serve(batch)

    def _hung(self) -> None:
        """What had begun as the disk stopped lands although nobody waits for it any more."""
        if not self._disk.hangs:
            for job in self._waiting[:1]:
                job.withdrawn = job.withdrawn and self._disk.random.random() < 0.5
        self._go_on()


class SimulatedJournal(Journal):
    """The real journal of one life of a daemon, on `disk`."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.worker: DiskWorker
        super().__init__(
            Path(f"/{name}/journal"), store=MemoryStore(disk), worker=self._working_on(disk)
        )

    def _working_on(self, disk: Disk) -> Callable[[Callable[[Sequence[Job]], None]], DiskWorker]:
        def work(serve: Callable[[Sequence[Job]], None]) -> DiskWorker:
            self.worker = DiskWorker(disk, serve)
            return self.worker

        return work

    def kill(self) -> None:
        """Its daemon is gone."""
        self.worker.kill()


FULL: Final = errno.ENOSPC
READ_ONLY: Final = errno.EROFS
