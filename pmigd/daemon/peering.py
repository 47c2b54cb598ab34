"""Both directions of what this host's pmigd has to do with other hosts' pmigd.

As a source it asks its peers for leases (:mod:`pmigd.daemon.asking`), as a destination it grants
them (:mod:`pmigd.daemon.granting`) and says which guests it has. A peer is whoever its certificate
says; what it may do here is ask, report on its own leases, and look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.metrics import Metrics
from pmigd.core.model import Direction, Now, State
from pmigd.core.ports import Hypervisor
from pmigd.daemon.asking import Asking
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate
from pmigd.daemon.granting import Granting
from pmigd.wire.peer import (
    PROTOCOL,
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
)


class Peering:
    """The daemon as its peers see it (:class:`pmigd.api.peerbackend.PeerBackend`)."""

    def __init__(
        self,
        host: str,
        gate: Gate,
        migrations: Controller,
        hypervisor: Hypervisor,
        journal: Journal,
        metrics: Metrics,
        *,
        now: Callable[[], Now],
        first_seq: int,
        patience_s: float,
    ) -> None:
        self._host = host
        self._gate = gate
        self._migrations = migrations
        self._hypervisor = hypervisor
        self._metrics = metrics
        self._now = now
        self.granting = Granting(
            host,
            gate.account,
            journal,
            limits=lambda: gate.limits,
            is_coming=self._is_coming,
            changed=self._lease_changed,
            now=now,
        )
        self.asking = Asking(
            host, migrations, gate, now=now, first_seq=first_seq, patience_s=patience_s
        )
        migrations.asker = self.asking

    def hello(self) -> Hello:
        """Who this is."""
        return Hello(
            protocols=(PROTOCOL,), name=self._host, version=__version__, at=self._now().utc
        )

    async def ask(self, peer: str, ask: LeaseAsk) -> LeaseAnswer:
        """Grant a lease, or give it a place in the queue."""
        return await self.granting.ask(peer, ask)

    async def report(self, peer: str, report: LeaseReport) -> LeaseAnswers:
        """Make the book equal to what `peer` reports."""
        return await self.granting.report(peer, report)

    def events(self, peer: str) -> AsyncIterator[LeaseEvent]:
        """Changes of `peer`'s leases from now on."""
        return self.granting.events(peer)

    async def look(self, peer: str, question: LookQuestion) -> LookAnswer:  # noqa: ARG002
        """This host's copy of a guest; any peer may know where a guest is."""
        view, completed = await self._hypervisor.look_here(
            question.domain, completed=question.completed
        )
        return LookAnswer(view=view, completed=completed)

    def observe_peer(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:
        """Count an answered request."""
        # Filled in with the metrics of the channel.

    def observe_intruder(self, why: str) -> None:
        """Count a connection or request that was refused."""
        # Filled in with the metrics of the channel.

    def _is_coming(self, uuid: str) -> bool:
        """Whether a guest is on its way here, whatever its source may say or not say."""
        migration = self._migrations.of_domain(uuid)
        return (
            migration is not None
            and migration.direction is Direction.INCOMING
            and migration.state is not State.UNRESOLVED
        )

    def _lease_changed(self, uuid: str) -> None:
        migration = self._migrations.of_domain(uuid)
        if migration is not None and migration.direction is Direction.INCOMING:
            self._gate.settle(migration)
        self._migrations.pump()
