"""One pmigd of the simulated world: the real classes, put together as the daemon's own app does it.

Real are the controller, the conductors, the watcher, the gate and both sides of the peers'
exchange. Simulated are libvirt, the network and the disk. A life ends by :meth:`Pmigd.kill` at any
await, or by :meth:`Pmigd.stop` in good order; the next one begins from what the disk has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any, Final

from contrib.simulator.exchange import NOBODY, SimulatedChannel
from contrib.simulator.hypervisor import SimulatedHypervisor
from contrib.simulator.journal import Disk, SimulatedJournal
from contrib.simulator.loop import Life
from contrib.simulator.scenario import Scenario
from contrib.simulator.world import EPOCH, World
from pmigd.adapters.metrics import Metrics, Snapshot
from pmigd.adapters.system.uuid7 import Uuid7Sequence
from pmigd.core.holdings import Limits, Resource
from pmigd.core.model import Migration, Now, Target
from pmigd.daemon.bookkeeper import Bookkeeper
from pmigd.daemon.controller import Controller
from pmigd.daemon.controls import Controls
from pmigd.daemon.gate import Gate
from pmigd.daemon.intake import Intake
from pmigd.daemon.peering import Peering
from pmigd.daemon.watcher import Watcher

TICK_S: Final = 0.5
FIRST_CONNECTION_S: Final = 3.0
PATIENCE_S: Final = 300.0

OnStep = Callable[[str, Migration | None, Migration], None]
"""Told of every step of every migration: the host, the migration before and after."""


def limits_of(scenario: Scenario) -> Limits:
    """A host's limits."""
    workers, usable = scenario.workers
    return Limits(
        usable={
            Resource.OUTGOING_SLOT: scenario.outgoing,
            Resource.INCOMING_SLOT: scenario.incoming,
            Resource.PREPARING_SLOT: scenario.preparing,
            Resource.WORKER: usable,
            Resource.CLIENT: 4900,
            Resource.ANONYMOUS_CLIENT: 20,
            Resource.MIGRATION_PORT: 64,
        },
        workers=workers,
    )


class Pmigd:
    """The daemon of `name`, in one life. `peers` finds the present life of each other host's."""

    def __init__(
        self,
        world: World,
        name: str,
        disk: Disk,
        peers: Mapping[str, SimulatedChannel],
        *,
        limits: Limits,
        ids: Uuid7Sequence,
        first_seq: int,
        on_step: OnStep,
    ) -> None:
        self.world = world
        self.name = name
        self.life = Life(f"pmigd of {name}")
        self.listening = False
        self._peers = peers
        self._on_step = on_step
        self._connected = asyncio.Event()
        self.journal = SimulatedJournal(disk, name)
        self.hypervisor = SimulatedHypervisor(
            world,
            world.daemons[name],
            self.life,
            notify=lambda notice: self.watcher.notice(notice),
            connection_changed=self._connection_changed,
            owner_of=self._owner_of,
        )
        self.gate = Gate(
            name,
            blocked=self._blocked,
            coming=lambda uuid: self.peering.granting.book.granted_for(uuid),
            now=self._now,
        )
        self.gate.limits = limits
        self.gate.window = limits.usable[Resource.OUTGOING_SLOT]
        self.migrations = Controller(
            name,
            self.hypervisor,
            self.journal,
            self.gate,
            now=self._now,
            new_id=lambda: str(ids.next(self._unix_ms(), world.random.randbytes(10))),
            on_change=self._changed,
            begin_trace=lambda caller: caller,
        )
        self.intake = Intake(self.migrations, self.hypervisor, queue_max=10_000)
        self.controls = Controls(self.migrations, self.hypervisor)
        self.watcher = Watcher(self.hypervisor, self.migrations)
        self.peering = Peering(
            name,
            self.gate,
            self.migrations,
            self.hypervisor,
            self.journal,
            _metrics(),
            NOBODY,
            now=self._now,
            first_seq=first_seq,
        )
        self.peering.asking.patience_s = PATIENCE_S
        self._bookkeeper = Bookkeeper(
            self.journal, self.migrations, self.peering.granting, self._journal_read
        )

    def start(self) -> None:
        """Begin this life."""
        self.life.begin(self._start(), name=f"pmigd-{self.name}")

    async def _start(self) -> None:
        self._keep(self.hypervisor.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._connected.wait()
        # As in the real one: before anything is queued it is known whose leases are needed.
        self.peering.asking.configure(self._peers)
        self._keep(self._bookkeeper.run())
        await self._bookkeeper.first_attempt()
        self._keep(self.watcher.sample())
        self._keep(self.watcher.scan())
        self._keep(self.migrations.tick(TICK_S))
        self._keep(self.peering.granting.run())
        self.listening = True

    def _journal_read(self) -> None:
        if self.hypervisor.connected:
            self.watcher.scan_now()
        else:
            self.migrations.connection_changed(connected=False)

    def kill(self) -> None:
        """As by SIGKILL."""
        self.listening = False
        self.hypervisor.disconnect()
        self.journal.kill()
        self.life.end()

    async def stop(self) -> None:
        """As by SIGTERM."""
        self.listening = False
        await self.peering.asking.stop()
        await self.migrations.stop()
        self.kill()

    def target(self, name: str) -> Target:
        """Another host as a destination."""
        return Target(name, f"qemu+tls://{name}/system", f"tcp://{name}", name)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        self.life.begin(work)

    def _now(self) -> Now:
        return Now(self.world.now + 1000.0, self.world.utc(self.name))

    def _unix_ms(self) -> int:
        return round(self.world.utc(self.name).timestamp() * 1000)

    def _owner_of(self, uuid: str) -> str:
        migration = self.migrations.of_domain(uuid)
        return "" if migration is None or migration.external else migration.id

    def _blocked(self) -> str | None:
        if not self.hypervisor.connected:
            return "libvirt"
        return None if self.journal.writable else "journal"

    def _changed(self, before: Migration | None, after: Migration) -> None:
        self._on_step(self.name, before, after)
        if before is None or before.state is not after.state:
            self.peering.granting.pump()

    def _connection_changed(self, connected: bool) -> None:
        if not self.life.alive:
            return
        if connected:
            self._connected.set()
        self.migrations.connection_changed(connected=connected)
        if connected:
            self.watcher.scan_now()


@cache
def _metrics() -> Metrics:
    """Counts for all hosts together, for nobody."""

    def snapshot() -> Snapshot:
        raise NotImplementedError

    return Metrics(version="0", snapshot=snapshot, utc_now=lambda: EPOCH, mono=lambda: 0.0)
