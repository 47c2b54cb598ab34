"""Migrations and leases in an SQLite file, durable before :meth:`Journal.write` returns.

One thread of its own does all reading and writing, so the event loop never waits for a disk, and
whatever is asked for while it commits goes into one transaction with the next commit. The journal
decides nothing; it must never be the reason that a running migration is no longer watched: what
cannot be written in time is an error for whoever waits for it, is said (:attr:`Journal.error`), and
from then on nobody waits until the disk has answered.

A write that was given up may still land, if it had begun; one that had not begun never does. So
whoever gives one up must write again what is true instead, or :meth:`Journal.forget` it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import structlog

from pmigd.adapters.journal.documents import Unreadable
from pmigd.adapters.journal.store import Contents, NotRead, Store
from pmigd.core.chronicle import Logged
from pmigd.core.leases import Lease
from pmigd.core.model import Migration, MigrationId

T = TypeVar("T")
log = structlog.get_logger()

WRITE_DEADLINE_S: Final = 5.0


class JournalError(Exception):
    """The journal could not be written or read; the text says which file and why.

    `may_land`: it was given up while it may have been under way already, so it may be in the file
    yet, and is found there if this process ends before the disk answers.
    """

    may_land = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A migration as it is now, and what has happened to it since it was last written down."""

    migration: Migration
    log: tuple[Logged, ...] = ()


class Worker(Protocol):
    """Where the file is read and written, in the order in which it is asked for."""

    def put(self, job: Job | None) -> None:
        """One more to do; None is the last."""


