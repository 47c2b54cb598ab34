"""Memory and journal stay the same: submissions, repeats, restarts, and a journal that comes late.

The controller, the gate and the journal are the real ones, on real files; libvirt is not there, so
nothing is started: what is about a start is shown on real hosts.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from msgspec import structs

from pmigd.adapters.journal import Journal, JournalEntry, JournalError
from pmigd.core import events as ev
from pmigd.core.asked import fingerprint
from pmigd.core.facts import DomainFacts
from pmigd.core.holdings import Account, Limits, Phase
from pmigd.core.leases import Lease
from pmigd.core.model import (
    Direction,
    Domain,
    Migration,
    MigrationId,
    Now,
    Power,
    Request,
    Settings,
    State,
    View,
)
from pmigd.core.problem import Code, Problem, Refused
from pmigd.daemon.bookkeeper import Bookkeeper
from pmigd.daemon.controller import Controller
from pmigd.daemon.controls import Controls
from pmigd.daemon.gate import Gate
from pmigd.daemon.granting import LOOKS_A_REPORT, Granting
from pmigd.daemon.intake import Intake
from pmigd.daemon.register import KEEP_CLOSED, PRUNE_EVERY
from pmigd.wire.peer import LeaseAsk, LeaseEntry, LeaseReport
from tests.support import build

IDS = itertools.count(1)


class NoLibvirt:
    """Guests that run, and nothing that can be done with them."""

    def __init__(self) -> None:
        self.asked = 0

    async def lookup(self, name: str) -> DomainFacts:
        self.asked += 1
        await asyncio.sleep(0)
        return DomainFacts(domain(name), View(Power.RUNNING, persistent=True))


def domain(name: str) -> Domain:
    return Domain(name, f"{crc32(name.encode()):08x}-2222-3333-4444-555555555555")


@dataclass
class Host:
    """One life of a pmigd over a state directory."""

    path: Path
    queue_max: int = 100
    blocked: str | None = "libvirt"
    seconds: float = 0.0
    changes: list[tuple[Migration | None, Migration]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.libvirt = NoLibvirt()
        self.journal = Journal(self.path)
        self.gate = Gate("hosta", blocked=lambda: self.blocked, coming=lambda _: None, now=self.now)
        self.controller = Controller(
            "hosta",
            self.libvirt,  # type: ignore[arg-type]
            self.journal,
            self.gate,
            now=self.now,
            new_id=lambda: f"0192e4a0-1000-7000-8000-{next(IDS):012x}",
            on_change=lambda before, after: self.changes.append((before, after)),
            begin_trace=lambda _: None,
        )
        self.intake = Intake(self.controller, self.libvirt, queue_max=self.queue_max)  # type: ignore[arg-type]
        self.controls = Controls(self.controller, self.libvirt)  # type: ignore[arg-type]
        self.granting = Granting(
            "hosta",
            Account(),
            self.journal,
            limits=lambda: Limits(),
            is_coming=lambda _: False,
            objections=_none,
            changed=lambda _: None,
            now=self.now,
        )
        self.bookkeeper = Bookkeeper(self.journal, self.controller, self.granting, lambda: None)

    def now(self) -> Now:
        return build.at(self.seconds)

    async def submit(self, name: str, *, key: str | None = None, **fields: Any) -> Migration:
        """As a client does, with a configuration that gives everything a timeout."""
        request = Request(name, "hostb", **fields)
        configured = replace(request, timeout_s=request.timeout_s or 600.0)
        return await self.intake.submit(
            configured, build.TARGET, by="root", key=key, asked=fingerprint(request)
        )

    async def end(self, iden: MigrationId) -> Migration:
        return await self.controls.abort(iden, by="root", reason="asked for by root")


async def _none(_: Domain) -> tuple[()]:
    return ()


@asynccontextmanager
async def life(path: Path, **settings: Any) -> AsyncIterator[Host]:
    """A pmigd that has read its journal; at the end it is gone, as after kill -9."""
    host = Host(path, **settings)
    await host.bookkeeper.once()
    try:
        yield host
    finally:
        await host.controller.stop()
        await host.journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


async def refusal(code: Code, submission: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        await submission
    assert refused.value.problem.code is code
    return refused.value


# Repeats


async def test_a_repeat_returns_the_first_one_after_a_set_a_reload_and_a_restart(
    path: Path,
) -> None:
    async with life(path) as host:
        first = await host.submit("web1", key="k", priority=60)
        await host.controls.change(
            first.id, Settings(bandwidth_mib_s=9), timeout_s=5.0, priority=70, by="oscar"
        )
        assert (await host.submit("web1", key="k", priority=60)).id == first.id
        await refusal(Code.IDEMPOTENCY_CONFLICT, host.submit("web1", key="k", priority=61))
    async with life(path) as host:
        again = await host.submit("web1", key="k", priority=60)
        assert again.id == first.id
        assert again.request.bandwidth_mib_s == 9
        await refusal(Code.IDEMPOTENCY_CONFLICT, host.submit("web2", key="k", priority=60))


def test_a_fingerprint_is_of_what_was_said() -> None:
    request = Request("web1", "hostb")
    assert fingerprint(request) == fingerprint(Request("web1", "hostb", priority=50, timeout_s=0))
    assert fingerprint(request) != fingerprint(Request("web1", "hostb", timeout_s=1))
    assert fingerprint(request) != fingerprint(Request("web2", "hostb"))


@pytest.fixture
async def full_of_old_ones(path: Path) -> list[Migration]:
    """A journal with some more closed ones than are kept, each with its key."""
    made = [
        replace(
            build.migration(),
            id=MigrationId(f"0192e4a0-0000-7000-8000-{number:012x}"),
            domain=domain(f"old{number}"),
            request=Request(f"old{number}", "hostb"),
            state=State.CANCELLED,
            idempotency_key=f"key{number}",
            asked=fingerprint(Request(f"old{number}", "hostb")),
        )
        for number in range(KEEP_CLOSED + 30)
    ]
    journal = Journal(path)
    await journal.load()
    await journal.write(*map(JournalEntry, made))
    await journal.close()
    return made


async def test_every_key_in_the_journal_is_known_after_a_restart(
    path: Path, full_of_old_ones: list[Migration]
) -> None:
    async with life(path) as host:
        for number in range(40):
            again = await host.submit(f"old{number}", key=f"key{number}")
            assert again.id == full_of_old_ones[number].id
        assert host.journal.writable


async def test_a_key_that_was_forgotten_is_free_again_and_the_journal_has_forgotten_the_same(
    path: Path, full_of_old_ones: list[Migration]
) -> None:
    async with life(path) as host:
        for number in range(PRUNE_EVERY):
            m = await host.submit(f"new{number}")
            await host.end(m.id)
        async with asyncio.timeout(20):
            await asyncio.gather(*host.controller._tasks._tasks)
        kept = {m.id for m in host.controller.all()}
        assert full_of_old_ones[0].id not in kept
        fresh = await host.submit("old0", key="key0")
        assert fresh.id != full_of_old_ones[0].id
        assert host.journal.writable
        await host.end(fresh.id)
    async with life(path) as host:
        assert {m.id for m in host.controller.all()} == kept | {fresh.id}
        assert (await host.submit("old0", key="key0")).id == fresh.id


# Room


async def test_room_for_one_is_given_to_one_of_ten_at_once(path: Path) -> None:
    async with life(path, queue_max=1) as host:
        submissions = [host.submit(f"web{number}") for number in range(10)]
        results = await asyncio.gather(*submissions, return_exceptions=True)
        accepted = [result for result in results if isinstance(result, Migration)]
        refused = [result for result in results if isinstance(result, Refused)]
        assert (len(accepted), len(refused)) == (1, 9)
        assert {refused_one.problem.code for refused_one in refused} == {Code.QUEUE_FULL}
        await host.end(accepted[0].id)
        await host.submit("web10")


async def test_a_place_is_given_back_by_what_was_refused(path: Path) -> None:
    async with life(path, queue_max=1) as host:
        first = await host.submit("web1")
        await host.end(first.id)
        host.libvirt.lookup = _no_such_domain  # type: ignore[method-assign]
        await refusal(Code.DOMAIN_NOT_FOUND, host.submit("nobody"))
        del host.libvirt.lookup
        await host.submit("web2")


async def _no_such_domain(name: str) -> DomainFacts:
    raise Refused(Problem(Code.DOMAIN_NOT_FOUND, name))


# Reading


async def test_before_the_journal_was_read_nothing_is_taken(path: Path) -> None:
    host = Host(path)
    await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web1"))
    assert host.libvirt.asked == 0
    assert not host.controller.loaded
    await host.bookkeeper.once()
    await host.submit("web1")
    await host.controller.stop()
    await host.journal.close()


async def test_a_journal_that_was_not_taken_up_whole_counts_as_unread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(path) as host:
        first = await host.submit("web1")
    host = Host(path)
    with monkeypatch.context() as mistake:
        mistake.setattr(host.gate, "settle", lambda _: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await host.bookkeeper.once()
    assert not host.journal.writable
    assert not host.controller.loaded
    await host.bookkeeper.once()
    assert [m.id for m in host.controller.queued()] == [first.id]
    await host.controller.stop()
    await host.journal.close()


async def test_a_state_directory_that_appears_late_is_read_when_it_appears(
    path: Path,
) -> None:
    async with life(path) as host:
        first = await host.submit("web1")
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    path.parent.write_text("nothing is mounted here")
    host = Host(path)
    with pytest.raises(JournalError):
        await host.bookkeeper.once()
    assert not host.controller.loaded
    assert list(host.controller.all()) == []
    path.parent.unlink()
    elsewhere.rename(path.parent)
    await host.bookkeeper.once()
    assert [m.id for m in host.controller.all()] == [first.id]
    assert host.journal.writable
    await host.controller.stop()
    await host.journal.close()


async def test_a_journal_that_comes_over_a_fresh_one_is_read_and_what_was_begun_is_carried_over(
    path: Path,
) -> None:
    async with life(path) as host:
        old = await host.submit("web1")
        closed = await host.submit("web2", key="k")
        await host.end(closed.id)
        await host.granting.ask("hostb", _ask("lease1", "in1"))
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    async with life(path) as host:
        host.seconds = 100.0
        new = await host.submit("web3")
        path.parent.rename(path.parent.with_name("hidden"))
        elsewhere.rename(path.parent)
        await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web4"))
        assert not host.journal.writable
        await host.bookkeeper.once()
        assert host.journal.writable
        assert {m.id for m in host.controller.open()} == {old.id, new.id}
        assert (await host.submit("web2", key="k")).id == closed.id
        assert host.granting.book.get("lease1") is not None
    async with life(path) as host:
        assert {m.id for m in host.controller.open()} == {old.id, new.id}
        assert [m.domain.name for m in host.controller.queued()] == ["web1", "web3"]


def _ask(iden: str, name: str) -> Any:
    entry = LeaseEntry(id=iden, domain=domain(name), phase=Phase.READY, priority=50, ports=1)
    return LeaseAsk(source="hostb", seq=1, lease=entry)


async def test_a_journal_that_is_deleted_is_made_anew_with_everything(path: Path) -> None:
    async with life(path) as host:
        first = await host.submit("web1")
        for file in path.parent.iterdir():
            file.unlink()
        await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web2"))
        await host.bookkeeper.once()
        second = await host.submit("web2")
    async with life(path) as host:
        assert {m.id for m in host.controller.open()} == {first.id, second.id}


async def test_a_file_put_in_its_place_does_not_get_the_other_ones_newest_part(
    path: Path,
) -> None:
    """Only the file is replaced; beside it lies what SQLite has not moved over yet."""
    async with life(path) as host:
        old = await host.submit("web1")
    other = put(path, "other.sqlite")
    async with life(path) as host:
        new = await host.submit("web2")
        other.rename(path)
        await host.bookkeeper.once()
        assert {m.id for m in host.controller.open()} == {old.id, new.id}
        assert host.journal.writable
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def put(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


async def put_aside(path: Path, *migrations: Migration) -> Path:
    """A journal that will appear at `path`."""
    journal = Journal(path)
    await journal.load()
    await journal.write(*map(JournalEntry, migrations))
    await journal.close()
    return put(path, "aside.sqlite")


async def test_of_two_migrations_of_one_guest_the_one_that_was_not_begun_gives_way(
    path: Path,
) -> None:
    queued = replace(build.migration(domain=domain("web1")), id=MigrationId("old"))
    aside = await put_aside(path, queued)
    async with life(path) as host:
        new = await host.submit("web1")
        aside.rename(path)
        await host.bookkeeper.once()
        assert [m.id for m in host.controller.open()] == [new.id]
        old = host.controller.get("old")
        assert old is not None
        assert (old.state, old.problem and old.problem.code) == (State.FAILED, Code.DOMAIN_BUSY)
    async with life(path) as host:
        assert [m.id for m in host.controller.open()] == [new.id]


async def test_of_two_that_were_begun_the_older_is_for_an_operator_to_settle(path: Path) -> None:
    begun = replace(build.transferring(domain=domain("web1")), id=MigrationId("old"))
    aside = await put_aside(path, begun)
    async with life(path) as host:
        new = await host.submit("web1")
        aside.rename(path)
        await host.bookkeeper.once()
        old = host.controller.get("old")
        assert old is not None
        assert (old.state, old.problem and old.problem.code) == (
            State.UNRESOLVED,
            Code.JOURNAL_CONFLICT,
        )
        first = host.controller.of_domain(domain("web1").uuid)
        assert first is not None
        assert first.id == new.id
        # What libvirt shows of the guest is about the other one.
        host.controller.post(MigrationId("old"), ev.Sampled(build.MIGRATING.job, build.sample()))
        await host.end(new.id)
        assert host.controller.get("old") == old
        assert (await host.controls.resolve(old.id, State.FAILED, by="root")).state is State.FAILED
        await host.submit("web1")


async def test_what_was_taken_for_others_is_ours_once_the_journal_says_so(path: Path) -> None:
    begun = replace(build.transferring(domain=domain("web1")), id=MigrationId("old"))
    aside = await put_aside(path, begun)
    async with life(path) as host:
        external = host.controller.begin_external(domain("web1"), Direction.OUTGOING)
        aside.rename(path)
        await host.bookkeeper.once()
        (ours,) = host.controller.open()
        assert ours.id == "old"
        ended = host.controller.get(external.id)
        assert ended is not None
        assert ended.state is State.CANCELLED
        assert ended.problem is not None
        assert "old" in ended.problem.detail


# What cannot be read


async def unreadable(path: Path, **columns: str | None) -> None:
    journal = Journal(path)
    await journal.load()
    bad = replace(build.transferring(domain=domain("web1")), id=MigrationId("bad"))
    good = replace(build.migration(domain=domain("web2")), id=MigrationId("good"))
    await journal.write(JournalEntry(bad), JournalEntry(good))
    await journal.close()
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE migrations SET document = '{' WHERE id = 'bad'")
        for column, value in columns.items():
            db.execute(f"UPDATE migrations SET {column} = ? WHERE id = 'bad'", (value,))
    db.close()


async def test_the_guest_of_a_row_that_cannot_be_read_is_guarded_until_an_operator_says_so(
    path: Path,
) -> None:
    await unreadable(path)
    async with life(path) as host:
        assert {m.id: m.state for m in host.controller.open()} == {
            "bad": State.UNRESOLVED,
            "good": State.QUEUED,
        }
        refused = await refusal(Code.DOMAIN_BUSY, host.submit("web1"))
        assert "bad" in refused.problem.detail
        await host.submit("web3")
        host.controller.connection_changed(connected=False)
        host.controller.connection_changed(connected=True)
        await host.controls.resolve(MigrationId("bad"), State.FAILED, by="root")
        await host.submit("web1")
    async with life(path) as host:
        bad = host.controller.get("bad")
        assert bad is not None
        assert bad.state is State.FAILED
        assert len(host.controller.open()) == 3


async def test_without_a_uuid_any_guest_of_its_name_is_guarded_without_a_name_any_guest(
    path: Path,
) -> None:
    await unreadable(path, domain_uuid=None)
    async with life(path) as host:
        await refusal(Code.DOMAIN_BUSY, host.submit("web1"))
        await host.submit("web3")
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE migrations SET domain_name = NULL WHERE id = 'bad'")
    db.close()
    async with life(path) as host:
        refused = await refusal(Code.DOMAIN_BUSY, host.submit("web4"))
        assert "bad" in refused.problem.detail
        await host.controls.resolve(MigrationId("bad"), State.SUCCEEDED, by="root")
        await host.submit("web4")


async def test_a_repeat_of_what_cannot_be_read_does_not_begin_it_again(path: Path) -> None:
    await unreadable(path, idempotency_key="k")
    async with life(path) as host:
        assert (await host.submit("web1", key="k")).id == "bad"


# Writing


async def test_a_refused_submission_is_not_there_after_a_restart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was silent for too long, and then took it after all."""
    monkeypatch.setattr("pmigd.adapters.journal.journal.WRITE_DEADLINE_S", 0.2)
    async with life(path) as host:
        slow = _Slow(host.journal)
        await slow.begin()
        await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web1"))
        slow.end()
        while host.journal._overdue:
            await asyncio.sleep(0.01)
        await host.bookkeeper.once()
        assert list(host.controller.all()) == []
    async with life(path) as host:
        assert list(host.controller.all()) == []


