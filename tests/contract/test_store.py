"""What the journal's store promises, kept by the file and by the simulated disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from contrib.simulator.journal import FULL, Disk, MemoryStore
from pmigd.adapters.journal.store import EVENTS_MAX, Store
from pmigd.core import events as ev
from pmigd.core.chronicle import Logged
from pmigd.core.holdings import Phase
from pmigd.core.leases import Lease
from pmigd.core.model import Domain, MigrationId, State
from tests.support.build import at, migration

FIRST = migration()
SECOND = replace(FIRST, id=MigrationId("0192e4a0-0000-7000-8000-000000000002"))
LEASE = Lease("1", "hosta", Domain("web1", "uuid1"), Phase.READY, granted=True)
TICK = Logged(at(1), ev.Ticked())


def _file(path: Path) -> Callable[[], Store]:
    return lambda: Store(path / "journal.sqlite")


def _disk(path: Path) -> Callable[[], Store]:
    disk = Disk(Random(1))
    return lambda: MemoryStore(disk)


@pytest.fixture(params=[_file, _disk], ids=["file", "simulated"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same journal again and again, as each life of a daemon does."""
    make: Callable[[], Store] = request.param(tmp_path)

    def open_it() -> Store:
        store = make()
        store.contents()
        return store

    return open_it


def test_what_was_written_is_there_in_the_next_life_oldest_first(opened) -> None:
    store = opened()
    with store.transaction():
        store.write(SECOND, ())
        store.write(FIRST, (TICK,))
        store.keep_leases([LEASE])
    found = opened().contents()
    assert found.migrations == [FIRST, SECOND]
    assert found.leases == [LEASE]
    assert not found.unreadable


def test_the_newest_is_what_counts(opened) -> None:
    store = opened()
    later = replace(FIRST, state=State.PREPARING)
    for each in (FIRST, later):
        with store.transaction():
            store.write(each, ())
    assert opened().contents().migrations == [later]


def test_what_was_forgotten_is_gone_and_what_was_not_there_is_no_mistake(opened) -> None:
    store = opened()
    with store.transaction():
        store.write(FIRST, (TICK,))
        store.keep_leases([LEASE])
    with store.transaction():
        store.forget([FIRST.id, SECOND.id])
        store.forget_leases([LEASE.id, "2"])
    found = opened().contents()
    assert (found.migrations, found.leases) == ([], [])
    assert opened().events(FIRST.id) == []


def test_a_transaction_that_fails_leaves_everything_as_it_was(opened) -> None:
    store = opened()
    with store.transaction():
        store.write(FIRST, ())
        store.keep_leases([LEASE])

    def fail() -> None:
        with store.transaction():
            store.write(replace(FIRST, state=State.PREPARING), (TICK,))
            store.write(SECOND, ())
            store.forget_leases([LEASE.id])
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    found = store.contents()
    assert (found.migrations, found.leases) == ([FIRST], [LEASE])
    assert store.events(FIRST.id) == []


def test_a_part_that_fails_is_taken_back_alone(opened) -> None:
    store = opened()
    with store.transaction() as db:
        store.write(FIRST, ())
        db.execute("SAVEPOINT part")
        store.write(SECOND, ())
        db.execute("ROLLBACK TO part")
        db.execute("RELEASE part")
        store.keep_leases([LEASE])
    found = store.contents()
    assert (found.migrations, found.leases) == ([FIRST], [LEASE])


def test_the_log_is_kept_in_order_and_not_without_end(opened) -> None:
    store = opened()
    many = [Logged(at(n), ev.IterationBegan(n)) for n in range(EVENTS_MAX + 5)]
    with store.transaction():
        store.write(FIRST, many[:3])
    with store.transaction():
        store.write(FIRST, many[3:])
    assert store.events(FIRST.id) == many[-EVENTS_MAX:]


def test_a_full_disk_takes_nothing_and_loses_nothing() -> None:
    disk = Disk(Random(1))
    store = MemoryStore(disk)
    with store.transaction():
        store.write(FIRST, ())
    disk.error = FULL
    with pytest.raises(OSError, match="No space left"), store.transaction():
        store.write(SECOND, ())
    disk.error = None
    assert store.contents().migrations == [FIRST]
