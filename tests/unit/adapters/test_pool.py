"""Threads for blocking calls: nobody waits in vain, nothing is lost, nothing is done too late."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from pmigd.adapters.pool import CallPool, Overdue, StillOut, Turn, Withdrawn, start_thread


async def settled(condition: Callable[[], bool]) -> None:
    """Wait for what threads do at their own pace."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def release() -> AsyncIterator[threading.Event]:
    """What hanging calls wait for; set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def begin(coroutine) -> asyncio.Task:
    return asyncio.get_running_loop().create_task(coroutine)


async def test_a_call_gives_its_result_or_its_exception_and_is_observed() -> None:
    seen: list[tuple[str, bool]] = []
    pool = CallPool("test", 2, observe=lambda name, _seconds, failed: seen.append((name, failed)))
    assert await pool.call("good", 5, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await pool.call("bad", 5, lambda: 1 // 0)
    assert seen == [("good", False), ("bad", True)]
    pool.stop()


async def test_a_calls_own_time_out_is_not_taken_for_the_deadline() -> None:
    def fail() -> None:
        raise TimeoutError("of the call")

    pool = CallPool("test", 1)
    with pytest.raises(TimeoutError, match="of the call"):
        await pool.call("bad", 5, fail)
    pool.stop()


async def test_calls_run_in_threads_that_do_not_hold_the_process() -> None:
    pool = CallPool("test", 1)
    thread = await pool.call("who", 5, threading.current_thread)
    assert thread.daemon
    assert thread.name.startswith("pmigd-test-")
    pool.stop()


async def test_threads_come_with_need_up_to_the_size_and_are_used_again(release) -> None:
    pool = CallPool("test", 3)
    first = await pool.call("who", 5, threading.current_thread)
    assert await pool.call("who", 5, threading.current_thread) is first
    calls = [begin(pool.call("wait", 5, release.wait)) for _ in range(5)]
    await settled(lambda: pool.busy == 3)
    assert pool.waiting == 2
    assert len([t for t in threading.enumerate() if t.name.startswith("pmigd-test-")]) >= 3
    release.set()
    assert all(await asyncio.gather(*calls))
    assert (pool.busy, pool.waiting) == (0, 0)
    pool.stop()


async def test_a_place_comes_back_when_the_thread_has_ended_not_at_the_deadline(release) -> None:
    pool = CallPool("test", 1)
    with pytest.raises(Overdue, match="slow"):
        await pool.call("slow", 0.02, release.wait)
    assert (pool.busy, pool.overdue) == (1, 1)
    with pytest.raises(Overdue, match="next"):
        await pool.call("next", 0.02, lambda: "served")
    release.set()
    assert await pool.call("next", 5, lambda: "served") == "served"
    assert (pool.busy, pool.overdue) == (0, 0)
    pool.stop()


async def test_an_answer_that_came_in_time_is_one_though_the_loop_comes_late() -> None:
    pool = CallPool("test", 1)
    call = begin(pool.call("brisk", 0.05, lambda: "served"))
    await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 - this is what is tested
    assert await call == "served"
    pool.stop()


async def test_a_cancelled_wait_gives_no_place_back_either(release) -> None:
    pool = CallPool("test", 1)
    for call in (
        pool.call("look", 5, release.wait),
        pool.run("command", release.wait, expected_s=5),
    ):
        waiting = begin(call)
        await settled(lambda: pool.busy == 1)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert pool.busy == 1
        with pytest.raises(Overdue):
            await pool.call("next", 0.02, lambda: "served")
        release.set()
        assert await pool.call("next", 5, lambda: "served") == "served"
        release.clear()
    pool.stop()


@pytest.mark.parametrize("how", ["overdue", "a cancelled look", "a cancelled command"])
async def test_what_was_given_up_before_it_was_begun_is_never_done(how, release) -> None:
    pool, made = CallPool("test", 1), []
    first = begin(pool.call("first", 5, release.wait))
    await settled(lambda: pool.busy == 1)
    if how == "overdue":
        with pytest.raises(Overdue):
            await pool.call("second", 0.02, lambda: made.append(1))
    else:
        call = (
            pool.call("second", 5, lambda: made.append(1))
            if how == "a cancelled look"
            else pool.run("second", lambda: made.append(1), expected_s=5)
        )
        second = begin(call)
        await settled(lambda: pool.waiting == 1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    assert pool.waiting == 0
    release.set()
    assert await first
    assert await pool.call("third", 5, lambda: list(made)) == []
    pool.stop()


async def test_a_call_with_a_turn_can_be_prevented_until_it_begins_it(release) -> None:
    """As a call does that has a thread, but waits for a connection."""
    pool, turn, made = CallPool("test", 1), Turn(), []

    def late() -> None:
        release.wait()
        if not turn.begin():
            raise Withdrawn
        made.append(1)

    with pytest.raises(Overdue):
        await pool.call("late", 0.02, late, turn=turn)
    assert turn.withdrawn
    release.set()
    assert await pool.call("next", 5, lambda: list(made)) == []
    pool.stop()


async def test_one_that_hangs_takes_its_places_and_nothing_from_others(release) -> None:
    pool = CallPool("test", 8, each=1)
    for guest in ("x", "y"):
        with pytest.raises(Overdue):
            await pool.call("look", 0.02, release.wait, key=guest)
    made = []
    for _ in range(20):
        with pytest.raises(StillOut) as refused:
            await pool.call("look", 60, lambda: made.append(1), key="x")
        assert refused.value.for_s >= 0.02
        assert await pool.call("look", 5, lambda: "z", key="z") == "z"
    assert pool.busy == 2
    assert pool.overdue_by_key() == {"x": 1, "y": 1}
    release.set()
    await settled(lambda: pool.busy == 0)
    assert pool.overdue_by_key() == {}
    assert await pool.call("look", 5, lambda: "x", key="x") == "x"
    assert made == []
    pool.stop()


async def test_whoever_waits_behind_a_call_that_hangs_is_told_so(release) -> None:
    pool = CallPool("test", 8, each=1)
    first = begin(pool.call("first", 5, release.wait, key="x"))
    await settled(lambda: pool.busy == 1)
    with pytest.raises(StillOut, match="earlier"):
        await pool.call("second", 0.02, lambda: "served", key="x")
    release.set()
    assert await first
    pool.stop()


async def test_a_key_may_have_more_than_one_place(release) -> None:
    pool = CallPool("test", 8, each=2)
    for _ in range(2):
        with pytest.raises(Overdue, match="no answer"):
            await pool.call("ask", 0.02, release.wait, key="peer")
    with pytest.raises(StillOut):
        await pool.call("ask", 5, lambda: "served", key="peer")
    pool.stop()


async def test_commands_of_one_key_are_made_in_their_order_one_at_a_time(release) -> None:
    pool, made, at_once = CallPool("test", 8, each=1), [], []

    def act(number: int) -> None:
        at_once.append(pool.busy)
        made.append(number)

    hanging = begin(pool.run("act", release.wait, key="x", expected_s=0.01))
    await settled(lambda: pool.busy == 1)
    after = [begin(pool.run("act", lambda n=n: act(n), key="x", expected_s=5)) for n in range(5)]
    await settled(lambda: pool.overdue == 1)
    assert await pool.run("act", lambda: "other", key="y", expected_s=5) == "other"
    # They wait for the one before them, not for a thread.
    assert (made, pool.waiting) == ([], 0)
    after[1].cancel()
    await asyncio.wait([after[1]])
    release.set()
    assert await hanging, "a late result is a result"
    await asyncio.gather(*after, return_exceptions=True)
    assert made == [0, 2, 3, 4]
    assert max(at_once) == 1
    pool.stop()


async def test_quiet_comes_when_no_thread_of_a_key_is_out_any_more(release) -> None:
    pool = CallPool("test", 8, each=1)
    await pool.quiet("x")
    command = begin(pool.run("act", release.wait, key="x", expected_s=5))
    await settled(lambda: pool.busy == 1)
    command.cancel()  # nobody waits for it, but its thread is out
    await asyncio.wait([command])
    quiet = begin(pool.quiet("x"))
    await pool.quiet("y")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await asyncio.shield(quiet)
    release.set()
    async with asyncio.timeout(5):
        await quiet
    assert pool.busy == 0
    pool.stop()


async def test_many_callers_from_the_loop_and_few_threads_lose_no_call() -> None:
    pool = CallPool("test", 3, each=1)
    keys = [f"k{n % 5}" for n in range(500)]
    answers = await asyncio.gather(*(pool.call("c", 20, lambda k=k: k, key=k) for k in keys))
    assert answers == keys
    assert (pool.busy, pool.waiting) == (0, 0)
    pool.stop()


async def test_idle_threads_go_and_others_come(monkeypatch) -> None:
    monkeypatch.setattr("pmigd.adapters.pool.IDLE_S", 0.001)
    pool = CallPool("brief", 2)
    for _ in range(100):
        assert await pool.call("c", 5, lambda: 1) == 1
        await asyncio.sleep(0.001)
    await settled(lambda: not [t for t in threading.enumerate() if "pmigd-brief" in t.name])
    assert await pool.call("c", 5, lambda: 2) == 2
    pool.stop()


def test_a_turn_is_decided_once() -> None:
    taken, prevented = Turn(), Turn()
    assert taken.begin()
    assert not taken.withdraw()
    assert not taken.begin(), "a call is made once"
    assert (taken.begun, taken.withdrawn) == (True, False)
    assert prevented.withdraw()
    assert prevented.withdraw(), "the proof does not wear out"
    assert not prevented.begin()
    assert (prevented.begun, prevented.withdrawn) == (False, True)


async def test_an_error_does_not_bring_what_its_thread_had_in_hand_to_the_loop() -> None:
    """A libvirt domain freed on the loop may have to close its connection there, and wait."""
    freed_by = []

    class Held:
        def __del__(self) -> None:
            freed_by.append(threading.current_thread().name)

    def inner(held: Held) -> None:
        raise ValueError(str(id(held)))

    def fail() -> None:
        held = Held()
        try:
            inner(held)
        except ValueError as error:
            raise KeyError("outer") from error

    pool = CallPool("test", 1)
    with pytest.raises(KeyError) as caught:
        await pool.call("bad", 5, fail)
    assert [name.startswith("pmigd-test-") for name in freed_by] == [True]
    assert caught.traceback, "where it was raised is still told"
    pool.stop()


async def test_a_long_thing_has_a_named_thread_of_its_own() -> None:
    seen = []
    start_thread("pmigd-perform-web1", lambda: seen.append(threading.current_thread()))
    await settled(lambda: bool(seen))
    assert (seen[0].name, seen[0].daemon) == ("pmigd-perform-web1", True)
