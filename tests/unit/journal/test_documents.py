"""What rows of the journal mean: of earlier releases, of later ones, and damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pmigd.adapters.journal import Contents, Entry, Journal, JournalError, documents
from pmigd.adapters.journal.upgrades import UPGRADES, VERSION
from pmigd.core import engine, ledger
from pmigd.core import events as ev
from pmigd.core.chronicle import Logged
from pmigd.core.commands import Kind
from pmigd.core.controls import may_resolve
from pmigd.core.holdings import Phase
from pmigd.core.leases import Lease
from pmigd.core.model import Migration, MigrationId, State
from pmigd.core.problem import Code
from tests.support import build

DATA = Path(__file__).parent / "data"
EARLIER = sorted(DATA.glob("journal-v*.sql"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


async def read(path: Path) -> Contents:
    journal = Journal(path)
    try:
        return await journal.load()
    finally:
        await journal.close()


def restored(path: Path, dump: Path) -> sqlite3.Connection:
    """The journal that an earlier release left."""
    db = sqlite3.connect(path)
    db.executescript(dump.read_text())
    return db


def change(path: Path, *statements: str) -> None:
    """As an operator, or bad luck, would."""
    db = sqlite3.connect(path)
    with db:
        for statement in statements:
            db.execute(statement)
    db.close()


def whole(path: Path) -> bytes:
    return path.read_bytes()


def column(path: Path, query: str) -> Any:
    db = sqlite3.connect(path)
    (value,) = db.execute(query).fetchone()
    db.close()
    return value


@pytest.mark.parametrize("dump", EARLIER, ids=lambda dump: dump.stem)
async def test_a_journal_of_an_earlier_release_is_read_whole_and_written_on(
    path: Path, dump: Path
) -> None:
    db = restored(path, dump)
    before = db.execute("SELECT id, state, open, idempotency_key FROM migrations").fetchall()
    leases = db.execute("SELECT count(*) FROM leases").fetchone()[0]
    db.close()
    journal = Journal(path)
    found = await journal.load()
    assert found.unreadable == {}
    assert {m.state for m in found.migrations} == set(State)
    assert [(m.id, m.state, m.open, m.idempotency_key) for m in found.migrations] == before
    assert len(found.leases) == leases > 0
    await journal.write(*(Entry(m) for m in found.migrations))
    await journal.keep_leases(found.leases)
    await journal.close()
    assert await read(path) == found
    assert column(path, "SELECT min(v) FROM migrations") == VERSION
    assert column(path, "PRAGMA user_version") == VERSION


def test_there_is_a_journal_of_each_earlier_release() -> None:
    assert [dump.stem for dump in EARLIER] == [f"journal-v{n}" for n in UPGRADES]


async def test_what_version_1_said_in_booleans_is_in_the_ledger(path: Path) -> None:
    """What decides what is done with a migration after a restart."""
    db = restored(path, DATA / "journal-v1.sql")
    told = {
        iden: json.loads(raw) for iden, raw in db.execute("SELECT id, document FROM migrations")
    }
    db.close()
    found = {m.domain.name: m for m in (await read(path)).migrations}
    for m in found.values():
        old = told[m.id]
        assert m.call == old["call"]
        assert m.suspended is old["suspended"]
        assert [c.id for c in m.commands] == list(range(1, m.numbered + 1))
        if m.open:
            assert (m.abort is not None) is (old["abort"] is not None)
        else:
            assert all(not c.pending for c in m.commands)
    owed = {name: [c.kind for c in ledger.owed(m)] for name, m in found.items() if ledger.owed(m)}
    assert owed == {
        "aborting": [Kind.ABORT],
        "timed-out-aborting": [Kind.ABORT],
        "postcopy-asked": [Kind.POSTCOPY],
    }
    assert found["aborting"].abort.code is Code.CANCELLED
    assert found["aborting"].abort.by == "oscar"
    assert found["timed-out-aborting"].abort.code is Code.TIMEOUT
    assert [c.kind for c in found["recovering"].commands] == [
        Kind.PERFORM,
        Kind.POSTCOPY,
        Kind.RECOVER,
    ]
    assert found["set"].commands[-1].reason == "bandwidth 7 MiB/s"
    assert found["queued2"].request.timeout_s == 600.5
    assert found["queued2"].request.xml is not None
    assert found["queued2"].submitted_by == "oscar"
    assert found["precopy"].plan is not None
    assert found["precopy"].evidence.destination_uuid == "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    assert found["succeeded"].result.downtime_ms == 41


async def test_after_the_upgrade_nothing_is_called_a_second_time(path: Path) -> None:
    restored(path, DATA / "journal-v1.sql").close()
    for m in (await read(path)).migrations:
        if not m.open or m.state is State.QUEUED:
            continue
        step = engine.step(m, ev.Restarted(), build.at(100))
        called = [kind for kind, _ in build.done(step)]
        assert Kind.PERFORM not in called
        assert Kind.RECOVER not in called
        if m.domain.name == "preparing-not-called":
            assert step.migration.state is State.QUEUED
        else:
            assert step.migration.adopted
            assert build.looks(step)
        if m.domain.name in ("aborting", "timed-out-aborting"):
            assert called == []  # what became of it is asked first
            goes_on = ev.Looked(build.MIGRATING, build.INCOMING)
            step = engine.step(step.migration, goes_on, build.at(101))
            assert build.done(step) == [(Kind.ABORT, None)]


def test_a_record_that_had_grown_without_end_is_shortened_by_its_oldest_notes() -> None:
    action = {"at": "2026-01-02T03:04:05Z", "action": "set", "by": "root", "reason": "priority 1"}
    abort = action | {"action": "abort", "reason": "asked for by root"}
    old = {
        "call": "not_made",
        "state": "cancelled",
        "actions": [action] * 4000 + [abort],
        "abort": {"at": action["at"], "by": "root", "reason": "", "timeout": False},
        "suspended": False,
        "postcopy_asked": False,
        "evidence": {"postcopy": False},
    }
    new = UPGRADES[1].migration(old)
    assert len(new["commands"]) == 64
    assert (new["numbered"], new["dropped"]) == (4001, 3937)
    assert new["commands"][-1]["kind"] == "abort"


def _damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def damage(document: bytes) -> bytes:
        made = json.loads(document)
        change(made)
        return json.dumps(made).encode()

    return damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda document: document[:-40],
    "cut off early": lambda document: document[: document.index(b'"source"')],
    "with a hole": lambda document: document.replace(b'"created_at"', b"\x00\xff"),
    "an unknown state": _damaged(lambda d: d.update(state="levitating")),
    "an unknown problem": _damaged(lambda d: d.update(problem={"code": "bad_karma", "detail": ""})),
    "another type": _damaged(lambda d: d.update(looks="many")),
    "a field less": _damaged(lambda d: d.pop("source")),
    "another shape": _damaged(lambda d: d.update(request=[1, 2])),
    "an absurd number": _damaged(lambda d: d.update(looks=1e400)),
    "a time that is none": _damaged(lambda d: d.update(created_at="yesterday")),
    "another one's": _damaged(lambda d: d.update(id="0192e4a0-0000-7000-8000-000000000001")),
}


async def three(path: Path) -> list[Migration]:
    """A journal of three migrations."""
    made = []
    for number in range(3):
        domain = replace(
            build.migration().domain, uuid=f"0000000{number}-2222-3333-4444-555555555555"
        )
        iden = MigrationId(f"0192e4a0-000{number}-7000-8000-000000000001")
        made.append(
            replace(build.transferring(), id=iden, domain=domain, idempotency_key=f"k{number}")
        )
    journal = Journal(path)
    await journal.load()
    await journal.write(*map(Entry, made))
    await journal.close()
    return made


def damage_second(path: Path, how: Callable[[bytes], bytes]) -> bytes:
    db = sqlite3.connect(path)
    with db:
        ((iden, document),) = db.execute(
            "SELECT id, document FROM migrations ORDER BY id LIMIT 1 OFFSET 1"
        ).fetchall()
        damaged = how(document)
        db.execute("UPDATE migrations SET document = ? WHERE id = ?", (damaged, iden))
    db.close()
    return damaged


@pytest.mark.parametrize("columns", [True, False], ids=["of today", "of the first version"])
@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_row_that_cannot_be_read_is_one_unresolved_migration_and_no_other_is_lost(
    path: Path, damage: str, columns: bool
) -> None:
    written = await three(path)
    raw = damage_second(path, DAMAGE[damage])
    if not columns:  # version 1 had nothing beside the document that says whose it is
        change(path, "UPDATE migrations SET domain_name = NULL, domain_uuid = NULL")
    found = await read(path)
    assert [found.migrations[0], found.migrations[2]] == [written[0], written[2]]
    bad = found.migrations[1]
    assert bad.state is State.UNRESOLVED
    assert bad.problem is not None
    assert bad.problem.code is Code.JOURNAL_ROW_UNREADABLE
    assert (bad.id, bad.domain, bad.idempotency_key) == (written[1].id, written[1].domain, "k1")
    assert may_resolve(bad) is None
    assert list(found.unreadable) == [bad.id]
    assert column(path, f"SELECT document FROM migrations WHERE id = '{bad.id}'") == raw


async def test_a_row_that_a_hand_has_changed_to_something_else_loses_no_other(path: Path) -> None:
    written = await three(path)
    change(path, "UPDATE migrations SET document = 7, v = 'two' WHERE id LIKE '%-0001-%'")
    found = await read(path)
    assert [found.migrations[0], found.migrations[2]] == [written[0], written[2]]
    assert found.migrations[1].domain == written[1].domain


async def test_the_guest_of_a_row_whose_document_is_of_another_guest_is_guarded(path: Path) -> None:
    written = await three(path)
    damage_second(path, _damaged(lambda d: d.update(domain={"name": "db9", "uuid": "elsewhere"})))
    bad = (await read(path)).migrations[1]
    assert (bad.state, bad.domain) == (State.UNRESOLVED, written[1].domain)


async def test_a_newer_document_is_not_guessed_at(path: Path) -> None:
    await three(path)
    change(path, f"UPDATE migrations SET v = {VERSION + 1} WHERE id LIKE '%-0001-%'")
    bad = (await read(path)).migrations[1]
    assert bad.state is State.UNRESOLVED
    assert bad.problem is not None
    assert "newer pmigd" in bad.problem.detail


async def test_of_a_row_without_any_sense_nothing_is_made_up(path: Path) -> None:
    await three(path)
    damage_second(path, lambda _: b"\x00")
    change(path, "UPDATE migrations SET domain_name = NULL, domain_uuid = NULL")
    bad = (await read(path)).migrations[1]
    assert (bad.domain.name, bad.domain.uuid) == ("", "")
    assert bad.state is State.UNRESOLVED


async def test_closed_by_an_operator_it_stays_closed_and_its_text_stays_as_it_is(
    path: Path,
) -> None:
    await three(path)
    raw = damage_second(path, DAMAGE["an unknown state"])
    journal = Journal(path)
    bad = (await journal.load()).migrations[1]
    closed = engine.step(bad, ev.Resolved(State.FAILED, "root"), build.at(9)).migration
    await journal.write(Entry(closed))
    await journal.close()
    again = await read(path)
    assert again.migrations[1] == closed
    assert again.unreadable == {}
    assert column(path, f"SELECT document FROM migrations WHERE id = '{bad.id}'") == raw


async def test_what_can_be_read_again_is_believed_again(path: Path) -> None:
    """As when the newer pmigd is started again, after this one has noted something beside it."""
    written = await three(path)
    change(path, f"UPDATE migrations SET v = {VERSION + 1} WHERE id LIKE '%-0001-%'")
    journal = Journal(path)
    bad = (await journal.load()).migrations[1]
    await journal.write(Entry(engine.step(bad, ev.WatchLost(), build.at(9)).migration))
    await journal.close()
    change(path, f"UPDATE migrations SET v = {VERSION} WHERE id LIKE '%-0001-%'")
    assert (await read(path)).migrations == written


async def test_a_file_of_a_newer_release_is_refused_with_the_way_out(path: Path) -> None:
    await three(path)
    change(path, f"PRAGMA user_version = {VERSION + 1}")
    before = whole(path)
    journal = Journal(path)
    with pytest.raises(JournalError, match="newer pmigd") as refused:
        await journal.load()
    await journal.close()
    for told in (str(path), f"format {VERSION + 1}", f"knows {VERSION}", "move this file away"):
        assert told in str(refused.value)
    assert not journal.writable
    assert whole(path) == before


async def test_a_lease_that_cannot_be_read_holds_its_place_until_its_source_has_spoken(
    path: Path,
) -> None:
    journal = Journal(path)
    await journal.load()
    domain = build.migration().domain
    leases = [Lease(f"lease{n}", "hostb", domain, Phase.READY, granted=True) for n in range(2)]
    await journal.keep_leases(leases)
    await journal.close()
    change(
        path,
        "UPDATE leases SET document = CAST(substr(document, 1, 90) AS BLOB) WHERE id = 'lease0'",
    )
    found = await read(path)
    assert [x.id for x in found.leases] == ["lease0", "lease1"]
    assert (found.leases[0].peer, found.leases[0].granted) == ("hostb", True)
    assert found.leases[0].domain.name == domain.name
    assert list(found.unreadable) == ["lease0"]


async def test_an_event_that_cannot_be_read_leaves_the_others(path: Path) -> None:
    journal = Journal(path)
    await journal.load()
    log = tuple(Logged(build.at(n), ev.IterationBegan(n)) for n in range(3))
    await journal.write(Entry(build.migration(), log))
    await journal.close()
    change(path, "UPDATE events SET event = 'Levitated' WHERE number = 2")
    journal = Journal(path)
    await journal.load()
    first, second, third = await journal.events(build.migration().id)
    assert (first, third) == (log[0], log[2])
    assert isinstance(second, documents.Unreadable)
    await journal.close()
