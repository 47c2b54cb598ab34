"""No task ends unseen: whatever fails is told with its name and owner, and nobody waits in vain."""

from __future__ import annotations

import ast
import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pmigd.adapters import tasks
from pmigd.adapters.tasks import Tasks, awaited, hear

ROOT = Path(__file__).parents[3] / "pmigd"
MAKERS = {"create_task", "ensure_future", "run_coroutine_threadsafe"}


@pytest.fixture
async def said() -> AsyncIterator[list[Any]]:
    """What is logged, where the loop hears as the daemon's does."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    hear(loop)
    with capture_logs() as lines:
        yield lines
    loop.set_exception_handler(before)


async def _fails() -> None:
    raise ValueError("a mistake of ours")


async def test_one_that_fails_is_told_with_its_owner_and_whoever_waits_hears_of_it(
    said: list[Any],
) -> None:
    heard: list[str] = []
    owned = Tasks("watcher")
    task = owned.begun(
        "look", _fails, failed=lambda: heard.append("failed"), about={"domain": "web1"}
    )
    async with asyncio.timeout(10):
        await task
    assert heard == ["failed"]
    line = said[0]
    assert isinstance(line.pop("exc_info"), ValueError)
    assert said == [
        {
            "event": "a task failed",
            "log_level": "error",
            "owner": "watcher",
            "task": "look",
            "domain": "web1",
        }
    ]


async def test_one_that_is_ended_by_its_owner_has_not_failed(said: list[Any]) -> None:
    owned = Tasks("watcher")
    owned.begin("long", asyncio.Event().wait)  # type: ignore[arg-type]
    early = owned.begun("not begun yet", _fails)
    async with asyncio.timeout(10):
        await owned.stop()
    assert early.cancelled()
    assert said == []


async def test_one_that_is_kept_is_begun_again_whether_it_fails_or_ends(
    said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.0)
    begun = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            enough.set()
        if begun == 1:
            raise ValueError("a mistake of ours")

    owned = Tasks("daemon")
    owned.keep("scan", work)
    async with asyncio.timeout(10):
        await enough.wait()
        await owned.stop()
    assert [line["task"] for line in said] == ["scan"]


async def test_what_nobody_took_is_told_by_the_name_of_its_task(said: list[Any]) -> None:
    async with asyncio.timeout(10):
        await asyncio.wait({awaited("forgotten", _fails())})
    gc.collect()
    assert [(line["event"], line["task"]) for line in said] == [
        ("Task exception was never retrieved", "forgotten")
    ]


async def test_a_callback_that_fails_is_told(said: list[Any]) -> None:
    def fails() -> None:
        raise ValueError("a mistake of ours")

    asyncio.get_running_loop().call_soon(fails)
    await asyncio.sleep(0)
    assert "Exception in callback" in said[0]["event"]
    assert isinstance(said[0]["exc_info"], ValueError)


def test_nothing_else_makes_tasks() -> None:
    """A group of tasks ends with its block, and raises what they did: that is a guard, too."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        if path != Path(tasks.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MAKERS
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "group")
    ]
    assert found == []
