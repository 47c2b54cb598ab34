"""The journal on real files: durable, together, and honest when it cannot be written."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pmigd.adapters.journal import Contents, Journal, JournalEntry, JournalError
from pmigd.adapters.journal import journal as module
from pmigd.core import events as ev
from pmigd.core.chronicle import Logged
from pmigd.core.holdings import Phase
from pmigd.core.leases import Lease
from pmigd.core.model import Domain, Migration, MigrationId, State
from tests.support import build
from tests.support.examples import examples


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(tmp_path / "state" / "journal.sqlite")
    await made.load()
    await made.probe()
    yield made
    await made.close()


def migration(number: int, state: State = State.QUEUED, **changes: Any) -> Migration:
    domain = Domain(f"web{number}", f"{number:08}-2222-3333-4444-555555555555")
    iden = MigrationId(f"{number:08}")
    return replace(build.migration(domain=domain, state=state), id=iden, **changes)


def entry(number: int, state: State = State.QUEUED, **changes: Any) -> JournalEntry:
    return JournalEntry(
        migration(number, state, **changes), (Logged(build.at(number), ev.Admitted()),)
    )


def lease(number: int) -> Lease:
    domain = Domain(f"in{number}", f"{number:08}-9999-3333-4444-555555555555")
    return Lease(f"lease{number}", "hostb", domain, Phase.READY, granted=True)


async def reread(path: Path) -> Contents:
    """What a pmigd that starts now finds."""
    other = Journal(path)
    try:
        return await other.load()
    finally:
        await other.close()


async def test_what_was_written_is_read_back_as_it_was(journal: Journal) -> None:
    whole = build.transferring()
    await journal.write(JournalEntry(whole))
    await journal.keep_leases([lease(1), lease(2)])
    found = await reread(journal.path)
    assert found == Contents([whole], [lease(1), lease(2)], {})


async def test_a_later_write_replaces_the_earlier_one_and_what_happened_remains(
    journal: Journal,
) -> None:
    first = Logged(build.at(0), ev.Admitted())
    second = Logged(build.at(1), ev.AbortAsked("root", "asked for by root"))
    await journal.write(JournalEntry(migration(1), (first,)))
    await journal.write(JournalEntry(migration(1, State.PREPARING), (second,)))
    (found,) = (await reread(journal.path)).migrations
    assert found.state is State.PREPARING
    assert await journal.events(MigrationId("00000001")) == [first, second]


async def test_what_happened_is_forgotten_with_its_migration_and_the_oldest_beyond_a_bound(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.store.EVENTS_MAX", 3)
    for second in range(5):
        await journal.write(JournalEntry(migration(1), (Logged(build.at(second), ev.Restarted()),)))
    kept = await journal.events(MigrationId("00000001"))
    assert [logged.now for logged in kept] == [build.at(second) for second in (2, 3, 4)]
    await journal.forget(MigrationId("00000001"))
    assert await journal.events(MigrationId("00000001")) == []
    assert (await reread(journal.path)).migrations == []


async def test_a_key_that_was_used_before_is_not_a_fault_of_the_file(journal: Journal) -> None:
    await journal.write(entry(1, State.FAILED, idempotency_key="same"))
    await journal.write(entry(2, idempotency_key="same"))
    assert journal.writable
    assert len((await reread(journal.path)).migrations) == 2


async def test_many_at_once_are_all_durable_and_a_bad_one_takes_no_other_with_it(
    journal: Journal,
) -> None:
    writes = [entry(number) for number in range(200)]
    writes[101] = entry(101, idempotency_key="\udc80")
    results = await asyncio.gather(*map(journal.write, writes), return_exceptions=True)
    assert [number for number, result in enumerate(results) if result is not None] == [101]
    assert isinstance(results[101], JournalError)
    assert len((await reread(journal.path)).migrations) == 199
    assert journal.writable


async def test_thousands_of_leases_are_one_transaction(journal: Journal) -> None:
    await journal.probe()
    commits: list[str] = []
    await _trace(journal, commits.append)
    await journal.keep_leases(lease(number) for number in range(2000))
    assert commits.count("COMMIT") == 1
    await journal.forget_leases(*(f"lease{number}" for number in range(1999)))
    assert [x.id for x in (await reread(journal.path)).leases] == ["lease1999"]


async def _trace(journal: Journal, told: Callable[[str], object]) -> None:
    """Have `told` hear of each statement, on the journal's own thread."""
    await journal._ask(lambda: journal._store._now_open.set_trace_callback(told))


