"""Both directions of what this host's pmigd has to do with other hosts' pmigd.

As a source it asks its peers for leases (:mod:`pmigd.daemon.asking`), as a destination it grants
them (:mod:`pmigd.daemon.granting`) and says which guests it has. A peer is whoever its certificate
says; what it may do here is ask, report on its own leases, and look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Final

import structlog

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.metrics import Metrics
from pmigd.adapters.peer.client import PeerChannel
from pmigd.adapters.peer.names import AllowedNames
from pmigd.adapters.peer.proofs import Fault
from pmigd.adapters.peer.tls import Certificates, read_certificates
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.tasks import Tasks
from pmigd.api.guard import Guard
from pmigd.api.peerbackend import Intrusion
from pmigd.config.schema import Config
from pmigd.core.canonical import about
from pmigd.core.model import Direction, Domain, Now, State
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Code
from pmigd.core.uri import PmigdUrl
from pmigd.daemon.asking import Asking
from pmigd.daemon.configuration import certificate_faults, pki_files
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate
from pmigd.daemon.granting import Granting
from pmigd.wire.peer import (
    PROTOCOL,
    Examination,
    ExamineQuestion,
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
    PeerFinding,
)

READ_DEADLINE_S: Final = 5.0

log = structlog.get_logger()


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
        pool: CallPool,
        *,
        now: Callable[[], Now],
        first_seq: int,
    ) -> None:
        self._host = host
        self._gate = gate
        self._migrations = migrations
        self._hypervisor = hypervisor
        self._metrics = metrics
        self._now = now
        self._pool = pool
        self.certificates = Certificates()
        self.faults: list[Fault] = []
        self.guard = Guard(observe=self.observe_intruder)
        self._channels: dict[str, PeerChannel] = {}
        self._tasks = Tasks("peering")
        self.granting = Granting(
            host,
            gate.account,
            journal,
            limits=lambda: gate.limits,
            is_coming=self._is_coming,
            objections=self._objections,
            changed=self._leases_changed,
            now=now,
        )
        self.asking = Asking(host, migrations, gate, now=now, first_seq=first_seq)
        migrations.asker = self.asking

    async def prepare(self, config: Config) -> Callable[[], None]:
        """Read the certificates; what takes up who the peers are, who may ask, and with what this
        host proves itself.

        Certificates that cannot be used are said, and the ones before them used on.
        """
        urls = {name: url for name, peer in config.peers.items() if (url := peer.pmigd_url)}
        fresh, faults = self.certificates, list[Fault]()
        if urls or config.peer.address is not None:
            fresh, faults = await self._read_certificates(config)
        allowed = AllowedNames(config.admitted_names)
        return lambda: self._take(config, urls, fresh, faults, allowed)

    def _take(
        self,
        config: Config,
        urls: dict[str, PmigdUrl],
        certificates: Certificates,
        faults: list[Fault],
        allowed: AllowedNames,
    ) -> None:
        self.certificates = certificates
        self.faults = faults
        self.guard.context = certificates.server
        used = (
            self.certificates.server_ends if config.peer.address is not None else None,
            self.certificates.client_ends if urls else None,
        )
        ends = min((end for end in used if end is not None), default=None)
        self._metrics.certificate_in_force("peer", ends)
        self.guard.allowed = allowed
        self.asking.patience_s = config.peer.patience_s
        before, self._channels = self._channels, {}
        for name, url in urls.items():
            known = before.get(name)
            if known is None or known.url != url:
                known = PeerChannel(
                    name, url, certificates=lambda: self.certificates, pool=self._pool
                )
            self._channels[name] = known
        self.asking.configure(self._channels)
        for name, channel in before.items():
            if self._channels.get(name) is not channel:
                self._tasks.begin(f"close {name}", channel.close)

    async def stop(self) -> None:
        """Say nothing any more. Leases are kept on both sides: what runs goes on."""
        await self.asking.stop()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def _read_certificates(self, config: Config) -> tuple[Certificates, list[Fault]]:
        """Those of the files, and where they cannot be used those before them; says why not."""
        faults: list[Fault] = []
        files = pki_files(config)
        try:
            fresh, faults = await self._pool.call(
                "certificates",
                READ_DEADLINE_S,
                lambda: (read_certificates(files), certificate_faults(config)),
            )
        except Overdue as error:
            fresh = Certificates(server_fault=str(error), client_fault=str(error))
        asked = config.peer.address is not None
        asks = any(peer.pmigd_url for peer in config.peers.values())
        for fault in {asked and fresh.server_fault, asks and fresh.client_fault} - {False, ""}:
            log.error("certificates cannot be used", detail=fault)
        for found in faults:
            log.error(
                "other hosts will not believe this certificate",
                key=f"peer.{found.field}",
                file=str(found.file),
                detail=found.message,
                accepted=found.accepted,
            )
        return fresh.or_else(self.certificates), faults

    def hello(self, peer: str, epoch: str) -> Hello:
        """Who this is, to a peer that greets with its epoch."""
        self.granting.book.greet(peer, epoch)
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
        uuid = self._hypervisor.facts.host_uuid
        return LookAnswer(view=view, completed=completed, host_uuid=uuid)

    async def examine(self, peer: str, question: ExamineQuestion) -> Examination:  # noqa: ARG002
        """What only this host can see of itself."""
        local = await self._hypervisor.own_host.look(question.question, arriving=True)
        return Examination(host_uuid=self._hypervisor.facts.host_uuid, local=local)

    def observe_peer(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:
        """Count an answered request."""
        self._metrics.peer_request(peer, request, seconds, failed=failed)

    def observe_intruder(self, why: Intrusion) -> None:
        """Count a connection or request that was refused."""
        self._metrics.peer_refused(why)

    def _is_coming(self, uuid: str) -> bool:
        """Whether a guest is on its way here, whatever its source may say or not say."""
        migration = self._migrations.of_domain(uuid)
        return (
            migration is not None
            and migration.direction is Direction.INCOMING
            and migration.state is not State.UNRESOLVED
        )

    async def _objections(self, domain: Domain) -> tuple[PeerFinding, ...]:
        """Why a guest can never come: it is here already. What is not known is no objection."""
        view, _ = await self._hypervisor.look_here(domain, completed=None)
        if not view.alive:
            return ()
        code = Code.DESTINATION_HAS_DOMAIN
        detail = f"{self._host} has '{domain.name}': it is {view.power} there."
        return (PeerFinding(code=code, detail=detail, remedy=code.kind.remedy, problem=code),)

    def _leases_changed(self, uuids: Iterable[str]) -> None:
        for uuid in uuids:
            migration = self._migrations.of_domain(uuid)
            if migration is not None and migration.direction is Direction.INCOMING:
                self._gate.settle(migration)
                if self.granting.book.granted_for(uuid) is None:
                    # Its source has ended it. What holds its slot here ends once that is seen.
                    look = partial(self._migrations.look_at_arrival, migration.domain)
                    self._tasks.begin(f"look {migration.id}", look, about=about(migration))
        self._migrations.pump()