class Journal:
    """The journal file of one daemon. All methods are safe on the event loop.

    `store` is the file, `worker` makes what serves batches of jobs beside the loop: a thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        store: Store | None = None,
        worker: Callable[[Callable[[Sequence[Job]], None]], Worker] | None = None,
    ) -> None:
        self.path = path
        self.error: str | None = f"{path}: it has not been read yet"
        self.unread = True
        """Whether the file behind the path has still to be read: :meth:`load`."""
        self._said_broken = False
        self._store = store or Store(path)
        self._owed: set[MigrationId] = set()
        self._owed_leases: set[str] = set()
        self._overdue: set[Job] = set()
        self._work = (worker or _Thread)(self._serve)

    @property
    def writable(self) -> bool:
        """Whether everything was read, and nothing failed since it was proven that it can be."""
        return self.error is None

    async def load(self) -> Contents:
        """Everything in the file, also where it cannot be written; makes it if it is missing.

        It waits for as long as the disk takes. Raises JournalError when the file cannot be read as
        a whole; then nothing is known of what is in it.
        """
        self.unread = True
        try:
            found = await self._ask(self._store.contents)
        except JournalError as error:
            self._say(error)
            raise
        self.unread = False
        for iden, why in found.unreadable.items():
            log.error("journal row cannot be read", row=iden, detail=why)
        return found

    async def probe(self) -> None:
        """See that the file can be written, and drop what is still to be dropped.

        Only this ends that it counts as broken: on a full disk now and then a small write fits.
        Raises JournalError.
        """
        if not self.writable:
            await self._write(self._store.prove)
            self._say(None)
        await self._drop()

    async def write(self, *entries: Entry) -> None:
        """Make `entries` durable, in order. Raises JournalError, and then none of them is."""
        self._owed.difference_update(entry.migration.id for entry in entries)

        def insert() -> None:
            for entry in entries:
                self._store.write(entry.migration, entry.log)

        await self._write(insert)

    async def forget(self, *ids: MigrationId) -> None:
        """Drop migrations. Raises JournalError; they are then dropped with the next probe."""
        self._owed.update(ids)
        await self._drop()

    async def keep_leases(self, leases: Iterable[Lease]) -> None:
        """Make granted leases durable, all or none. Raises JournalError."""
        kept = list(leases)
        self._owed_leases.difference_update(lease.id for lease in kept)
        await self._write(lambda: self._store.keep_leases(kept))

    async def forget_leases(self, *ids: str) -> None:
        """Forget leases that are over. Raises JournalError; then the next probe does it."""
        self._owed_leases.update(ids)
        await self._drop()

    async def events(self, migration: MigrationId) -> list[Logged | Unreadable]:
        """What happened to a migration, oldest first. Raises JournalError."""
        return await self._ask(lambda: self._store.events(migration), WRITE_DEADLINE_S)

    async def close(self) -> None:
        """Close the file and end the thread. Everything written before is durable already."""
        with contextlib.suppress(JournalError):
            await self._ask(self._store.close)
        self._work.put(None)

    async def _drop(self) -> None:
        """Pay what is owed: drop what should not be in the file any more."""
        migrations, leases = tuple(self._owed), tuple(self._owed_leases)

        def delete() -> None:
            self._store.forget(migrations)
            self._store.forget_leases(leases)

        await self._write(delete)
        self._owed.difference_update(migrations)
        self._owed_leases.difference_update(leases)

    async def _write(self, function: Callable[[], None]) -> None:
        try:
            await self._ask(function, WRITE_DEADLINE_S, write=True)
        except JournalError as error:
            if isinstance(error.__cause__, NotRead):
                self.unread = True
            if not isinstance(error.__cause__, _OF_ONE):
                self._say(error)
            raise

    async def _ask(
        self, function: Callable[[], T], deadline_s: float | None = None, *, write: bool = False
    ) -> T:
        """Have the thread do something. Raises JournalError, after `deadline_s` at the latest."""
        if self._overdue and deadline_s is not None:
            raise JournalError(f"{self.path}: {_SILENT}")
        job = Job(function, asyncio.get_running_loop(), write=write)
        self._work.put(job)
        try:
            async with asyncio.timeout(deadline_s):
                return await job.done  # type: ignore[no-any-return]  # the function's own result
        except TimeoutError:
            # Not begun, it will never be. Begun, it may land: see the top of this module.
            job.withdrawn = True
            self._overdue.add(job)
            job.ended.add_done_callback(lambda _: self._overdue.discard(job))
            overdue = JournalError(f"{self.path}: {_SILENT}")
            overdue.may_land = True
            raise overdue from None
        except Exception as error:
            raise JournalError(f"{self.path}: {error}") from error

    def _say(self, error: Exception | None) -> None:
        """Log that the file cannot be written, or can again: once each time it changes."""
        self.error = None if error is None else str(error)
        broken = error is not None
        if broken is self._said_broken:
            return
        self._said_broken = broken
        if broken:
            log.error("journal cannot be written", detail=str(error))
        else:
            log.info("journal can be written again")

    # Below: on the journal's own thread.

    def _serve(self, batch: Sequence[Job]) -> None:
        """Writes that wait together, or one that reads."""
        if batch[0].write:
            self._commit(batch)
        else:
            batch[0].run()

    def _commit(self, batch: Sequence[Job]) -> None:
        """Everything that waits, in one transaction and one attempt."""
        wanted = [job for job in batch if not job.withdrawn]
        failed: dict[Job, Exception] = {}
        error: Exception | None = None
        try:
            if wanted:
                with self._store.transaction() as db:
                    for job in wanted:
                        if (wrong := _tried(db, job.function)) is not None:
                            failed[job] = wrong
        except Exception as reason:  # noqa: BLE001 - the thread must outlive every job
            error = reason
            self._store.close()  # a fresh connection sees what was mended
        for job in batch:
            job.settle(None, error or failed.get(job))


_SILENT: Final = f"the disk has not answered for {WRITE_DEADLINE_S:g} s"
_OF_ONE: Final = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)
"""What is wrong with one thing that was to be written, not with the file."""


def _tried(db: sqlite3.Connection, function: Callable[[], object]) -> Exception | None:
    """Do one part of a transaction; a part that is wrong in itself takes no other with it."""
    db.execute("SAVEPOINT part")
    try:
        function()
    except _OF_ONE as error:
        db.execute("ROLLBACK TO part")
        wrong: Exception | None = error
    else:
        wrong = None
    db.execute("RELEASE part")
    return wrong


class _Thread:
    """The worker of a real file: a thread, so that the loop never waits for a disk."""

    def __init__(self, serve: Callable[[Sequence[Job]], None]) -> None:
        self._serve = serve
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="pmigd-journal", daemon=True).start()

    def put(self, job: Job | None) -> None:
        """One more to do; None is the last."""
        self._waiting.put(job)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            jobs: list[Job | None] = [first]
            with contextlib.suppress(queue.Empty):
                while jobs[-1] is not None:
                    jobs.append(self._waiting.get_nowait())
            for batch in batches(job for job in jobs if job is not None):
                self._serve(batch)
            if jobs[-1] is None:
                return


def batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs in their order: writes that follow each other together, each that reads by itself."""
    for writes, group in itertools.groupby(jobs, lambda job: job.write):
        if writes:
            yield list(group)
        else:
            yield from ([job] for job in group)


class Job:
    """Something for the journal's thread to do, and whom to tell."""

    __slots__ = ("_loop", "done", "ended", "function", "withdrawn", "write")

    def __init__(
        self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop, *, write: bool
    ) -> None:
        self.function = function
        self.write = write
        self.withdrawn = False
        self.done: asyncio.Future[Any] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop

    def run(self) -> None:
        """Do it, on the thread."""
        try:
            value = None if self.withdrawn else self.function()
        except Exception as error:  # noqa: BLE001 - the thread must outlive every job
            self.settle(None, error)
        else:
            self.settle(value, None)

    def settle(self, value: object, error: Exception | None) -> None:
        """Tell whoever waits, from the thread."""
        # The loop may be closed when the daemon left without waiting for the disk.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settled, value, error)

    def _settled(self, value: object, error: Exception | None) -> None:
        self.ended.set_result(None)
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(value)