@pytest.mark.programs
async def test_survives_the_death_of_the_process_right_after_a_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    script = (
        "import asyncio, os, sys; from pathlib import Path; from pmigd.adapters.journal import *\n"
        "from tests.support import build\n"
        "async def main():\n"
        "    j = Journal(Path(sys.argv[1])); await j.load()\n"
        "    await j.write(JournalEntry(build.transferring()))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path))
    assert await process.wait() == -9
    (found,) = (await reread(path)).migrations
    assert found.state is State.PRECOPY


async def test_nothing_is_written_before_everything_was_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    assert not journal.writable
    with pytest.raises(JournalError, match="not been read"):
        await journal.write(entry(1))
    await journal.load()
    await journal.write(entry(1))
    assert not journal.writable  # nor is it proven yet that it can be
    await journal.probe()
    assert journal.writable
    await journal.close()


async def test_says_which_file_cannot_be_written_and_goes_on_when_it_can(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory should be")
    journal = Journal(blocked / "journal.sqlite")
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        await journal.load()
    assert journal.unread
    assert not journal.writable
    blocked.unlink()
    assert (await journal.load()).migrations == []
    await journal.probe()
    assert journal.writable
    await journal.close()


async def test_says_each_time_that_it_cannot_be_written_and_each_time_that_it_can(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.store.BUSY_TIMEOUT_S", 0.01)
    journal._store.close()
    other = sqlite3.connect(journal.path, isolation_level=None)
    with capture_logs() as lines:
        for _ in range(2):
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                with pytest.raises(JournalError):
                    await journal.write(entry(1))
            other.execute("ROLLBACK")
            await journal.write(entry(1))
            assert not journal.writable
            for _ in range(2):
                await journal.probe()
    other.close()
    said = [line["event"] for line in lines]
    assert said == ["journal cannot be written", "journal can be written again"] * 2
    assert str(journal.path) in lines[0]["detail"]


async def test_a_disk_with_hardly_any_room_left_does_not_come_and_go(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal._store, "write", _full)
    with pytest.raises(JournalError):
        await journal.write(entry(1))
    await journal.forget(MigrationId("00000001"))  # which fits
    assert not journal.writable
    monkeypatch.setattr("pmigd.adapters.journal.store.ROOM_BYTES", 1 << 60)
    with pytest.raises(JournalError, match="is free"):
        await journal.probe()
    assert not journal.writable
    monkeypatch.setattr("pmigd.adapters.journal.store.ROOM_BYTES", 1)
    await journal.probe()
    assert journal.writable


def _full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_lock_of_another_program_costs_one_attempt_for_all_that_wait(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.store.BUSY_TIMEOUT_S", 0.5)
    journal._store.close()
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = asyncio.get_running_loop().time()
    writes = [journal.write(entry(number)) for number in range(50)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    took = asyncio.get_running_loop().time() - began
    assert all(isinstance(result, JournalError) for result in results)
    assert took < 10  # the first alone, then all the others: two attempts, not fifty
    other.execute("ROLLBACK")
    other.close()
    await journal.probe()
    assert journal.writable


class Stuck:
    """A disk that answers when it is told to."""

    def __init__(self) -> None:
        self._go_on = threading.Event()
        self.reached = threading.Event()

    def hold(self, statement: str) -> None:
        if statement.startswith("COMMIT"):
            self.reached.set()
            self._go_on.wait(30)

    def answer(self) -> None:
        self._go_on.set()


@pytest.fixture
async def stuck(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stuck]:
    monkeypatch.setattr(module, "WRITE_DEADLINE_S", 0.2)
    await journal.probe()
    made = Stuck()
    await _trace(journal, made.hold)
    yield made
    made.answer()


async def _all_ended(journal: Journal) -> None:
    async with asyncio.timeout(10):
        while journal._overdue:
            await asyncio.sleep(0.01)


async def test_a_write_has_a_deadline_and_then_nobody_waits_until_the_disk_has_answered(
    journal: Journal, stuck: Stuck
) -> None:
    with pytest.raises(JournalError, match="has not answered"):
        await journal.write(entry(1))
    assert stuck.reached.is_set()
    assert not journal.writable
    assert "has not answered" in (journal.error or "")
    began = asyncio.get_running_loop().time()
    for number in range(2, 10):
        with pytest.raises(JournalError, match="has not answered"):
            await journal.write(entry(number))
    took = asyncio.get_running_loop().time() - began
    assert took < 8 * module.WRITE_DEADLINE_S  # as long as it would take if each were waited for
    stuck.answer()
    await _all_ended(journal)
    await journal.probe()
    assert journal.writable


async def test_what_was_given_up_may_land_if_it_had_begun_and_never_if_not(
    journal: Journal, stuck: Stuck
) -> None:
    begun = asyncio.create_task(journal.write(entry(1)))
    while not stuck.reached.is_set():
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(journal.write(entry(2)))
    results = await asyncio.gather(begun, waiting, return_exceptions=True)
    assert all(isinstance(result, JournalError) for result in results)
    stuck.answer()
    await _all_ended(journal)
    found = (await reread(journal.path)).migrations
    assert [m.id for m in found] == ["00000001"]


async def test_a_given_up_write_that_landed_is_put_right_by_what_is_written_next(
    journal: Journal, stuck: Stuck
) -> None:
    with pytest.raises(JournalError):
        await journal.write(entry(1, State.PREPARING))
    with pytest.raises(JournalError):
        await journal.write(entry(2))
    with pytest.raises(JournalError):
        await journal.keep_leases([lease(1)])
    for owed in (journal.forget(MigrationId("00000002")), journal.forget_leases("lease1")):
        with pytest.raises(JournalError):
            await owed
    stuck.answer()
    await _all_ended(journal)
    await journal.probe()
    await journal.write(entry(1))
    found = await reread(journal.path)
    assert [(m.id, m.state) for m in found.migrations] == [("00000001", State.QUEUED)]
    assert found.leases == []


async def test_what_could_not_be_forgotten_is_forgotten_as_soon_as_it_can(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.store.BUSY_TIMEOUT_S", 0.01)
    await journal.write(entry(1), entry(2))
    await journal.keep_leases([lease(1), lease(2), lease(3)])
    journal._store.close()
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for owed in (
        journal.forget(MigrationId("00000001")),
        journal.forget_leases("lease1", "lease2"),
    ):
        with pytest.raises(JournalError):
            await owed
    other.execute("ROLLBACK")
    other.close()
    await journal.keep_leases([lease(2)])  # granted anew meanwhile
    await journal.probe()
    found = await reread(journal.path)
    assert [m.id for m in found.migrations] == ["00000002"]
    assert [x.id for x in found.leases] == ["lease2", "lease3"]


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(State)), max_size=20))
def test_holds_the_latest_state_of_each_whatever_the_order(writes: list[tuple[int, State]]) -> None:
    async def run(folder: Path) -> None:
        journal = Journal(folder / "j")
        await journal.load()
        await asyncio.gather(*(journal.write(entry(n, state)) for n, state in writes))
        latest = {f"{n:08}": state for n, state in writes}
        assert {m.id: m.state for m in (await journal.load()).migrations} == latest
        await journal.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