class _Slow:
    """A disk that takes until it is told to go on with its next commit."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._event = threading.Event()

    async def begin(self) -> None:
        def hold(statement: str) -> None:
            if statement.startswith("COMMIT"):
                self._event.wait(30)

        await self._journal._ask(lambda: self._journal._store._now_open.set_trace_callback(hold))

    def end(self) -> None:
        self._event.set()


async def test_a_submission_refused_by_a_silent_disk_says_what_a_crash_may_make_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.journal.WRITE_DEADLINE_S", 0.2)
    async with life(path) as host:
        slow = _Slow(host.journal)
        await slow.begin()
        refused = await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web1", key="k1"))
        assert "if pmigd ends before that, it may be in the queue" in refused.problem.detail
        # This one was not even given to the disk.
        refused = await refusal(Code.JOURNAL_UNAVAILABLE, host.submit("web2", key="k2"))
        assert "may be in the queue" not in refused.problem.detail
        slow.end()
    # The disk has answered, and pmigd was killed before it could forget.
    async with life(path) as host:
        (landed,) = host.controller.all()
        assert (landed.domain.name, landed.state) == ("web1", State.QUEUED)
        assert (await host.submit("web1", key="k1")).id == landed.id, "never a second one"


async def test_while_the_disk_is_silent_an_abort_is_done_and_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.journal.WRITE_DEADLINE_S", 0.5)
    async with life(path) as host:
        made = [await host.submit(f"web{number}") for number in range(20)]
        slow = _Slow(host.journal)
        await slow.begin()
        began = asyncio.get_running_loop().time()
        for m in made:
            assert (await host.end(m.id)).state is State.CANCELLED
        assert asyncio.get_running_loop().time() - began < 20 * 0.5  # one deadline, not twenty
        slow.end()
        while host.journal._overdue:
            await asyncio.sleep(0.01)
        await host.bookkeeper.once()
        assert host.journal.writable
        log = await host.journal.events(made[-1].id)
        assert [type(logged.event) for logged in log] == [ev.AbortAsked]
    async with life(path) as host:
        assert {m.state for m in host.controller.all()} == {State.CANCELLED}


async def test_it_counts_as_written_again_when_all_of_it_is_and_not_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.journal.WRITE_DEADLINE_S", 0.2)
    async with life(path) as host:
        m = await host.submit("web1")
        slow = _Slow(host.journal)
        await slow.begin()
        await host.end(m.id)
        slow.end()
        while host.journal._overdue:
            await asyncio.sleep(0.01)
        said, write = [], host.journal.write

        async def seen(*entries: JournalEntry) -> None:
            await write(*entries)
            said.append(host.journal.writable)

        monkeypatch.setattr(host.journal, "write", seen)
        await host.bookkeeper.once()
        assert said == [False]
        assert host.journal.writable


async def test_what_is_written_again_is_never_older_than_what_is_being_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(path) as host:
        m = await host.submit("web1")
        host.controller.records.dirty.add(m.id)  # as after a write that was given up
        slow = _Slow(host.journal)
        await slow.begin()
        ending = asyncio.create_task(host.end(m.id))
        while m.id not in host.controller.records.writing:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(host.journal, "probe", _nothing)  # it was made just before
        again = asyncio.create_task(host.controller.records.write_down())
        await asyncio.sleep(0)
        slow.end()
        assert (await ending).state is State.CANCELLED
        await again
    async with life(path) as host:
        assert [kept.state for kept in host.controller.all()] == [State.CANCELLED]


async def _nothing() -> None:
    return None


async def test_many_leases_of_one_report_are_written_at_once(path: Path) -> None:
    async with life(path) as host:
        said: list[str] = []
        store = host.journal._store
        await host.journal._ask(lambda: store._now_open.set_trace_callback(said.append))
        await host.granting.report("hostb", _report(1, *(f"l{n}" for n in range(2000))))
        assert said.count("COMMIT") == 1
    async with life(path) as host:
        assert sum(lease.granted for lease in host.granting.book) == 2000


async def test_the_loop_has_its_turn_between_reading_a_long_report_and_taking_it_up(
    path: Path,
) -> None:
    async with life(path) as host:
        report = asyncio.create_task(host.granting.report("hostb", _report(1, "l1", "l2")))
        await asyncio.sleep(0)  # its first turn
        assert list(host.granting.book) == []
        await report
        assert len(list(host.granting.book)) == 2


async def test_a_guest_of_many_leases_is_looked_after_once_when_they_are_given_back(
    path: Path,
) -> None:
    """A peer may say what it likes: it costs this host no more looks than there are guests."""
    async with life(path) as host:
        looked_after: list[list[str]] = []
        host.granting._changed = lambda uuids: looked_after.append(list(uuids))
        same = domain("web1")
        report = _report(1, *(f"l{n}" for n in range(50)))
        entries = tuple(structs.replace(entry, domain=same) for entry in report.leases)
        await host.granting.report("hostb", structs.replace(report, leases=entries))
        await host.granting.report("hostb", _report(2))
        assert max(map(len, looked_after)) == 1
        assert [same.uuid] in looked_after


async def test_a_long_report_has_few_guests_looked_at_and_the_next_ones_the_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with life(path) as host:
        looks: list[str] = []

        async def look(guest: Domain) -> tuple[()]:
            looks.append(guest.name)
            return ()

        monkeypatch.setattr(host.granting, "_objections", look)
        wanted = [f"l{n}" for n in range(2 * LOOKS_A_REPORT + 1)]
        for seq, known in enumerate((1, 2, 2 + 1 / LOOKS_A_REPORT), start=1):
            began = len(looks)
            answers = await host.granting.report("hostb", _report(seq, *wanted, phase="ready"))
            assert len(looks) - began <= LOOKS_A_REPORT
            assert len(answers.leases) == len(list(host.granting.book)) == known * LOOKS_A_REPORT
        assert sorted(looks) == sorted(wanted), "each once"


async def test_what_could_not_be_written_is_written_again_in_parts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write has a deadline: the more that waits, the less would ever be written."""
    monkeypatch.setattr("pmigd.daemon.records.WRITTEN_AT_ONCE", 4)
    async with life(path) as host:
        made = [await host.submit(f"web{n}") for n in range(10)]
        host.controller.records.dirty.update(m.id for m in made)
        sizes: list[int] = []
        write = host.journal.write

        async def counted(*entries: JournalEntry) -> None:
            sizes.append(len(entries))
            await write(*entries)

        monkeypatch.setattr(host.journal, "write", counted)
        await host.controller.records.write_down()
        assert sizes == [4, 4, 2]


async def test_a_lease_that_was_given_back_while_nothing_could_be_written_is_not_there_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.journal.store.BUSY_TIMEOUT_S", 0.01)
    async with life(path) as host:
        host.granting.load([lease("lease1")])
        await host.granting.report("hostb", _report(1, "lease1"))
        host.journal._store.close()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await host.granting.report("hostb", _report(2))
        assert not host.journal.writable
        other.execute("ROLLBACK")
        other.close()
        await host.bookkeeper.once()
        assert host.journal.writable
    async with life(path) as host:
        assert list(host.granting.book) == []


def lease(iden: str) -> Lease:
    return Lease(iden, "hostb", domain(iden), Phase.TRANSFER, granted=True, source="hostb")


def _report(seq: int, *idens: str, phase: str = "transfer") -> LeaseReport:
    entries = tuple(
        LeaseEntry(id=iden, domain=domain(iden), phase=Phase(phase), priority=50, ports=1)
        for iden in idens
    )
    return LeaseReport(source="hostb", seq=seq, leases=entries)
