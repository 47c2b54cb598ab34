"""Migrations and leases in an SQLite file, durable before :meth:`Journal.write` returns.

One thread of its own does all reading and writing, so the event loop never waits for a disk, and
whatever is asked for while it commits goes into one transaction with the next commit. The journal
decides nothing; it must never be the reason that a running migration is no longer watched: when it
cannot be written it says so (:class:`JournalError`) and is tried again with the next write.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from pmigd.core.leases import Lease
from pmigd.core.model import Migration, MigrationId

T = TypeVar("T")
log = structlog.get_logger()

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    idempotency_key TEXT UNIQUE,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS migrations_open ON migrations (open) WHERE open;
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    at TEXT NOT NULL,
    state TEXT NOT NULL,
    effects TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_migration ON entries (id);
CREATE TABLE IF NOT EXISTS leases (
    id TEXT PRIMARY KEY,
    document BLOB NOT NULL
) WITHOUT ROWID;
"""
_UPSERT: Final = """
INSERT INTO migrations (id, state, open, idempotency_key, document) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, open = excluded.open,
    document = excluded.document
"""
BUSY_TIMEOUT_S: Final = 5.0


class JournalError(Exception):
    """The journal could not be written or read; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step: the migration as it is now, and the names of the effects that may follow it."""

    migration: Migration
    at: str
    effects: tuple[str, ...] = ()


