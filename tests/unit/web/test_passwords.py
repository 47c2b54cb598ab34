"""What a check of a password costs, and what is remembered of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import bcrypt
import pytest

from pmigd.adapters.pool import CallPool
from pmigd.adapters.web.passwords import (
    MAX_REMEMBERED,
    MAX_WAITING,
    Passwords,
    TooManyWaiting,
)


def _hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


class World:
    def __init__(self) -> None:
        self.calls = 0
        self.pool = CallPool("passwords", 1, observe=self._count)
        self.passwords = Passwords(self.pool)

    def _count(self, _name: str, _seconds: float, _failed: bool) -> None:
        self.calls += 1


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.pool.stop()


async def test_only_a_right_password_is_remembered(world: World) -> None:
    users = {"ann": _hashed("a")}
    for _ in range(3):
        assert await world.passwords.right(users, "ann", "a")
    assert world.calls == 1
    for _ in range(3):
        assert not await world.passwords.right(users, "ann", "b")
    assert world.calls == 4


async def test_a_changed_hash_is_checked_anew(world: World) -> None:
    assert await world.passwords.right({"ann": _hashed("a")}, "ann", "a")
    assert not await world.passwords.right({"ann": _hashed("b")}, "ann", "a")
    assert not await world.passwords.right({"bob": _hashed("a")}, "ann", "a")


async def test_a_user_that_does_not_exist_is_checked_like_one_that_does(world: World) -> None:
    assert not await world.passwords.right({"ann": _hashed("a")}, "bob", "a")
    assert not await world.passwords.right({"ann": _hashed("")}, "", "")
    assert world.calls == 2


async def test_user_and_password_do_not_run_into_each_other(world: World) -> None:
    one = _hashed("c")
    assert await world.passwords.right({"ab": one, "a": one}, "ab", "c")
    assert not await world.passwords.right({"ab": one, "a": one}, "a", "bc")


async def test_any_bytes_may_be_given(world: World) -> None:
    users = {"ann": _hashed("a")}
    for password in ("\0", "\udcff", "x" * 5000, "é" * 40):
        assert not await world.passwords.right(users, "ann", password)
    long = bcrypt.hashpw(b"y" * 72, bcrypt.gensalt(4)).decode()
    assert await world.passwords.right({"ann": long}, "ann", "y" * 100)


async def test_so_many_wait_and_no_more(world: World) -> None:
    users = {"ann": _hashed("a")}
    asked = (world.passwords.right(users, "ann", f"wrong {n}") for n in range(MAX_WAITING + 3))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers[-3:]] == [TooManyWaiting] * 3
    assert answers[:-3] == [False] * MAX_WAITING
    assert await world.passwords.right(users, "ann", "a")


async def test_what_is_remembered_is_bounded(world: World) -> None:
    stored = _hashed("a")
    for number in range(MAX_REMEMBERED + 1):
        assert await world.passwords.right({str(number): stored}, str(number), "a")
    assert len(world.passwords._known) == MAX_REMEMBERED
