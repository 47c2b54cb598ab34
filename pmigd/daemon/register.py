"""The migrations of this host as data: which there are, and by what each is found.

It does nothing to them and waits for nothing; :class:`pmigd.daemon.controller.Controller` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pmigd.core.model import Migration, MigrationId, Now, State
from pmigd.core.problem import Code

KEEP_CLOSED: Final = 1000
"""Migrations that are kept for 'list --all' after their end."""
PRUNE_EVERY: Final = 100
FORGET_AFTER_S: Final = 60.0


class Register:
    """All migrations that are kept."""

    def __init__(self, now: Callable[[], Now]) -> None:
        self.now = now
        self._all: dict[MigrationId, Migration] = {}
        self._open_of: dict[str, list[MigrationId]] = {}
        """By the domain's UUID, the one that events are about first; "" is of those not known."""
        self._running: set[MigrationId] = set()
        self._by_key: dict[str, MigrationId] = {}
        self._ended_at: dict[str, float] = {}
        self._left_behind: dict[str, int] = {}
        self._closed_since_prune = 0

    def __getitem__(self, iden: MigrationId) -> Migration:
        return self._all[iden]

    def get(self, iden: str) -> Migration | None:
        """One migration, or None."""
        return self._all.get(MigrationId(iden))

    def all(self) -> Iterator[Migration]:
        """All kept ones, newest first."""
        for iden in sorted(self._all, reverse=True):
            yield self._all[iden]

    def open(self) -> list[Migration]:
        """All that are not terminal."""
        return [self._all[iden] for idens in self._open_of.values() for iden in idens]

    def running(self) -> list[Migration]:
        """The open ones that have left the queue: those with a supervisor's attention."""
        return [self._all[iden] for iden in self._running]

    def of_domain(self, uuid: str) -> Migration | None:
        """The open migration of a domain, or None."""
        idens = self._open_of.get(uuid)
        return self._all[idens[0]] if idens else None

    def ended_within(self, uuid: str, seconds: float) -> bool:
        """Whether a migration of the domain ended just now: late events are still about it."""
        ended = self._ended_at.get(uuid)
        return ended is not None and self.now().mono - ended < seconds

    def is_left_behind(self, uuid: str, run: int) -> bool:
        """Whether that run of a domain is only what a migration, which is over, has left here."""
        return run != 0 and self._left_behind.get(uuid) == run

    def closed(self) -> int:
        """How many have ended."""
        return sum(not m.open for m in self._all.values())

    @property
    def many_have_ended(self) -> bool:
        """Whether it is worth while to forget the oldest."""
        return self._closed_since_prune >= PRUNE_EVERY

    def may_be_of(self, name: str) -> MigrationId | None:
        """An open one whose row in the journal cannot be read, if it may be of that domain."""
        idens = self._open_of.get("", ())
        return next((x for x in idens if self._all[x].domain.name in ("", name)), None)

    def by_key(self, key: str) -> Migration | None:
        """The one that was submitted with that idempotency key, or None."""
        iden = self._by_key.get(key)
        return None if iden is None else self._all[iden]

    def _put(self, migration: Migration) -> None:
        """One more is known."""
        self._all[migration.id] = migration
        self._note_left_behind(migration)
        if migration.open:
            self._open_of.setdefault(migration.domain.uuid, []).append(migration.id)
        self._count(migration)
        if migration.idempotency_key is not None:
            self._by_key[migration.idempotency_key] = migration.id

    def _take_back(self, migration: Migration) -> None:
        """One is not known after all."""
        self._all.pop(migration.id)
        if migration.id in (idens := self._open_of.get(migration.domain.uuid, [])):
            idens.remove(migration.id)

    def _count(self, migration: Migration) -> None:
        """Have it among those that run, or not, by its state."""
        if migration.open and migration.state is not State.QUEUED:
            self._running.add(migration.id)
        else:
            self._running.discard(migration.id)

    def _ended(self, migration: Migration) -> None:
        """One has come to its end."""
        idens = self._open_of[migration.domain.uuid]
        idens.remove(migration.id)
        if not idens:
            del self._open_of[migration.domain.uuid]
        self._ended_at[migration.domain.uuid] = self.now().mono
        self._note_left_behind(migration)
        self._closed_since_prune += 1

    def _note_left_behind(self, migration: Migration) -> None:
        """Half a copy that nobody can go on with is not taken for a migration that others began."""
        problem = migration.problem
        if problem is not None and problem.code in (Code.POSTCOPY_LOST, Code.LEFTOVER_COPY):
            self._left_behind[migration.domain.uuid] = migration.evidence.run_before

    def _forget_old(self) -> list[Migration]:
        """Keep memory from growing without end: those that it has forgotten."""
        self._closed_since_prune = 0
        now = self.now().mono
        self._ended_at = {u: at for u, at in self._ended_at.items() if now - at < FORGET_AFTER_S}
        closed = sorted((iden for iden, m in self._all.items() if not m.open), reverse=True)
        old = [self._all.pop(iden) for iden in closed[KEEP_CLOSED:]]
        for migration in old:
            key = migration.idempotency_key
            if key is not None and self._by_key.get(key) == migration.id:
                del self._by_key[key]
        return old
