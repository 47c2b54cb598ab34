"""What a row of the journal means: documents of every version, read as what they are today.

A row is one JSON document and the version of the file in which it was written. Older ones are
brought up step by step (:mod:`pmigd.adapters.journal.upgrades`). What cannot be read is never
dropped: of a migration's row as much is salvaged as keeps its guest from being migrated a second
time (:func:`salvage`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar, get_args

import msgspec

from pmigd.adapters.journal.upgrades import UPGRADES, VERSION, Document, Upgrade
from pmigd.core.chronicle import Logged
from pmigd.core.events import Event
from pmigd.core.holdings import Phase
from pmigd.core.leases import Lease
from pmigd.core.model import Domain, Migration, MigrationId, Now, Request, State
from pmigd.core.printable import printable
from pmigd.core.problem import Code, Problem

T = TypeVar("T")

WHY_MAX: Final = 500
"""Characters of what is said about a row."""


class Unreadable(Exception):  # noqa: N818 - what it says of a row
    """A document that does not mean anything to this release; the text says why."""


_ENCODER: Final = msgspec.json.Encoder()
_EVENTS: Final[Mapping[str, type]] = {kind.__name__: kind for kind in get_args(Event)}


def migration_of(raw: bytes, version: int) -> Migration:
    """The migration that a row holds. Raises Unreadable."""
    return _read(raw, version, Migration, lambda upgrade: upgrade.migration)


def lease_of(raw: bytes, version: int) -> Lease:
    """The lease that a row holds. Raises Unreadable."""
    return _read(raw, version, Lease, lambda upgrade: upgrade.lease)


def logged_of(at: str, mono: float, version: int, name: str, raw: bytes) -> Logged | Unreadable:
    """An event that happened; or what is wrong with its row; the others count all the same."""
    try:
        kind = _EVENTS.get(name)
        if kind is None:
            raise Unreadable(f"this release knows no event '{name}'")
        event: Event = _read(raw, version, kind, lambda upgrade: upgrade.event)
        return Logged(Now(mono, datetime.fromisoformat(at)), event)
    except Unreadable as error:
        return error
    except ValueError as error:
        return Unreadable(str(error))


def encoded(value: Migration | Lease | Event) -> bytes:
    """A document of today's version."""
    return _ENCODER.encode(value)


def _read(
    raw: bytes,
    version: int,
    kind: type[T],
    upgrade_of: Callable[[Upgrade], Callable[[Document], Document]],
) -> T:
    if version > VERSION:
        raise Unreadable(f"a newer pmigd wrote it (format {version}, this one knows {VERSION})")
    try:
        if version < VERSION:
            document = msgspec.json.decode(raw, type=Document)
            for number in range(version, VERSION):
                document = upgrade_of(UPGRADES[number])(document)
            raw = msgspec.json.encode(document)
        return msgspec.json.decode(raw, type=kind)
    except Exception as error:
        # Whatever is wrong with one row, the others must be read.
        raise Unreadable(str(error) or type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class Row:
    """A migration's row, whole. `name` and `uuid` are its domain's; version 1 had neither."""

    id: str
    key: str | None
    name: str | None
    uuid: str | None
    version: int
    document: bytes


def read_row(
    row: Row, stand_in_version: int | None, stand_in: bytes | None
) -> tuple[Migration, Unreadable | None]:
    """The migration of a row, and what is wrong with its document if that cannot be read.

    What was made of such a row once is kept beside it. It counts for as long as the document means
    nothing, and for good once somebody has closed it.
    """
    kept: Migration | None = None
    if stand_in is not None and stand_in_version is not None:
        try:
            kept = migration_of(stand_in, stand_in_version)
        except Unreadable:
            kept = None
    try:
        migration = _of_its_row(row, migration_of(row.document, row.version))
    except Unreadable as why:
        return kept or salvage(row, why), why
    if kept is not None and not kept.open:
        return kept, Unreadable("it was closed while it could not be read")
    return migration, None


def _of_its_row(row: Row, migration: Migration) -> Migration:
    """`migration`, if it is the row's own. Raises Unreadable: else another one would be believed
    twice, and the row's own guest be forgotten."""
    if migration.id != row.id:
        raise Unreadable(f"its document is that of migration {migration.id}")
    if row.uuid is not None and migration.domain.uuid != row.uuid:
        raise Unreadable(f"its document is of the guest {migration.domain.uuid}, not {row.uuid}")
    return migration


def salvage(row: Row, why: Unreadable) -> Migration:
    """What stands in for a migration whose document cannot be read: nobody knows what became of it.

    It has no plan, so nothing is done about it; its guest is known by name and UUID if at all
    possible. A domain without a UUID may be any of that name, one without a name any at all.
    """
    found = _Remains(row.document)
    name = row.name or found.text("domain", "name") or found.text("request", "domain") or ""
    uuid = row.uuid or found.text("domain", "uuid") or ""
    destination = found.text("destination") or found.text("request", "destination") or ""
    detail = f"Its row in the journal is kept as it is. What is wrong with it: {_said(why)}"
    return Migration(
        id=MigrationId(row.id),
        request=found.request() or Request(name, destination),
        domain=Domain(name, uuid.lower()),
        source=found.text("source") or "",
        destination=destination,
        created_at=_made_at(row.id),
        state=State.UNRESOLVED,
        problem=Problem(Code.JOURNAL_ROW_UNREADABLE, detail),
        submitted_by=found.text("submitted_by") or "",
        idempotency_key=row.key,
    )


def salvage_lease(iden: str, raw: bytes) -> Lease:
    """What stands in for a lease that cannot be read: it holds what one that prepares holds.

    Its source's next report puts it right; without one it ends as every lease does.
    """
    found = _Remains(raw)
    domain = Domain(found.text("domain", "name") or "", found.text("domain", "uuid") or "")
    peer = found.text("peer") or ""
    source = found.text("source") or ""
    return Lease(iden, peer, domain, Phase.PREPARING, granted=True, source=source)


def _said(why: Unreadable) -> str:
    """What is wrong, which may quote the row."""
    return printable(str(why), WHY_MAX)


_TEXT: Final = r'"(?:[^"\\]|\\.)*"'


class _Remains:
    """What can still be made out of a document that is damaged, or means something else today."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw.decode(errors="replace")
        try:
            self._document = msgspec.json.decode(raw)
        except Exception:  # noqa: BLE001 - then it is looked for in the text
            self._document = None

    def text(self, *path: str) -> str | None:
        """The text at `path`, or None."""
        if self._document is None:
            return self._in_pieces(*path)
        value = self._document
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None

    def request(self) -> Request | None:
        """What was asked for, if that is whole."""
        try:
            return msgspec.json.decode(msgspec.json.encode(self._document["request"]), type=Request)
        except Exception:  # noqa: BLE001 - it is not
            return None

    def _in_pieces(self, *path: str) -> str | None:
        """The same in JSON that was cut off, or has holes: an object's fields stand in order."""
        opened = [rf'"{name}"\s*:\s*\{{[^{{}}]*?' for name in path[:-1]]
        match = re.search("".join(opened) + rf'"{path[-1]}"\s*:\s*({_TEXT})', self._raw)
        if match is None:
            return None
        try:
            return msgspec.json.decode(match[1].encode(), type=str)
        except msgspec.DecodeError:
            return None


def _made_at(iden: str) -> datetime:
    """When a migration was made: a UUIDv7 begins with it, in milliseconds."""
    try:
        return datetime.fromtimestamp(int(iden.replace("-", "")[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
