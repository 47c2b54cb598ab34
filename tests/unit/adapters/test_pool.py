"""Threads for blocking calls: whoever waits gives up in time, and nothing is lost for good."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pmigd.adapters.pool import CallPool, Overdue, run_in_thread


async def settled(condition) -> None:
    """Wait for what threads do at their own pace."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_call_gives_its_result_or_its_exception_and_is_observed() -> None:
    seen: list[tuple[str, bool]] = []
    pool = CallPool("test", 2, observe=lambda name, _seconds, failed: seen.append((name, failed)))
    assert await pool.call("good", 5, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await pool.call("bad", 5, lambda: 1 // 0)
    assert seen == [("good", False), ("bad", True)]
    pool.stop()


async def test_calls_run_in_threads_that_do_not_hold_the_process() -> None:
    pool = CallPool("test", 1)
    thread = await pool.call("who", 5, threading.current_thread)
    assert thread.daemon
    assert thread.name.startswith("pmigd-test-")
    pool.stop()


async def test_whoever_waits_gives_up_at_the_deadline_and_the_thread_is_back_afterwards() -> None:
    pool, release = CallPool("test", 1), threading.Event()
    with pytest.raises(Overdue, match="slow"):
        await pool.call("slow", 0.02, release.wait)
    assert pool.busy == 1
    release.set()
    assert await pool.call("next", 5, lambda: "served") == "served"
    pool.stop()


async def test_a_call_that_no_thread_has_begun_is_not_made_after_its_deadline() -> None:
    pool, release, made = CallPool("test", 1), threading.Event(), []
    first = asyncio.create_task(pool.call("first", 5, release.wait))
    await settled(lambda: pool.busy == 1)
    with pytest.raises(Overdue):
        await pool.call("second", 0.02, lambda: made.append(1))
    release.set()
    assert await first
    assert await pool.call("third", 5, lambda: list(made)) == []
    pool.stop()


async def test_overdue_threads_are_replaced_and_go_when_they_come_back() -> None:
    pool, release = CallPool("test", 1, replace_overdue=True), threading.Event()
    for number in (1, 2):
        with pytest.raises(Overdue):
            await pool.call("stuck", 0.02, release.wait)
        assert pool.overdue == number
    assert await pool.call("next", 5, lambda: "served") == "served"
    release.set()
    await settled(lambda: pool.overdue == 0 and pool.busy == 0)
    assert await pool.call("after", 5, lambda: "served") == "served"
    pool.stop()


async def test_a_cancelled_wait_does_not_disturb_the_next() -> None:
    pool, release = CallPool("test", 1), threading.Event()
    waiting = asyncio.create_task(pool.call("first", 5, release.wait))
    await settled(lambda: pool.busy == 1)
    waiting.cancel()
    release.set()
    assert await pool.call("next", 5, lambda: "served") == "served"
    pool.stop()


async def test_a_long_call_has_a_named_thread_of_its_own() -> None:
    thread = await run_in_thread("pmigd-perform-web1", threading.current_thread)
    assert (thread.name, thread.daemon) == ("pmigd-perform-web1", True)
