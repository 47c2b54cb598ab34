"""Who waits, who holds what, and who may go: this host's one account and its queue.

Everything that changes either goes through here, in one step on the loop, so that a slot is never
given twice. What is decided is decided in :mod:`pmigd.core.admission`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pmigd.core.admission import (
    OPEN,
    Decision,
    Door,
    LeaseStanding,
    Situation,
    decide,
    leaving,
    why_waiting,
)
from pmigd.core.holdings import Account, Limits, held_of
from pmigd.core.leases import Lease
from pmigd.core.model import Direction, Migration, MigrationId, Now, State, Waiting
from pmigd.core.queue import Queue, entry_of
from pmigd.core.route import slow_start


class Gate:
    """The gate of `host`. `blocked` says what keeps everything from starting, or None.

    `limits` are those in force; `coming` finds the lease that stands for a guest's coming here, by
    its UUID: what has one is not counted twice.
    """

    def __init__(
        self,
        host: str,
        *,
        blocked: Callable[[], str | None],
        coming: Callable[[str], Lease | None],
        now: Callable[[], Now],
    ) -> None:
        self.queue = Queue()
        self.account = Account()
        self.limits = Limits()
        self.window = 1
        self.doors: dict[str, Door] = {}
        self.leases: dict[MigrationId, LeaseStanding] = {}
        self.taking: set[MigrationId] = set()
        """Those that leave the queue just now, and whose start is not durable yet."""
        self._host = host
        self._blocked = blocked
        self.coming = coming
        self._now = now

    def settle(self, migration: Migration) -> None:
        """Make queue and account agree with what has become of a migration."""
        if migration.id in self.taking:
            return  # about to start: it holds its slot until that is done, whatever comes between
        if migration.state is State.QUEUED:
            self.account.drop(migration.id)
            entry = entry_of(migration)
            if self.queue.get(migration.id) != entry:
                self.queue.put(entry)
            return
        self.queue.drop(migration.id)
        self.leases.pop(migration.id, None)
        held = held_of(migration)
        incoming = migration.direction is Direction.INCOMING
        if held is None or (incoming and self.coming(migration.domain.uuid)):
            self.account.drop(migration.id)
        else:
            self.account.put(migration.id, held)

    def take(self, iden: MigrationId) -> None:
        """One that may start leaves the queue and holds what it needs, in one step."""
        entry = self.queue.get(iden)
        if entry is None:
            return
        self.queue.drop(iden)
        self.leases.pop(iden, None)
        self.account.put(iden, leaving(entry))
        self.taking.add(iden)

    def taken(self, migration: Migration) -> None:
        """Its start was made, or came to nothing."""
        self.taking.discard(migration.id)
        self.settle(migration)

    def decide(self) -> Decision:
        """What is to be done now."""
        return decide(self.queue, self.situation())

    def why(self, migration: Migration, running: Iterable[Migration]) -> Waiting | None:
        """What a migration waits for, queued or before its start is seen; None if for nothing."""
        entry = self.queue.get(migration.id)
        if entry is None:
            return slow_start(migration, self._now().utc)
        progress = (m.progress for m in running if m.direction is Direction.OUTGOING)
        etas = sorted(eta for p in progress if p is not None and (eta := p.eta_s) is not None)
        return why_waiting(self.queue, entry, self.situation(), migration.created_at, etas)

    def door(self, destination: str) -> Door:
        """What is known of a destination."""
        return self.doors.get(destination, OPEN)

    def situation(self) -> Situation:
        """Everything that admission depends on, as it is now."""
        return Situation(
            host=self._host,
            account=self.account,
            limits=self.limits,
            doors=self.doors,
            leases=self.leases,
            blocked=self._blocked(),
            window=self.window,
            now=self._now().mono,
        )
