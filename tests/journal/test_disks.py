"""The journal on disks that forget, fill up, cannot be written, hang, or come late."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from contrib.lab.deadlines import until
from pmigd.adapters.journal.journal import WRITE_DEADLINE_S
from tests.journal.conftest import PATIENCE_S, House

pytestmark = pytest.mark.hypervisor

QUEUED = {"web1": "queued", "web2": "queued", "web3": "queued"}


def lies_beside(journal: Path) -> dict[str, str]:
    """What the file says without its WAL: the trap."""
    db = sqlite3.connect(f"{journal.as_uri()}?mode=ro&immutable=1", uri=True)
    rows = db.execute("SELECT domain_name, state FROM migrations").fetchall()
    db.close()
    return dict(rows)


@pytest.mark.parametrize("left", ["file and WAL", "file, WAL and shared memory"])
def test_after_a_crash_the_newest_is_believed_even_where_nothing_can_be_written(
    house: House, left: str
) -> None:
    house.write(1, 3)
    house.start()
    assert house.abort("web2") == "cancelled"
    house.kill()
    assert lies_beside(house.journal) == QUEUED
    if left == "file and WAL":  # the third is not synced, and gone after a power cut
        house.journal.with_name("journal.sqlite-shm").unlink()
    house.read_only(True)
    house.start()
    assert house.states() == QUEUED | {"web2": "cancelled"}
    house.says("journal.sqlite")
    house.read_only(False)
    house.becomes(QUEUED | {"web2": "cancelled"})
    house.kill()
    assert house.read()["migrations"] == QUEUED | {"web2": "cancelled"}


def test_a_journal_whose_newest_part_cannot_be_read_is_not_believed_at_all(house: House) -> None:
    house.write(1, 3)
    house.start()
    assert house.abort("web2") == "cancelled"
    house.kill()
    wal = house.journal.with_name("journal.sqlite-wal")
    aside = wal.rename(house.folder / "wal")
    wal.mkdir()  # nobody can read that as a file, not even root
    house.start()
    assert house.states() is None
    assert "journal" in house.missing()
    wal.rmdir()
    aside.rename(wal)
    house.becomes(QUEUED | {"web2": "cancelled"})


@pytest.mark.parametrize("before", ["nothing there", "an empty directory"])
def test_a_state_directory_that_is_mounted_after_the_start_is_read_then(
    house: House, before: str
) -> None:
    house.write(1, 3)
    disk = house.state.rename(house.folder / "disk")
    if before == "an empty directory":
        house.state.mkdir()
    else:
        house.state.write_text("")  # nor can one be made here
    house.start()
    if before == "an empty directory":
        assert house.states() == {}  # a new host looks the same
    else:
        assert house.states() is None
        assert "journal" in house.missing()
        house.state.unlink()
        house.state.mkdir()
    house.run("mount", "--bind", disk, house.state)
    house.becomes(QUEUED)
    assert house.abort("web2") == "cancelled"
    house.kill()
    assert house.read()["migrations"] == QUEUED | {"web2": "cancelled"}


def test_a_disk_that_is_taken_away_and_comes_back_has_everything_in_the_end(house: House) -> None:
    house.write(1, 3)
    disk = house.state.rename(house.folder / "disk")
    house.state.mkdir()
    house.run("mount", "--bind", disk, house.state)
    house.start()
    house.run("umount", "--lazy", house.state)
    until(house.journal.exists, "a journal where the disk was", timeout=PATIENCE_S)
    house.becomes(QUEUED)
    assert house.abort("web1") == "cancelled"
    read = house.log.read_text().count("has not been read yet")
    house.run("mount", "--bind", disk, house.state)
    until(
        lambda: house.log.read_text().count("has not been read yet") > read,
        "notice of the disk",
        timeout=PATIENCE_S,
        evidence=house.log.read_text,
    )
    house.becomes(QUEUED | {"web1": "cancelled"})
    house.kill()
    assert house.read()["migrations"] == QUEUED | {"web1": "cancelled"}


def test_while_the_disk_hangs_pmigd_goes_on_and_says_so(house: House, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    house.make_disk(image)
    house.mount_disk(image)
    house.write(1, 3)
    house.start()
    house.freeze()
    assert house.abort("web1") == "cancelled"  # when the one write that hangs is given up
    house.says("not answered")
    began = time.monotonic()
    assert house.abort("web2") == "cancelled"
    assert house.answer("/healthz") is not None
    assert time.monotonic() - began < WRITE_DEADLINE_S  # no other one is waited for
    house.thaw()
    house.becomes({"web1": "cancelled", "web2": "cancelled", "web3": "queued"})
    house.kill()
    found = house.read()["migrations"]
    assert found == {"web1": "cancelled", "web2": "cancelled", "web3": "queued"}


def test_a_disk_that_hangs_at_the_start_is_waited_for_and_nothing_is_made_up_meanwhile(
    house: House, tmp_path: Path
) -> None:
    image = tmp_path / "disk"
    house.make_disk(image)
    house.mount_disk(image)
    house.write(1, 3)
    house.freeze()
    house.start()
    assert house.states() is None
    assert "journal" in house.missing()
    house.thaw()
    house.becomes(QUEUED)


def test_on_a_full_disk_what_was_done_is_kept_until_there_is_room(house: House) -> None:
    house.mount_memory("4M")
    house.write(1, 3)
    house.start()
    house.run("sh", "-c", f"dd if=/dev/zero of={house.state}/filler bs=4k 2>/dev/null || true")
    assert house.abort("web1") == "cancelled"
    house.says("journal.sqlite")
    house.run("rm", house.state / "filler")
    house.becomes(QUEUED | {"web1": "cancelled"})
    house.kill()
    house.run("sh", "-c", f"dd if=/dev/zero of={house.state}/filler bs=4k 2>/dev/null || true")
    house.start()
    assert house.states() == QUEUED | {"web1": "cancelled"}


def test_what_was_acknowledged_is_there_after_the_power_was_cut(
    house: House, tmp_path: Path
) -> None:
    """The image holds what was written to the disk; what only its file system has is lost."""
    image, crashed = tmp_path / "disk", tmp_path / "crashed"
    house.make_disk(image)
    house.mount_disk(image)
    with house.writer() as writer:
        assert writer.stdout is not None
        for _ in range(3):
            for _ in range(7):
                acknowledged = int(writer.stdout.readline())
            forgotten = f"not-synced-{acknowledged}"
            house.run("cp", "/etc/passwd", house.state / forgotten)
            writer.send_signal(signal.SIGSTOP)  # wherever it is
            shutil.copyfile(image, crashed)
            writer.send_signal(signal.SIGCONT)
            other = House(tmp_path / f"after-{acknowledged}")
            try:
                other.mount_disk(crashed)
                found = other.read()
                assert other.run("cat", other.state / forgotten, check=False) == ""
            finally:
                other.close()
            for number in range(1, acknowledged + 1):
                assert found["migrations"][f"web{number}"] == "queued"
            assert found["leases"] >= acknowledged
