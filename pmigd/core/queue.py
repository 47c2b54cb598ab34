"""The waiting migrations in the order in which they are to start, kept per destination.

The order is by priority with ageing: a priority is worth so much waiting time, so everything gets
to the head in the end and the order of two never changes. Putting in, taking out and finding a
position cost nearly the same whether ten or ten thousand wait.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import merge
from typing import Final

from pmigd.core.holdings import Login, login_of
from pmigd.core.model import Migration, MigrationId

AGE_S_PER_POINT: Final = 60.0
"""Waiting time that one point of priority is worth: 100 points are 100 minutes."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A waiting migration. Entries compare by their turn; ids break ties in submission order.

    `login` is how libvirt will connect to the destination.
    """

    turn: float
    id: MigrationId
    destination: str
    login: Login = field(default="tls", compare=False)


def entry_of(migration: Migration) -> Entry:
    """The entry of a queued migration."""
    turn = migration.created_at.timestamp() - AGE_S_PER_POINT * migration.request.priority
    uri = migration.target.uri if migration.target else ""
    return Entry(turn, migration.id, migration.destination, login_of(uri))


class Queue:
    """Entries, next first."""

    def __init__(self) -> None:
        self._entries: dict[MigrationId, Entry] = {}
        self._by_destination: dict[str, list[Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return self.in_turn()

    def put(self, entry: Entry) -> None:
        """Put one in at its turn, or move it there."""
        self.drop(entry.id)
        self._entries[entry.id] = entry
        insort(self._by_destination.setdefault(entry.destination, []), entry)

    def drop(self, iden: MigrationId) -> None:
        """Take one out; one that does not wait is no mistake."""
        entry = self._entries.pop(iden, None)
        if entry is None:
            return
        line = self._by_destination[entry.destination]
        del line[bisect_left(line, entry)]
        if not line:
            del self._by_destination[entry.destination]

    def get(self, iden: MigrationId) -> Entry | None:
        """The entry of one, or None."""
        return self._entries.get(iden)

    def in_turn(self, shut: AbstractSet[str] = frozenset()) -> Iterator[Entry]:
        """All, next first. A destination that is put into `shut` meanwhile is left out from then.

        Lazy: whoever takes only the first few pays only for them.
        """

        def line(destination: str, entries: list[Entry]) -> Iterator[Entry]:
            for entry in entries:
                if destination in shut:
                    return
                yield entry

        return merge(*(line(name, entries) for name, entries in self._by_destination.items()))

    def position(self, entry: Entry) -> int:
        """How many are before it, and itself: 1 is next."""
        return 1 + sum(bisect_left(line, entry) for line in self._by_destination.values())

    def first_to(self, destination: str) -> Entry:
        """The next one to a destination to which some wait."""
        return self._by_destination[destination][0]

    def to(self, destination: str) -> list[Entry]:
        """Those to one destination, next first."""
        return list(self._by_destination.get(destination, ()))

    def any_to(self, destination: str) -> bool:
        """Whether some wait for that destination."""
        return destination in self._by_destination
