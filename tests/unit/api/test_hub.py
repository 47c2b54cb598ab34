"""Who reads changes gets all of them up to a point, and nothing after it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from pmigd.api.hub import BACKLOG, Hub, HubChange
from pmigd.core.model import Migration

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Named:
    """As much of a migration as the hub looks at."""

    def __init__(self, iden: str) -> None:
        self.id = iden


def change(iden: str = "1") -> HubChange:
    return HubChange("state", WHEN, cast(Migration, Named(iden)))


async def _all(subscription: Any) -> list[HubChange]:
    async with asyncio.timeout(5):
        return [each async for each in subscription]


@pytest.mark.parametrize("more", [0, 1, 500])
async def test_a_slow_reader_gets_everything_up_to_a_point_and_the_end(more: int) -> None:
    hub = Hub()
    changes = [change() for _ in range(BACKLOG + more)]
    with hub.subscribe() as subscription:
        for each in changes:
            hub.publish(each)
        if not more:
            hub.close()
        got = await _all(subscription)
        assert [id(each) for each in got] == [id(each) for each in changes[:BACKLOG]]
        assert subscription.lagged is bool(more)


async def test_nothing_comes_after_the_hole() -> None:
    hub = Hub()
    with hub.subscribe() as subscription:
        for _ in range(BACKLOG + 1):
            hub.publish(change())
        for _ in range(10):  # it reads again, and so there would be room
            await subscription.get()
        for _ in range(5):
            hub.publish(change("late"))
        got = await _all(subscription)
        assert len(got) == BACKLOG - 10
        assert all(each.migration.id == "1" for each in got)
        assert await subscription.get() is None  # and it stays at its end


async def test_a_reader_that_waits_hears_of_the_hubs_end() -> None:
    hub = Hub()
    with hub.subscribe() as subscription:
        waiting = asyncio.create_task(_all(subscription))
        await asyncio.sleep(0)
        hub.close()
        assert await waiting == []
        assert not subscription.lagged
    with hub.subscribe() as late:
        assert await _all(late) == []
