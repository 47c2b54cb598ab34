"""What was started is stopped the last first, whatever one of them does, and within its time."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from pmigd.daemon.stopping import Stack


async def test_the_last_is_stopped_first_and_one_that_fails_or_hangs_keeps_none_from_it() -> None:
    stopped: list[str] = []
    stack = Stack()

    async def slowly() -> None:
        await asyncio.sleep(0)
        stopped.append("slow")

    def fails() -> None:
        raise OSError("the disk is gone")

    stack.push("first", lambda: stopped.append("first"))
    stack.push("slow", slowly)
    stack.push("hangs", asyncio.Event().wait, within_s=0.01)
    stack.push("fails", fails)
    stack.push("last", lambda: stopped.append("last"))
    with capture_logs() as said:
        async with asyncio.timeout(10):
            await stack.unwind()
    assert stopped == ["last", "slow", "first"]
    assert [(line["event"], line["part"]) for line in said] == [
        ("not stopped", "fails"),
        ("not stopped in time", "hangs"),
    ]


async def test_when_the_time_is_over_each_is_still_told_and_none_waited_for() -> None:
    told: list[str] = []
    stack = Stack(all_s=0.05)

    def hangs(name: str) -> None:
        async def hang() -> None:
            told.append(name)
            await asyncio.Event().wait()

        stack.push(name, hang, within_s=60)

    for name in "abc":
        hangs(name)
    with capture_logs() as said:
        async with asyncio.timeout(10):
            await stack.unwind()
    assert told == ["c", "b", "a"]
    assert said[-1] == {
        "event": "stopped without waiting any longer",
        "after_s": 0.05,
        "log_level": "error",
    }
