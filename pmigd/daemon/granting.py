"""The leases that this host gives: its peers ask, report and are told.

The book decides (:mod:`pmigd.core.leases`); here it is made durable before a peer hears of a grant,
and every peer that listens is told what has changed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

import structlog

from pmigd.adapters.journal import Journal, JournalError
from pmigd.core.holdings import Account, Limits, Shortage
from pmigd.core.leases import Book, Lease
from pmigd.core.model import Domain, Now
from pmigd.core.trace import parse_traceparent
from pmigd.wire.peer import (
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEntry,
    LeaseEvent,
    LeaseReport,
    PeerFinding,
    PeerWaiting,
)

EXPIRE_EVERY_S: Final = 1.0
LOOKS_A_REPORT: Final = 32
"""Guests of one report that libvirt here is asked about; a source asks for few at a time."""
UNHEARD_EVENTS: Final = 1000
"""Events that a peer may leave unread; its next report brings it up to date anyway."""

log = structlog.get_logger()


class Granting:
    """The leases of `host`. `is_coming` tells of a domain's UUID whether it is on its way here,
    `objections` why a domain can never come.

    `changed` is told of the UUIDs whose lease came or went: who holds what may have changed hands.
    """

    def __init__(
        self,
        host: str,
        account: Account,
        journal: Journal,
        *,
        limits: Callable[[], Limits],
        is_coming: Callable[[str], bool],
        objections: Callable[[Domain], Awaitable[tuple[PeerFinding, ...]]],
        changed: Callable[[Iterable[str]], None],
        now: Callable[[], Now],
    ) -> None:
        self.book = Book(account)
        self._host = host
        self._journal = journal
        self._limits = limits
        self._is_coming = is_coming
        self._objections = objections
        self._changed = changed
        self._now = now
        self._wake = asyncio.Event()
        self._granting = asyncio.Lock()
        self._durable: set[str] = set()
        self._told: dict[str, LeaseAnswer] = {}
        self._listeners: dict[str, set[asyncio.Queue[LeaseEvent]]] = {}

    def load(self, leases: list[Lease]) -> None:
        """Take up the leases that are in the journal; what is known already is newer here."""
        self.book.load((x for x in leases if self.book.get(x.id) is None), self._now().mono)
        self._durable = {lease.id for lease in leases}
        self.pump()

    def pump(self) -> None:
        """Something was given back, or a limit has changed: grant what may be granted."""
        self._wake.set()

    async def run(self) -> None:
        """Grant and expire, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXPIRE_EVERY_S):
                    await self._wake.wait()
            self._wake.clear()
            over = self.book.expire(self._now().mono, self._is_coming)
            for lease in over:
                log.warning("lease expired", lease=lease.id, peer=lease.peer)
            await self._given_back(over)
            await self._grant()

    async def ask(self, peer: str, ask: LeaseAsk) -> LeaseAnswer:
        """Grant a lease, or give it a place in the queue, or say why never. Raises Refused."""
        lease = _lease(peer, ask, ask.lease)
        refusals = await self._refusals([lease])
        if lease.id in refusals:
            return refusals[lease.id]
        self.book.ask(lease, self._now().mono)
        await self._grant()
        return self._told.get(ask.lease.id, _GONE)

    async def report(self, peer: str, report: LeaseReport) -> LeaseAnswers:
        """Make the book equal to what `peer` reports."""
        await asyncio.sleep(0)  # a long one has had its turn of the loop to be read
        leases = self._looked_at([_lease(peer, report, entry) for entry in report.leases])
        refusals = await self._refusals(leases)
        leases = [lease for lease in leases if lease.id not in refusals]
        known = {lease.id: lease.phase for lease in self.book if lease.granted}
        given_back = self.book.report(
            peer, report.seq, leases, self._now().mono, epoch=report.epoch
        )
        await self._given_back(given_back)
        told = (self.book.get(lease.id) for lease in leases)
        self._guests_of([x for x in told if x and x.granted and x.phase != known.get(x.id)])
        await self._grant()
        answers = {lease.id: self._told.get(lease.id, _GONE) for lease in leases}
        return LeaseAnswers(leases=answers | refusals)

    def _looked_at(self, leases: list[Lease]) -> list[Lease]:
        """Without those beyond what can be looked at now: the next report has them again."""
        fresh = [x.id for x in leases if x.phase.waits and self.book.get(x.id) is None]
        later = set(fresh[LOOKS_A_REPORT:])
        return [lease for lease in leases if lease.id not in later]

    async def _refusals(self, leases: Iterable[Lease]) -> dict[str, LeaseAnswer]:
        """The answers to those that are new, have not begun, and can never be granted."""
        refusals = {}
        for lease in leases:
            if lease.phase.waits and self.book.get(lease.id) is None:
                findings = await self._objections(lease.domain)
                if findings:
                    refusals[lease.id] = LeaseAnswer(
                        state="refused", seq=lease.seq, findings=findings
                    )
        return refusals

    async def events(self, peer: str) -> AsyncIterator[LeaseEvent]:
        """Changes of `peer`'s leases from now on."""
        queue: asyncio.Queue[LeaseEvent] = asyncio.Queue(UNHEARD_EVENTS)
        listeners = self._listeners.setdefault(peer, set())
        listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            listeners.discard(queue)
            if not listeners:
                self._listeners.pop(peer, None)

    async def _grant(self) -> None:
        """Grant what may be granted, durably, and tell whoever waits what has changed.

        One at a time: a grant is in the account from the moment it is decided, and everybody who
        asks meanwhile waits until it is known whether the journal has it.
        """
        async with self._granting:
            fresh: list[Lease] = []
            if self._journal.writable:
                self.book.grant(self._limits(), self._host)
                fresh = [x for x in self.book if x.granted and x.id not in self._durable]
            if fresh:
                await self._make_durable(fresh)
            self._tell()

    async def _make_durable(self, fresh: list[Lease]) -> None:
        """Put all of them down at once: a peer may report thousands, and waits for the answer."""
        try:
            await self._journal.keep_leases(fresh)
        except JournalError as error:
            # What runs already is only noted; what has not begun must not begin.
            log.error("leases not granted", leases=len(fresh), detail=str(error))
            waiting = [lease.id for lease in fresh if lease.phase.waits]
            for iden in waiting:
                self.book.take_back(iden)
            with contextlib.suppress(JournalError):  # one that was given up may yet land
                await self._journal.forget_leases(*waiting)
            return
        self._durable.update(lease.id for lease in fresh)
        self._guests_of(fresh)
        await self._given_back([x for x in fresh if self.book.get(x.id) is None])

    async def _given_back(self, leases: list[Lease]) -> None:
        if not leases:
            return
        for lease in leases:
            self._durable.discard(lease.id)
            self._told.pop(lease.id, None)
        self._guests_of(leases)
        with contextlib.suppress(JournalError):  # the next probe does it
            await self._journal.forget_leases(*(lease.id for lease in leases))

    def _guests_of(self, leases: list[Lease]) -> None:
        """Have it seen, once for each guest, what has become of it by what befell these."""
        self._changed(dict.fromkeys(lease.domain.uuid for lease in leases))

    def _answers(self) -> dict[str, LeaseAnswer]:
        why = self.book.why_waiting(self._limits(), self._host)
        if not self._journal.writable:
            journal = Shortage("journal", self._host, 0, 0)
            why = {iden: (journal, position) for iden, (_, position) in why.items()}
        return {lease.id: _answer(lease, why.get(lease.id)) for lease in self.book}

    def _tell(self) -> None:
        """Note what is to be said of each lease, and tell whoever listens what is new."""
        answers = self._answers()
        for lease in self.book:
            answer = answers.get(lease.id)
            if answer is None or answer == self._told.get(lease.id):
                continue
            self._told[lease.id] = answer
            for queue in self._listeners.get(lease.peer, ()):
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(LeaseEvent(id=lease.id, answer=answer))


_GONE: Final = LeaseAnswer(state="waiting")
"""What is said of a lease that the book does not have: to be asked for again."""


def _answer(lease: Lease, why: tuple[Shortage, int] | None) -> LeaseAnswer:
    if lease.granted:
        return LeaseAnswer(state="granted", seq=lease.seq)
    if why is None:
        return LeaseAnswer(state="waiting", seq=lease.seq)
    shortage, position = why
    waiting = PeerWaiting(
        resource=shortage.resource,
        host=shortage.host,
        used=shortage.used,
        limit=shortage.limit,
        position=position,
    )
    return LeaseAnswer(state="waiting", seq=lease.seq, waiting=waiting)


def _lease(peer: str, message: LeaseAsk | LeaseReport, entry: LeaseEntry) -> Lease:
    return Lease(
        id=entry.id,
        peer=peer,
        domain=entry.domain,
        phase=entry.phase,
        priority=entry.priority,
        ports=entry.ports,
        login=entry.login,
        transport=entry.transport,
        source=message.source,
        epoch=message.epoch,
        seq=message.seq,
        trace=parse_traceparent(entry.traceparent),
    )
