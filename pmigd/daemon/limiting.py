"""The limits that migrations go by: as configured, and as libvirt's daemons were last read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pmigd.adapters.limits import Limits, LimitSource
from pmigd.config.schema import Config
from pmigd.core.holdings import Limits as InForce
from pmigd.core.limits import Allowance, admission_limits
from pmigd.core.ports import Hypervisor
from pmigd.daemon.controller import Controller
from pmigd.daemon.gate import Gate
from pmigd.daemon.granting import Granting
from pmigd.daemon.intake import Intake


@dataclass(eq=False)
class Limiting:
    """Keeps the limits of `gate` those in force, and has both books go by them."""

    mirror: Limits
    gate: Gate
    migrations: Controller
    intake: Intake
    granting: Granting
    hypervisor: Hypervisor
    allowance: Allowance = field(default_factory=Allowance)
    _before_reading: InForce | None = None

    def configure(self, config: Config) -> None:
        """Take up what the configuration says; what runs already runs on."""
        limits = config.limits
        self.allowance = Allowance(
            max_outgoing=limits.max_outgoing,
            max_incoming=limits.max_incoming,
            max_preparing=limits.max_preparing,
            ssh_startups=limits.ssh_startups,
            reserve_workers=limits.reserve_workers,
            reserve_clients=limits.reserve_clients,
        )
        self.mirror.configure(
            LimitSource(limits.source), Path(limits.libvirtd_conf) if limits.libvirtd_conf else None
        )
        self.intake.queue_max = limits.queue_max
        self.gate.window = limits.max_outgoing
        self.apply()

    def read(self) -> None:
        """libvirt's daemons were read again."""
        self._before_reading = self.gate.limits
        self.apply()

    def apply(self) -> None:
        """Go by what was last read, and by the configuration."""
        gate = self.gate
        gate.limits = admission_limits(
            self.mirror.current,
            self.allowance,
            gate.account,
            self._before_reading,
            self.hypervisor.hung,
        )
        self.migrations.pump()
        self.granting.pump()
