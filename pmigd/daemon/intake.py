"""New migrations: from a request whose destination is known to a place in the queue, durably."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from pmigd.core.facts import DomainFacts
from pmigd.core.model import Migration, MigrationId, Power, Request, Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import ONLY_AN_OPERATOR, Code, refuse
from pmigd.core.trace import Trace
from pmigd.daemon.controller import Controller


class Intake:
    """Queues migrations of `migrations`, at most `queue_max` at a time."""

    def __init__(self, migrations: Controller, hypervisor: Hypervisor, *, queue_max: int) -> None:
        self.queue_max = queue_max
        self._migrations = migrations
        self._hypervisor = hypervisor
        self._claimed: set[str] = set()
        self._arriving = 0
        self._keys: dict[str, asyncio.Lock] = {}

    async def submit(
        self,
        request: Request,
        target: Target,
        *,
        by: str,
        key: str | None = None,
        asked: str = "",
        caller: Trace | None = None,
    ) -> Migration:
        """Queue a migration, durably. With a known `key` the first one is returned again.

        `asked` is the request's fingerprint, `caller` the trace that it is asked for in.

        Raises Refused: domain_not_found, domain_not_running, domain_busy, queue_full,
        idempotency_conflict, libvirt_unavailable, journal_unavailable, shutting_down.
        """
        fresh = partial(self._submit, request, target, by=by, key=key, asked=asked, caller=caller)
        if key is None:
            return await self._with_a_place(fresh)
        # A repeat waits until it is known what became of the first one.
        lock = self._keys.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (first := self._known(key, asked, request)) is not None:
                    return first
                return await self._with_a_place(fresh)
        finally:
            if not lock.locked():
                self._keys.pop(key, None)

    async def _with_a_place(self, submit: Callable[[], Awaitable[Migration]]) -> Migration:
        """Submit with a place in the queue that nobody else is given meanwhile."""
        self._check_room()
        self._arriving += 1
        try:
            return await submit()
        finally:
            self._arriving -= 1

    async def _submit(
        self,
        request: Request,
        target: Target,
        *,
        by: str,
        key: str | None,
        asked: str,
        caller: Trace | None,
    ) -> Migration:
        facts = await self._hypervisor.lookup(request.domain)
        if facts.view.gone and not request.offline:
            raise refuse(Code.DOMAIN_NOT_RUNNING, f"'{facts.domain.name}' is {facts.view.power}.")
        migrations = self._migrations
        await migrations.look_at_arrival(facts.domain)
        self._check_idle(facts)
        migration = Migration(
            id=MigrationId(migrations.new_id()),
            request=request,
            domain=facts.domain,
            source=migrations.host,
            destination=target.name,
            created_at=migrations.now().utc,
            target=target,
            submitted_by=by,
            idempotency_key=key,
            asked=asked,
            trace=migrations.begin_trace(caller),
        )
        # While the journal is written nobody else may claim the same domain.
        if facts.domain.uuid in self._claimed:
            raise refuse(Code.DOMAIN_BUSY, f"'{facts.domain.name}' is being submitted right now.")
        self._claimed.add(facts.domain.uuid)
        try:
            return await migrations.add(migration)
        finally:
            self._claimed.discard(facts.domain.uuid)

    def _known(self, key: str, asked: str, request: Request) -> Migration | None:
        first = self._migrations.by_key(key)
        if first is None:
            return None
        same = first.asked == asked if first.asked else first.request == request
        unreadable = first.problem is not None and first.problem.code in ONLY_AN_OPERATOR
        if not (same or unreadable):
            raise refuse(
                Code.IDEMPOTENCY_CONFLICT, f"The key was used for migration {first.id} already."
            )
        return first

    def _check_room(self) -> None:
        if self._migrations.stopping:
            raise refuse(Code.SHUTTING_DOWN, "pmigd is stopping.")
        if not self._migrations.loaded:
            raise refuse(Code.JOURNAL_UNAVAILABLE, "The journal has not been read yet.")
        waiting = self._migrations.waiting + self._arriving
        if waiting >= self.queue_max:
            raise refuse(Code.QUEUE_FULL, f"{waiting} migrations wait already.")

    def _check_idle(self, facts: DomainFacts) -> None:
        other = self._migrations.of_domain(facts.domain.uuid)
        if other is not None:
            raise refuse(
                Code.DOMAIN_BUSY, f"Migration {other.id} of '{facts.domain.name}' is {other.state}."
            )
        if (iden := self._migrations.may_be_of(facts.domain.name)) is not None:
            raise refuse(
                Code.DOMAIN_BUSY,
                f"Migration {iden}, whose row in the journal cannot be read, may be of it."
                f" 'pmigctl show {iden}' says what to do.",
            )
        if facts.view.power is Power.PAUSED and not facts.view.alive:
            raise refuse(Code.DOMAIN_BUSY, f"'{facts.domain.name}' is paused by a migration.")
