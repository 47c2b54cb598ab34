"""The journal on real files: durable, together, and honest when it cannot be written."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pmigd.adapters.journal import Entry, Journal, JournalError
from pmigd.core.model import MigrationId, State
from tests.support import build


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(tmp_path / "state" / "journal.sqlite")
    yield made
    await made.close()


def entry(number: int, state: State = State.QUEUED, **changes: object) -> Entry:
    m = replace(build.migration(), id=MigrationId(f"{number:08}"), state=state, **changes)
    return Entry(m, "2026-01-02T03:04:05+00:00", ("Prepare",))


async def test_what_was_written_is_read_back_as_it_was(journal: Journal) -> None:
    whole = build.play(build.transferring(), *[]).migration
    await journal.write(Entry(whole, "now"))
    assert await journal.load(keep=10) == [whole]


async def test_a_later_write_replaces_the_earlier_one_and_the_steps_remain(
    journal: Journal,
) -> None:
    await journal.write(entry(1))
    await journal.write(entry(1, State.PREPARING))
    (found,) = await journal.load(keep=10)
    assert found.state is State.PREPARING
    steps = await journal.entries(MigrationId("00000001"))
    assert [(state, effects) for _, state, effects in steps] == [
        ("queued", "Prepare"),
        ("preparing", "Prepare"),
    ]


async def test_all_open_ones_and_the_newest_closed_ones_are_kept(journal: Journal) -> None:
    for number in range(10):
        await journal.write(entry(number, State.FAILED if number % 2 else State.QUEUED))
    assert [m.id[-1] for m in await journal.load(keep=2)] == ["0", "2", "4", "6", "7", "8", "9"]
    await journal.prune(keep=1)
    assert [m.id[-1] for m in await journal.load(keep=9)] == ["0", "2", "4", "6", "8", "9"]


async def test_many_at_once_are_all_durable_and_a_bad_one_takes_no_other_with_it(
    journal: Journal,
) -> None:
    writes = [entry(number) for number in range(200)]
    writes[100] = entry(100, idempotency_key="same")
    writes[101] = entry(101, idempotency_key="same")
    results = await asyncio.gather(*map(journal.write, writes), return_exceptions=True)
    assert [number for number, result in enumerate(results) if result is not None] == [101]
    assert len(await journal.load(keep=0)) == 199
    assert journal.writable


async def test_survives_the_death_of_the_process_right_after_a_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    script = (
        "import asyncio, os, sys; from pathlib import Path; from pmigd.adapters.journal import *\n"
        "from tests.support import build\n"
        "async def main():\n"
        "    j = Journal(Path(sys.argv[1]))\n"
        "    await j.write(Entry(build.transferring(), 'now'))\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path))
    assert await process.wait() == -9
    again = Journal(path)
    (found,) = await again.load(keep=0)
    assert found.state is State.PRECOPY
    await again.close()


async def test_says_which_file_cannot_be_written_and_goes_on_when_it_can(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory should be")
    journal = Journal(blocked / "journal.sqlite")
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        await journal.write(entry(1))
    assert not journal.writable
    blocked.unlink()
    await journal.write(entry(1))
    assert journal.writable
    assert len(await journal.load(keep=0)) == 1
    await journal.close()


async def test_says_each_time_that_it_cannot_be_written_and_each_time_that_it_can(
    journal: Journal,
) -> None:
    await journal.open()
    other = sqlite3.connect(journal.path, isolation_level=None)
    with capture_logs() as lines:
        for _ in range(2):
            other.execute(
                "CREATE TRIGGER no BEFORE INSERT ON entries BEGIN SELECT RAISE (FAIL, 'no'); END"
            )
            for _ in range(2):
                with pytest.raises(JournalError):
                    await journal.write(entry(1))
            other.execute("DROP TRIGGER no")
            for _ in range(2):
                await journal.write(entry(1))
    other.close()
    said = [line["event"] for line in lines]
    assert said == ["journal cannot be written", "journal can be written again"] * 2
    assert str(journal.path) in lines[0]["detail"]


async def test_refuses_a_journal_of_a_newer_pmigd(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    journal = Journal(path)
    with pytest.raises(JournalError, match="newer pmigd"):
        await journal.open()
    await journal.close()


@pytest.mark.hypervisor
async def test_is_read_from_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    script = (
        "import asyncio, subprocess, sys; from pathlib import Path\n"
        "from pmigd.adapters.journal import *; from tests.support import build\n"
        "path = Path(sys.argv[1])\n"
        "async def main():\n"
        "    j = Journal(path / 'j'); await j.write(Entry(build.migration(), 'now'))\n"
        "    await j.close()\n"
        "    subprocess.run(['mount', '--bind', path, path], check=True)\n"
        "    subprocess.run(['mount', '-o', 'remount,bind,ro', path], check=True)\n"
        "    j = Journal(path / 'j')\n"
        "    try:\n"
        "        await j.write(Entry(build.migration(), 'now'))\n"
        "    except JournalError:\n"
        "        print(len(await j.load(keep=0)))\n"
        "asyncio.run(main())\n"
    )
    command = ["unshare", "--mount", sys.executable, "-c", script, str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.splitlines()[-1] == b"1"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(State)), max_size=20))
def test_holds_the_latest_state_of_each_whatever_the_order(writes: list[tuple[int, State]]) -> None:
    async def run(folder: Path) -> None:
        journal = Journal(folder / "j")
        await asyncio.gather(*(journal.write(entry(n, state)) for n, state in writes))
        latest = {f"{n:08}": state for n, state in writes}
        assert {m.id: m.state for m in await journal.load(keep=99)} == latest
        await journal.close()

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