class Journal:
    """The journal file of one daemon. All methods are safe on the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: str | None = "not opened yet"
        self._said_broken = False
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Migration)
        self._lease_decoder = msgspec.json.Decoder(Lease)
        self._db: sqlite3.Connection | None = None
        self._work: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pmigd-journal", daemon=True)
        self._thread.start()

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self.error is None

    async def open(self) -> None:
        """Open or create the file. Raises JournalError; :meth:`probe` and writes try again."""
        await self._ask(lambda: None, write=True)

    async def probe(self) -> None:
        """Prove that the file can be written. Raises JournalError."""
        await self._ask(lambda: self._connected().execute("PRAGMA user_version = 1"), write=True)

    async def write(self, *entries: Entry) -> None:
        """Make `entries` durable, in order. Raises JournalError, and then none of them is."""

        def insert() -> None:
            db = self._connected()
            for entry in entries:
                m = entry.migration
                document = self._encoder.encode(m)
                db.execute(_UPSERT, (m.id, m.state, int(m.open), m.idempotency_key, document))
                db.execute(
                    "INSERT INTO entries (id, at, state, effects) VALUES (?, ?, ?, ?)",
                    (m.id, entry.at, m.state, " ".join(entry.effects)),
                )

        await self._ask(insert, write=True)

    async def load(self, keep: int) -> list[Migration]:
        """All open migrations and the `keep` newest closed ones, oldest first.

        Reads even when the file cannot be written. Raises JournalError when it cannot be read
        either; a missing file that cannot be created is an empty journal.
        """

        def read() -> list[Migration]:
            db = self._readable()
            if db is None:
                return []
            rows = db.execute(
                "SELECT document FROM migrations WHERE open "
                "UNION ALL SELECT * FROM (SELECT document FROM migrations WHERE NOT open "
                "ORDER BY id DESC LIMIT ?)",
                (keep,),
            ).fetchall()
            found = [self._decoder.decode(row[0]) for row in rows]
            return sorted(found, key=lambda m: m.id)

        return await self._ask(read, write=False)

    async def prune(self, keep: int) -> None:
        """Forget all but the `keep` newest closed migrations."""

        def delete() -> None:
            db = self._connected()
            db.execute(
                "DELETE FROM migrations WHERE NOT open AND id NOT IN "
                "(SELECT id FROM migrations WHERE NOT open ORDER BY id DESC LIMIT ?)",
                (keep,),
            )
            db.execute("DELETE FROM entries WHERE id NOT IN (SELECT id FROM migrations)")

        await self._ask(delete, write=True)

    async def entries(self, migration: MigrationId) -> list[tuple[str, str, str]]:
        """The steps of one migration as (at, state, effects), oldest first."""

        def read() -> list[tuple[str, str, str]]:
            return (
                self._connected()
                .execute(
                    "SELECT at, state, effects FROM entries WHERE id = ? ORDER BY number",
                    (migration,),
                )
                .fetchall()
            )

        return await self._ask(read, write=False)

    async def keep_lease(self, lease: Lease) -> None:
        """Make a granted lease durable. Raises JournalError."""
        document = self._encoder.encode(lease)

        def insert() -> None:
            self._connected().execute(
                "INSERT OR REPLACE INTO leases (id, document) VALUES (?, ?)", (lease.id, document)
            )

        await self._ask(insert, write=True)

    async def forget_leases(self, *ids: str) -> None:
        """Forget leases that are over. Raises JournalError; they would expire after a restart."""

        def delete() -> None:
            db = self._connected()
            db.executemany("DELETE FROM leases WHERE id = ?", [(iden,) for iden in ids])

        await self._ask(delete, write=True)

    async def leases(self) -> list[Lease]:
        """All granted leases. Raises JournalError."""

        def read() -> list[Lease]:
            db = self._readable()
            if db is None:
                return []
            rows = db.execute("SELECT document FROM leases").fetchall()
            return [self._lease_decoder.decode(row[0]) for row in rows]

        return await self._ask(read, write=False)

    async def close(self) -> None:
        """Close the file and end the thread. Everything written before is durable already."""
        with contextlib.suppress(JournalError):
            await self._ask(self._close, write=False)
        self._work.put(None)

    # Below: on the journal's own thread, except _ask and what it calls on the loop.

    async def _ask(self, function: Callable[[], T], *, write: bool) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(value: object, error: Exception | None) -> None:
            if write:
                self._say(error)
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]  # the job's own result

        def answer(value: object, error: Exception | None) -> None:
            # The loop may be closed when the daemon left without waiting for the disk.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, value, error)

        self._work.put(_Job(function, answer, write))
        return await future

    def _say(self, error: Exception | None) -> None:
        """Log that the file cannot be written, or can again: once each time it changes."""
        broken = error is not None
        if broken is self._said_broken:
            return
        self._said_broken = broken
        if broken:
            log.error("journal cannot be written", detail=str(error))
        else:
            log.info("journal can be written again")

    def _run(self) -> None:
        while (first := self._work.get()) is not None:
            batch = [first]
            if first.write:
                stop = self._take_more(batch)
                self._commit(batch)
            else:
                stop = False
                self._single(first)
            if stop:
                return

    def _take_more(self, batch: list[_Job]) -> bool:
        """Add the writes that wait already; anything else ends the batch and runs after it."""
        while True:
            try:
                job = self._work.get_nowait()
            except queue.Empty:
                return False
            if job is None:
                return True
            if not job.write:
                self._commit(batch)
                batch.clear()
                self._single(job)
                return False
            batch.append(job)

    def _single(self, job: _Job) -> None:
        try:
            job.answer(job.function(), None)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every job
            job.answer(None, self._broken(error))

    def _commit(self, batch: Sequence[_Job]) -> None:
        if not batch:
            return
        try:
            db = self._connected()
            with db:
                db.execute("BEGIN IMMEDIATE")
                values = [job.function() for job in batch]
        except Exception as error:  # noqa: BLE001 - the thread must outlive every job
            if len(batch) > 1:
                # One bad write must not take the others with it.
                for job in batch:
                    self._commit([job])
                return
            batch[0].answer(None, self._broken(error))
            return
        self.error = None
        for job, value in zip(batch, values, strict=True):
            job.answer(value, None)

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                _check_version(db)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _readable(self) -> sqlite3.Connection | None:
        """The journal, even in a directory that cannot be written; None where there is none."""
        try:
            return self._connected()
        except (sqlite3.Error, OSError):
            if not self.path.is_file():
                return None
        # immutable: SQLite would otherwise want to create its shared-memory file beside it.
        db = sqlite3.connect(f"{self.path.as_uri()}?mode=ro&immutable=1", uri=True)
        _check_version(db)
        return db

    def _broken(self, error: Exception) -> JournalError:
        self.error = f"{self.path}: {error}"
        if self._db is not None and not isinstance(error, sqlite3.IntegrityError):
            # A fresh connection sees a directory that was made writable again, or replaced.
            self._close()
        return JournalError(self.error)

    def _close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            with contextlib.suppress(sqlite3.Error):
                db.close()


def _check_version(db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it was written by a newer pmigd (schema {version})")


class _Job:
    """Something for the journal's thread to do, and whom to tell."""

    __slots__ = ("answer", "function", "write")

    def __init__(
        self,
        function: Callable[[], object],
        answer: Callable[[object, Exception | None], None],
        write: bool,
    ) -> None:
        self.function = function
        self.answer = answer
        self.write = write
