"""Whoever wants to know of changes: event streams and those who wait for an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pmigd.core.model import Migration, MigrationId

BACKLOG: Final = 1000
"""Changes that a reader may lag behind before it is let go: slow readers must not cost memory."""

ChangeKind = Literal["state", "progress", "action"]


@dataclass(frozen=True, slots=True)
class HubChange:
    """One change of one migration."""

    kind: ChangeKind
    at: datetime
    migration: Migration


class Subscription:
    """One reader's changes, in order and without a hole: who lagged too far behind gets what was
    kept until then, and then the end, as everybody does when the hub is closed."""

    def __init__(self, only: MigrationId | None) -> None:
        self.only = only
        self.lagged = False
        self._queue: asyncio.Queue[HubChange | None] = asyncio.Queue()
        self._ended = False

    def put(self, change: HubChange | None) -> None:
        """Add a change; None ends the subscription, and so does one that does not fit."""
        if self._ended:
            return
        if change is not None and self._queue.qsize() >= BACKLOG:
            self.lagged, change = True, None
        self._ended = change is None
        self._queue.put_nowait(change)

    async def get(self) -> HubChange | None:
        """The next change; None at the end, which is the end for good."""
        change = await self._queue.get()
        if change is None:
            self._queue.put_nowait(None)
        return change

    async def __aiter__(self) -> AsyncIterator[HubChange]:
        while (change := await self.get()) is not None:
            yield change


class Hub:
    """Passes every change to every subscription that wants it; never waits for a reader."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    @contextmanager
    def subscribe(self, only: MigrationId | None = None) -> Iterator[Subscription]:
        """Changes from now on, of one migration or of all."""
        subscription = Subscription(only)
        if self._closed:
            subscription.put(None)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, change: HubChange) -> None:
        """Tell everybody."""
        for subscription in self._subscriptions:
            if subscription.only is None or subscription.only == change.migration.id:
                subscription.put(change)

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.put(None)
