"""The journal's file: opened, checked, brought up to date, read and written. All on one thread.

SQLite keeps the newest commits in a second file, the WAL, until they are moved over. Three rules
come of that, and each has lost somebody's data elsewhere:

* A journal is never read without its WAL. Where SQLite cannot open it, because the directory cannot
  be written, both files are copied to a place that can be, and read there.
* A file that is not behind its path any more (something was mounted over it, or it was replaced) is
  not written any more, and never closed: closing removes the WAL by its name, which is the
  newcomer's by now.
* What another program holds locked is waited for once and not long.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pmigd.adapters.journal import documents
from pmigd.adapters.journal.documents import StoredRow, Unreadable
from pmigd.adapters.journal.upgrades import VERSION
from pmigd.core.chronicle import Logged
from pmigd.core.leases import Lease
from pmigd.core.model import Migration

BUSY_TIMEOUT_S: Final = 1.0
EVENTS_MAX: Final = 2000
"""Events kept of one migration; the oldest go first."""
ROOM_BYTES: Final = 1 << 20
"""What must be free before a file that could not be written counts as writable: about the largest
request. With less, one write would fit and the next one not, over and over."""
COPY_TRIES: Final = 3
WAL: Final = "-wal"
_PARTS: Final = ("", WAL, "-journal")
_PRIVATE_PLACES: Final = ("/run/pmigd", "/dev/shm", None)  # noqa: S108 - made by mkdtemp
"""For a copy that is only read: in memory if possible, else where temporary files are."""

_STEPS: Final[Mapping[int, str]] = {
    0: """
CREATE TABLE IF NOT EXISTS migrations (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    idempotency_key TEXT UNIQUE,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
    id TEXT PRIMARY KEY,
    document BLOB NOT NULL
) WITHOUT ROWID
""",
    # Keys may repeat: what is forgotten here and in memory is not forgotten at the same instant.
    1: """
ALTER TABLE migrations RENAME TO before;
CREATE TABLE migrations (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    idempotency_key TEXT,
    domain_name TEXT,
    domain_uuid TEXT,
    v INTEGER NOT NULL,
    document BLOB NOT NULL,
    stand_in_v INTEGER,
    stand_in BLOB
) WITHOUT ROWID;
INSERT INTO migrations (id, state, open, idempotency_key, v, document)
    SELECT id, state, open, idempotency_key, 1, document FROM before;
