"""What the API tells of the daemon and of its host. Only reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.config.schema import Config
from pmigd.core.holdings import Resource
from pmigd.core.model import State
from pmigd.core.ports import DomainFacts
from pmigd.daemon.controller import Controller
from pmigd.daemon.diagnosis import diagnose
from pmigd.daemon.doors import Doors
from pmigd.daemon.figures import Figures, counts
from pmigd.daemon.gate import Gate
from pmigd.daemon.intake import Intake
from pmigd.daemon.peering import Peering
from pmigd.daemon.requests import targets
from pmigd.daemon.versions import Versions
from pmigd.wire import host as wire


@dataclass(eq=False)
class Answers:
    """See :class:`pmigd.api.backend.Answers`. `config` is the one in force."""

    config: Callable[[], Config]
    hypervisor: LocalHypervisor
    journal: Journal
    gate: Gate
    migrations: Controller
    intake: Intake
    peering: Peering
    doors: Doors
    figures: Figures
    versions: Versions
    utc_now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self.started_at = self.utc_now()

    def status(self) -> dict[str, Any]:
        """How the daemon is."""
        facts, account, config = self.hypervisor.facts, self.gate.account, self.config()
        by_state = {state.value: 0 for state in State if not state.terminal}
        for migration in self.migrations.open():
            by_state[migration.state] += 1
        missing = self.readiness()
        return {
            "name": config.daemon.name,
            "version": __version__,
            "started_at": self.started_at,
            "ready": not missing,
            "missing": missing,
            "libvirt": {
                "connected": self.hypervisor.connected,
                "uri": self.hypervisor.uri,
                "version": facts.libvirt_version,
                "hypervisor": facts.hypervisor,
                "hypervisor_version": facts.hypervisor_version,
                "reconnects": self.hypervisor.reconnects,
            },
            "journal": {
                "path": str(self.journal.path),
                "writable": self.journal.writable,
                "error": self.journal.error,
            },
            "limits": {
                "max_outgoing": config.limits.max_outgoing,
                "queue_max": self.intake.queue_max,
                "held_outgoing": account.used(Resource.OUTGOING_SLOT),
                "max_incoming": config.limits.max_incoming,
                "held_incoming": account.used(Resource.INCOMING_SLOT),
            },
            "migrations": by_state,
            "doors_shut": self.doors.shut,
            "certificates": [
                wire.CertificateFault(f"peer.{f.field}", str(f.file), f.message, f.accepted)
                for f in self.peering.faults
            ],
        }

    def readiness(self) -> dict[str, str]:
        """What keeps the daemon from taking new work: empty when it is ready."""
        missing = {}
        if not self.hypervisor.connected:
            missing["libvirt"] = self.hypervisor.last_error
        if not self.journal.writable:
            missing["journal"] = self.journal.error or ""
        return missing

    def limits(self) -> wire.Limits:
        """What migrations may hold on this host, and hold now."""
        return self.figures.limits()

    async def peers(self) -> list[wire.Peer]:
        """The configured peers, and whether their pmigd answer now."""
        config = self.config()
        daemons, versions = await asyncio.gather(
            self.peering.asking.meet(), self.versions.of(targets(config).values())
        )
        return [
            wire.Peer(
                name=name,
                uri=peer.uri,
                migrate_uri=peer.migrate_uri or None,
                pmigd=daemons.get(name),
                queued=len(self.gate.queue.to(name)),
                running=sum(m.destination == name for m in self.migrations.running()),
                given=counts(x for x in self.peering.granting.book if x.source == name),
                **self.versions.told(versions.get(name)),
            )
            for name, peer in sorted(config.peers.items())
        ]

    async def domains(self) -> list[DomainFacts]:
        """This host's domains. Refused: libvirt_unavailable."""
        return await self.hypervisor.domains()

    async def domains_by_state(self) -> dict[str, Any]:
        """How many guests this host has, by state, and how its libvirt was reached last."""
        found = Counter(str(facts.view.power) for facts in await self.hypervisor.domains())
        return {"last_error": self.hypervisor.last_error, "domains": dict(found)}

    async def diagnose(self) -> wire.Diagnosis:
        """A support bundle; what cannot be had in time is named in it."""
        return await diagnose(self, self.utc_now())
