"""Streams and waits outlive the daemon, miss no end, and give up in time."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pmigd.client import (
    AsyncClient,
    BrokenError,
    Client,
    Connected,
    Event,
    NotEndedError,
    OddAnswerError,
    Outage,
    RefusedError,
    UnreachableError,
    link,
)
from tests.cli.stub import CUT, DEADLINE_S, Stub, event, migration, problem
from tests.client.conftest import Make, Sayer

ONE, TWO = migration(1)["id"], migration(2)["id"]
STREAM = f"/v1/migrations/{ONE}/events"


def states(events: Any) -> list[tuple[str, str, bool]]:
    return [(e.migration.id[-1], e.migration.state, e.caught_up) for e in events]


def test_the_events_of_one_end_with_it(client: Any, stub: Stub) -> None:
    stub.add(migration(1))
    stub.say(
        event("progress", migration(1, adopted=True)), event("state", migration(1, state="failed"))
    )
    found = list(client.events(ONE))
    assert states(found) == [
        ("1", "precopy", False),
        ("1", "precopy", False),
        ("1", "failed", False),
    ]
    assert [e.kind for e in found] == ["state", "progress", "state"]
    assert found[0].at == "2026-11-21T10:00:06Z"


def test_a_stream_that_breaks_is_taken_up_and_repeats_nothing(client: Any, stub: Stub) -> None:
    stub.add(migration(1))
    news: list[Any] = []
    stub.say(CUT, event("state", migration(1, state="succeeded")))
    found = list(client.events(ONE, told=news.append))
    assert states(found) == [("1", "precopy", False), ("1", "succeeded", False)]
    assert [type(n) for n in news] == [Connected, Connected]


def test_an_outage_is_told_once_and_outlived(stub: Stub) -> None:
    stub.add(migration(1))
    news: list[Any] = []
    away = threading.Event()

    def told(what: Connected | Outage) -> None:
        news.append(what)
        if isinstance(what, Outage):
            away.set()

    def restart() -> None:
        stub.sent("GET", STREAM)
        stub.stop()
        assert away.wait(DEADLINE_S)
        stub.migrations[ONE] = migration(1, state="succeeded")
        stub.start()

    thread = threading.Thread(target=restart)
    thread.start()
    ended = Client(str(stub.socket)).wait(ONE, told=told)
    thread.join()
    assert ended.succeeded
    assert [type(n) for n in news] == [Connected, Outage, Connected]
    assert "no such socket" in news[1].reason


def test_the_events_of_all_miss_no_end_while_the_daemon_is_away(stub: Stub) -> None:
    """What ended meanwhile is in no stream; it is told all the same, and once."""
    stub.add(migration(1), migration(2), migration(3, state="failed"))
    with Client(str(stub.socket)).events() as events:
        first = [next(events), next(events)]
        assert states(first) == [("1", "precopy", True), ("2", "precopy", True)]
        stub.say(event("state", migration(2, state="finishing")))
        assert states([next(events)]) == [("2", "finishing", False)]
        stub.stop()
        del stub.migrations[TWO]  # ended, and so long ago that it is not kept
        stub.migrations[ONE] = migration(1, state="succeeded")
        stub.add(migration(4))
        stub.start()
        rest = [next(events), next(events)]
    assert states(rest) == [("4", "precopy", True), ("1", "succeeded", True)]


def test_an_end_that_cannot_be_read_yet_is_told_after_the_next_connection(stub: Stub) -> None:
    stub.add(migration(1), migration(2))
    with Client(str(stub.socket)).events() as events:
        assert states([next(events), next(events)]) == [
            ("1", "precopy", True),
            ("2", "precopy", True),
        ]
        stub.answers["GET", f"/v1/migrations/{ONE}"] = (503, problem(503, "journal_unavailable"))
        stub.migrations[ONE] = migration(1, state="failed")
        stub.say(CUT)
        assert states([next(events)]) == [("2", "precopy", True)]
        del stub.answers["GET", f"/v1/migrations/{ONE}"]
        stub.say(CUT)
        rest = [next(events), next(events)]
    assert states(rest) == [("2", "precopy", True), ("1", "failed", True)]


def test_patience_ends(make: Make, stub: Stub) -> None:
    stub.stop()
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="no such socket"):
        make(str(stub.socket)).wait(ONE, patience_s=0.3)
    assert 0.3 <= time.monotonic() - began < 10


def test_a_wait_ends_in_time_and_says_that_the_migration_goes_on(client: Any, stub: Stub) -> None:
    stub.add(migration(1))
    began = time.monotonic()
    with pytest.raises(NotEndedError, match="goes on"):
        client.wait(ONE, timeout_s=0.3)
    assert 0.3 <= time.monotonic() - began < 10


def test_a_wait_is_over_in_a_state_that_is_waited_for(client: Any, stub: Stub) -> None:
    stub.add(migration(1, state="queued"))
    stub.say(event("state", migration(1, state="precopy")))
    assert client.wait(ONE, states=["precopy", "postcopy"]).state == "precopy"


@pytest.mark.parametrize("state", ["failed", "cancelled", "unresolved"])
def test_a_wait_is_over_at_any_end_and_where_a_person_has_to_look(
    client: Any, stub: Stub, state: str
) -> None:
    stub.add(migration(1, state=state))
    assert client.wait(ONE).state == state


def test_a_wait_for_what_never_comes_is_over_at_the_end(client: Any, stub: Stub) -> None:
    stub.add(migration(1, state="failed"))
    assert client.wait(ONE, states=["precopy"]).state == "failed"


def test_what_is_not_known_is_a_refusal_at_once(client: Any, stub: Stub) -> None:
    with pytest.raises(RefusedError) as refused:
        client.wait(ONE)
    assert refused.value.status == 404


def test_while_streams_are_refused_it_asks(client: Any, stub: Stub) -> None:
    stub.add(migration(1, state="succeeded"))
    stub.answers["GET", STREAM] = (503, problem(503, "too_busy"))
    assert client.wait(ONE).succeeded


def test_a_daemon_that_cannot_tell_is_as_far_as_one_that_is_away(client: Any, stub: Stub) -> None:
    stub.answers["GET", "/v1/events"] = (503, problem(503, "too_busy"))
    with pytest.raises(UnreachableError, match="it only answers: something is wrong"):
        list(client.events(patience_s=0.2))


def test_a_stream_that_falls_silent_is_dead(
    make: Make, sayer: Sayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "IDLE_S", 0.1)
    sayer.hangs_up = False
    sayer.says = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(BrokenError, match="no answer in time"):
        make(sayer.path).wait(ONE, patience_s=0.3)


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n"])
def test_a_line_that_is_none_is_not_pmigds(make: Make, sayer: Sayer, line: bytes) -> None:
    sayer.says = b"HTTP/1.1 200 OK\r\n\r\n" + line
    with pytest.raises(OddAnswerError, match="not pmigd"):
        make(sayer.path).wait(ONE, patience_s=0.2)


def test_another_thread_may_end_it(stub: Stub) -> None:
    stub.add(migration(1))
    events = Client(str(stub.socket)).events(ONE)
    assert next(events).migration.id == ONE
    threading.Timer(0.1, events.close).start()
    assert list(events) == []


def test_another_thread_may_end_it_while_the_daemon_is_away(stub: Stub) -> None:
    stub.stop()
    away = threading.Event()
    events = Client(str(stub.socket)).events(ONE, told=lambda _news: away.set())

    def close() -> None:
        assert away.wait(DEADLINE_S)
        events.close()

    threading.Thread(target=close).start()
    assert list(events) == []


async def test_a_task_may_be_cancelled_and_leaves_nothing_open(stub: Stub) -> None:
    stub.add(migration(1))
    client = AsyncClient(str(stub.socket))
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def follow() -> None:
        async for one in client.events(ONE):
            seen.put_nowait(one)

    task = asyncio.create_task(follow())
    assert (await asyncio.wait_for(seen.get(), DEADLINE_S)).migration.id == ONE
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_waits_share_a_loop(stub: Stub) -> None:
    stub.add(*(migration(n, state="succeeded") for n in range(1, 21)))
    client = AsyncClient(str(stub.socket))
    async with asyncio.timeout(DEADLINE_S):
        ended = await asyncio.gather(*(client.wait(migration(n)["id"]) for n in range(1, 21)))
    assert all(m.succeeded for m in ended)
