"""A reload is whole or nothing, one after the other, and systemd hears of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import msgspec
import pytest

from pmigd.adapters.pool import CallPool
from pmigd.config.schema import Config, DaemonSection
from pmigd.daemon.reloading import Reloading, Take


def named(name: str) -> Config:
    return msgspec.structs.replace(Config(), daemon=DaemonSection(name=name))


class Daemon:
    """Writes down what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing = ""
        self.slow = 0

    async def prepare(self, new: Config) -> Take:
        name = new.daemon.name
        self.done.append(f"prepare {name}")
        for _ in range(self.slow):
            await asyncio.sleep(0)
        if self.failing == "prepare":
            raise OSError("the disk is gone")

        def take() -> None:
            if self.failing == "take":
                raise RuntimeError("nobody thought of it")
            self.done.append(f"take {name}")

        return take

    def reload_begins(self) -> None:
        self.done.append("reloading")

    def reload_is_over(self, *, ok: bool) -> None:
        self.done.append(f"ready {ok}")


@pytest.fixture
def pool() -> Iterator[CallPool]:
    pool = CallPool("names", 2)
    yield pool
    pool.stop()


async def _done(daemon: Daemon, reloading: Reloading, times: int) -> list[str]:
    task = asyncio.create_task(reloading.run())
    async with asyncio.timeout(10):
        while sum(said.startswith("ready") for said in daemon.done) < times:
            await asyncio.sleep(0.001)
    task.cancel()
    return daemon.done


def _fails() -> Config:
    raise ValueError("a fault in line 3")


async def test_those_asked_for_meanwhile_are_done_in_order_one_at_a_time(pool: CallPool) -> None:
    daemon = Daemon()
    daemon.slow = 20
    reloading = Reloading(Config(), pool, daemon, takes=[], prepares=[daemon.prepare])
    for name in ("a", "b", "c"):
        reloading.ask(lambda name=name: named(name))
    expected = [
        said
        for name in "abc"
        for said in ("reloading", f"prepare {name}", f"take {name}", "ready True")
    ]
    assert await _done(daemon, reloading, 3) == expected


@pytest.mark.parametrize(
    ("load", "failing", "done"),
    [
        (_fails, "", ["reloading", "ready False"]),
        (lambda: named("a"), "prepare", ["reloading", "prepare a", "ready False"]),
        (lambda: named("a"), "take", ["reloading", "prepare a", "ready False"]),
    ],
    ids=["the file", "what it names", "pmigd itself"],
)
async def test_one_that_fails_changes_nothing_and_the_next_is_taken_up(
    pool: CallPool, load: Callable[[], Config], failing: str, done: list[str]
) -> None:
    daemon = Daemon()
    daemon.failing = failing
    reloading = Reloading(Config(), pool, daemon, takes=[], prepares=[daemon.prepare])
    reloading.ask(load)
    assert await _done(daemon, reloading, 1) == done
    daemon.failing = ""
    reloading.ask(lambda: named("b"))
    after = ["reloading", "prepare b", "take b", "ready True"]
    assert await _done(daemon, reloading, 2) == done + after


async def test_no_part_takes_up_what_another_cannot_use(pool: CallPool) -> None:
    first, second = Daemon(), Daemon()
    second.failing = "prepare"
    told: list[Config] = []
    reloading = Reloading(
        named("before"), pool, first, takes=[told.append], prepares=[first.prepare, second.prepare]
    )
    reloading.ask(lambda: named("a"))
    assert await _done(first, reloading, 1) == ["reloading", "prepare a", "ready False"]
    assert (told, reloading.config.daemon.name) == ([], "before")
    second.failing = ""
    reloading.ask(lambda: named("b"))
    await _done(first, reloading, 2)
    assert [config.daemon.name for config in told] == ["b"]
    assert second.done[-1] == "take b"
    assert reloading.config.daemon.name == "b"