DROP TABLE before;
DROP TABLE IF EXISTS entries;
CREATE TABLE events (
    id TEXT NOT NULL,
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    mono REAL NOT NULL,
    v INTEGER NOT NULL,
    event TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;
ALTER TABLE leases ADD COLUMN v INTEGER NOT NULL DEFAULT 1
""",
}
"""What makes the next version of a file of each version; a new file begins at 0."""

# A hand may have changed a row: SQLite lets any column hold anything.
_READ: Final = """
SELECT CAST(id AS TEXT), CAST(idempotency_key AS TEXT), CAST(domain_name AS TEXT),
    CAST(domain_uuid AS TEXT), CAST(v AS INTEGER), CAST(document AS BLOB),
    CAST(stand_in_v AS INTEGER), CAST(stand_in AS BLOB)
FROM migrations ORDER BY id
"""
_READ_LEASES: Final = """
SELECT CAST(id AS TEXT), CAST(v AS INTEGER), CAST(document AS BLOB) FROM leases ORDER BY id
"""
_WRITE: Final = """
INSERT INTO migrations (id, state, open, idempotency_key, domain_name, domain_uuid, v, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, open = excluded.open,
    domain_name = excluded.domain_name, domain_uuid = excluded.domain_uuid,
    v = excluded.v, document = excluded.document
"""
_STAND_IN: Final = """
UPDATE migrations SET state = ?, open = ?, stand_in_v = ?, stand_in = ? WHERE id = ?
"""
_LOG: Final = """
INSERT INTO events (id, number, at, mono, v, event, document)
SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ?, ? FROM events WHERE id = ?
"""
_SHORTEN: Final = """
DELETE FROM events WHERE id = ? AND number <= (SELECT MAX(number) FROM events WHERE id = ?) - ?
"""

Identity = tuple[int, int]
_LEFT: Final[list[sqlite3.Connection]] = []
"""Open files that are behind no path any more, kept so that nothing ever closes them."""


class Unusable(Exception):  # noqa: N818 - what it says of the file
    """The file is not one that this pmigd may go by; the text says why and what to do."""


class NotRead(Unusable):
    """The file behind the path is not the one that was read last."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in a journal, oldest first. `unreadable`: what is wrong with which rows.

    The migrations and leases of those rows are among the others, as far as they were salvaged.
    """

    migrations: list[Migration]
    leases: list[Lease]
    unreadable: Mapping[str, str]


class Store:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._opened: Identity | None = None
        self._opened_wal: Identity | None = None
        self._read: Identity | None = None
        self._stood_in_for: set[str] = set()

    # Reading

    def contents(self) -> Contents:
        """Everything, also where nothing can be written.

        Raises Unusable, sqlite3.Error or OSError; then nothing of it may be believed.
        """
        try:
            db = self.connected()
        except (sqlite3.Error, OSError) as why:
            if _is_locked(why):
                raise
            with self._copy(why) as (db, identity):
                found = self._contents(db)
            self._read = identity
        else:
            found = self._contents(db)
            self._read = self._opened
        return found

    def events(self, migration: str) -> list[Logged | Unreadable]:
        """What happened to a migration, oldest first."""
        rows = self.connected().execute(
            "SELECT at, mono, v, event, document FROM events WHERE id = ? ORDER BY number",
            (migration,),
        )
        return [documents.logged_of(*row) for row in rows]

    def _contents(self, db: sqlite3.Connection) -> Contents:
        migrations: list[Migration] = []
        leases: list[Lease] = []
        unreadable: dict[str, str] = {}
        stood_in_for: set[str] = set()
        rows = db.execute(_READ)
        for *row, stand_in_v, stand_in in rows:
            kept = StoredRow(*row)
            migration, why = documents.read_row(kept, stand_in_v, stand_in)
            migrations.append(migration)
            if why is not None:
                stood_in_for.add(kept.id)
                unreadable |= {kept.id: str(why)} if migration.open else {}
        for iden, version, document in db.execute(_READ_LEASES):
            try:
                leases.append(documents.lease_of(document, version))
            except Unreadable as error:
                leases.append(documents.salvage_lease(iden, document))
                unreadable[iden] = str(error)
        self._stood_in_for = stood_in_for
        return Contents(migrations, leases, unreadable)

    # Writing, all but the first within a transaction

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Durable at its end, in the file that was read: what is in another comes first."""
        db = self.connected()
        if self._read != self._opened:
            raise NotRead("it has not been read yet")
        with db:
            db.execute("BEGIN IMMEDIATE")
            yield db
        if _identity(self.path) != self._opened:
            raise NotRead("another file took its place while it was written")

    def write(self, migration: Migration, log: Sequence[Logged]) -> None:
        """Put down what a migration is now, and what happened to it."""
        db = self._now_open
        m, document = migration, documents.encoded(migration)
        if m.id in self._stood_in_for:
            db.execute(_STAND_IN, (m.state, int(m.open), VERSION, document, m.id))
        else:
            domain = m.domain
            row = (m.id, m.state, int(m.open), m.idempotency_key, domain.name, domain.uuid)
            db.execute(_WRITE, (*row, VERSION, document))
        for one in log:
            name, event = type(one.event).__name__, documents.encoded(one.event)
            at = one.now.utc.isoformat()
            db.execute(_LOG, (m.id, at, one.now.mono, VERSION, name, event, m.id))
        if log:
            db.execute(_SHORTEN, (m.id, m.id, EVENTS_MAX))

    def forget(self, migrations: Iterable[str]) -> None:
        """Drop migrations and their logs."""
        db = self._now_open
        for iden in migrations:
            db.execute("DELETE FROM migrations WHERE id = ?", (iden,))
            db.execute("DELETE FROM events WHERE id = ?", (iden,))

    def keep_leases(self, leases: Iterable[Lease]) -> None:
        """Put down leases that were granted."""
        self._now_open.executemany(
            "INSERT OR REPLACE INTO leases (id, v, document) VALUES (?, ?, ?)",
            ((lease.id, VERSION, documents.encoded(lease)) for lease in leases),
        )

    def forget_leases(self, leases: Iterable[str]) -> None:
        """Drop leases that are over."""
        db = self._now_open
        db.executemany("DELETE FROM leases WHERE id = ?", ((iden,) for iden in leases))

    def prove(self) -> None:
        """Write something, what was written before, where there is room for more than that."""
        found = os.statvfs(self.path.parent)
        if found.f_bavail * found.f_frsize < ROOM_BYTES:
            raise OSError(errno.ENOSPC, f"less than {ROOM_BYTES >> 20} MiB is free")
        self._now_open.execute(f"PRAGMA user_version = {VERSION}")

    @property
    def _now_open(self) -> sqlite3.Connection:
        if self._db is None:
            raise NotRead("it is not open")
        return self._db

    # The file

    def connected(self) -> sqlite3.Connection:
        """The file behind the path, open and brought up to date; made if it is missing."""
        if self._db is not None:
            if _identity(self.path) == self._opened:
                return self._db
            self._leave(self._db)
        before = self._made()
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _bring_up_to_date(db)
            if _identity(self.path) != before:
                raise NotRead("another file took its place while it was opened")
        except BaseException:
            db.close()
            raise
        self._db, self._opened = db, before
        self._opened_wal = _identity(self._beside(WAL))
        return db

    def close(self) -> None:
        """Close it, so that a fresh connection sees what has become of it."""
        with contextlib.suppress(sqlite3.Error, OSError, NotRead):
            if self._db is not None and _identity(self.path) != self._opened:
                self._leave(self._db)
            elif self._db is not None:
                db, self._db = self._db, None
                db.close()

    def _leave(self, db: sqlite3.Connection) -> None:
        """Another file is behind the path, or none: write the open one no more."""
        if self._opened_wal is not None and _identity(self._beside(WAL)) == self._opened_wal:
            # Only the file itself was replaced: its WAL must not be taken for the newcomer's.
            if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] != 0:
                raise NotRead("another program still reads the one that was here before")
            for part in (WAL, "-shm"):
                self._beside(part).unlink(missing_ok=True)
        _LEFT.append(db)
        self._db = None

    def _made(self) -> Identity:
        """See that the file is there, and its name durable; returns which file it is."""
        found = _identity(self.path)
        if found is not None:
            return found
        wal = self._beside(WAL)
        newest = _stat(wal)
        if newest is not None and newest[2] > 0:
            raise Unusable(f"it is missing, and its newest part is there without it: {wal}")
        folder = self.path.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            _sync(folder.parent)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _sync(folder)
        found = _identity(self.path)
        if found is None:
            raise NotRead("it was removed while it was made")
        return found

    @contextmanager
    def _copy(self, why: Exception) -> Iterator[tuple[sqlite3.Connection, Identity]]:
        """A copy to read, of a file that cannot be opened where it is because of `why`."""
        with _private_folder() as folder:
            for _ in range(COPY_TRIES):
                before = self._state()
                if before[0] is None:
                    raise why
                for part, state in zip(_PARTS, before, strict=True):
                    copy = folder / f"journal{part}"
                    copy.unlink(missing_ok=True)
                    if state is not None:
                        shutil.copyfile(self._beside(part), copy)
                if self._state() == before:
                    break
            else:
                raise Unusable("somebody else writes to it")
            db = sqlite3.connect(folder / "journal", isolation_level=None)
            try:
                _bring_up_to_date(db)
                yield db, (before[0][0], before[0][1])
            finally:
                db.close()

    def _state(self) -> list[tuple[int, int, int, int] | None]:
        """Which files there are, and whether they stay as they are."""
        return [_stat(self._beside(part)) for part in _PARTS]

    def _beside(self, part: str) -> Path:
        return self.path.with_name(self.path.name + part)


def _stat(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _identity(path: Path) -> Identity | None:
    """Which file is behind a path now; None where there is none."""
    found = _stat(path)
    return None if found is None else found[:2]


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that nobody else can look into, on whatever can be written."""
    error: OSError = OSError("no place for it")
    for place in _PRIVATE_PLACES:
        try:
            folder = tempfile.mkdtemp(prefix="pmigd-journal-", dir=place)
        except OSError as refused:
            error = refused
            continue
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise error


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    """Make an open file one of this version. Writes only where it is not."""
    db.text_factory = _text
    version = _version(db)
    if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if version == VERSION:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        for number in range(_version(db), VERSION):
            for statement in _STEPS[number].split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Unusable(
            f"a newer pmigd wrote it (format {version}, this one knows {VERSION}). Start that pmigd"
            " again; or, when its 'pmigctl list' shows nothing open, stop it, move this file away"
            f" together with those named like it ({WAL}, -shm), and start this one"
        )
    return version


def _is_locked(error: Exception) -> bool:
    """Whether another program holds the file; it will not for ever."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
