"""One migration as libvirt and QEMU have it, and the stream of memory by the pre-copy model.

Of a guest that writes D bytes a second at random places of a working set W, a pass of t seconds
leaves ``d(t) = W (1 - exp(-D t / W))`` to be sent again. A pass sends everything but what fits into
the pause limit (B times L), and then the dirty pages are counted anew. The stream goes on whether
the daemons live or not: it is QEMU's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import Enum
from typing import Final

import libvirt

from contrib.simulator.world import ASLEEP, MIB, PAUSED, Copy, World
from pmigd.core.model import Plan, Postcopy

SETUP_S: Final = 0.05
SYNC_S: Final = 0.05
"""What it takes QEMU to count the dirty pages anew."""
BURST_S: Final = 0.05
"""QEMU looks at what remains after a burst of up to twice as long: it sends a little too much."""
DEVICE_S: Final = 0.01
BREAKS_AFTER_S: Final = 20.0
"""A stream that gets nothing through any more is given up by the kernel after so long."""


class Stage(Enum):
    """How far the stream is."""

    SETUP = "setup"
    PRECOPY = "pre-copy"
    SWITCH = "waits for libvirt to switch over"
    DEVICE = "device"
    DONE = "done"
    POSTCOPY = "post-copy"
    BROKEN = "broken in post-copy"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Nothing more is sent."""
        return self in (Stage.DONE, Stage.BROKEN, Stage.FAILED, Stage.CANCELLED)


class Job:
    """A migration of `copy` to `target`; `owner` is the id that pmigd has for it, if it is one."""

    def __init__(
        self, world: World, copy: Copy, target: str, plan: Plan | None, owner: str
    ) -> None:
        self.world = world
        self.source = copy
        self.target = target
        self.plan = plan
        self.owner = owner
        self.destination: Copy | None = None
        self.stage = Stage.SETUP
        self.began = world.now
        self.iteration = 0
        self.sent_bytes = 0.0
        self.remaining_bytes = float(copy.guest.memory_bytes)
        self.aborted = False
        self.phase = "begin"
        """What the source's daemon is at; with its death that is all that is left of it."""
        self.arrived = False
        """The guest was started, or is left paused on purpose, at the destination."""
        self.was_running = copy.executes
        self.limit_given = bool(plan and plan.request.bandwidth_mib_s)
        self.unattended = False
        self.why = ""
        self.on_iteration: Callable[[int], None] = lambda _: None
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pass_began = world.now
        self._speed_before = copy.speed_mib_s
        if plan is not None and plan.request.bandwidth_mib_s:
            copy.speed_mib_s = plan.request.bandwidth_mib_s

    # What the daemons do to it

    @property
    def may_postcopy(self) -> bool:
        """It was started with post-copy allowed."""
        return self.plan is not None and self.plan.request.postcopy is not Postcopy.NEVER

    def begin(self, destination: Copy) -> None:
        """QEMU begins to send."""
        self.destination = destination
        self._task = self.world.qemu.spawn(self._stream())

    def cancel(self) -> None:
        """QEMU's migrate_cancel: it does nothing once all was sent, or in post-copy."""
        if self.stage in (Stage.SETUP, Stage.PRECOPY, Stage.SWITCH):
            self._go(Stage.CANCELLED)

    def switch(self) -> None:
        """libvirt lets QEMU send the last of it."""
        if self.stage is Stage.SWITCH:
            self._go(Stage.DEVICE)
            self._next_pass(self.iteration + 1)

    def start_postcopy(self) -> None:
        """The rest follows when the guest runs at the destination already."""
        self._go(Stage.POSTCOPY)

    def recover(self) -> None:
        """The stream goes on where it broke."""
        self.phase = "finish"
        self.stage = Stage.POSTCOPY
        self._moved.set()
        self._moved = asyncio.Event()
        self._task = self.world.qemu.spawn(self._postcopy())

    def fail(self, why: str) -> None:
        """It breaks, wherever it is."""
        if self.stage.over:
            return
        self.why = why
        self._go(Stage.BROKEN if self.stage is Stage.POSTCOPY else Stage.FAILED)

    def changed(self) -> None:
        """Something that the rate depends on is different now."""
        self._wake.set()

    async def moved(self, *stages: Stage) -> None:
        """Return when the stream is in one of `stages`, or over."""
        while not self.stage.over and self.stage not in stages:
            await self._moved.wait()

    def restore_speed(self) -> None:
        """libvirt takes back at the end what was given for this job alone."""
        if self.limit_given:
            self.source.speed_mib_s = self._speed_before

    def stats(self) -> dict[str, object]:
        """libvirt's figures, as they are now."""
        running = self.stage in (Stage.PRECOPY, Stage.POSTCOPY)
        rate = self._rate() if running else 0.0
        sent = rate * (self.world.now - self._pass_began)
        remaining = max(0.0, self.remaining_bytes - sent)
        guest = self.source.guest
        figures: dict[str, object] = {
            "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
            "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
            "time_elapsed": round((self.world.now - self.began) * 1000),
        }
        if self.iteration:
            figures |= {
                "memory_total": guest.memory_bytes,
                "memory_processed": round(self.sent_bytes + sent),
                "memory_remaining": round(remaining),
                "memory_bps": round(rate),
                "memory_iteration": self.iteration,
                "memory_page_size": 4096,
                "memory_dirty_rate": guest.dirty_bytes_per_second // 4096,
            }
        return figures

    # The stream

    async def _stream(self) -> None:
        await asyncio.sleep(SETUP_S)
        if self.stage.over:
            return
        machine = self.world.machines[self.source.host]
        machine.streams.add(self)
        self.world.network.changed.append(self.changed)
        try:
            self._go(Stage.PRECOPY)
            self._next_pass(1)
            if await self._precopy():
                await self._switch_over()
            if self.stage is Stage.POSTCOPY:
                await self._postcopy()
        finally:
            self._gone()

    def _gone(self) -> None:
        self.world.machines[self.source.host].streams.discard(self)
        if self.changed in self.world.network.changed:
            self.world.network.changed.remove(self.changed)

    async def _precopy(self) -> bool:
        """Pass after pass, until the rest fits into the pause. False: it ended otherwise."""
        guest = self.source.guest
        w = float(guest.working_set_bytes)
        while True:
            limit = self._rate() * self.source.downtime_limit_ms / 1000
            if self.remaining_bytes <= limit and self.source.state != ASLEEP:
                return self.stage is Stage.PRECOPY
            keep = max(0.0, min(limit, self.remaining_bytes) - self._rate() * BURST_S)
            began = self.world.now
            await self._send(self.remaining_bytes - keep)
            await asyncio.sleep(SYNC_S)
            if self.stage is not Stage.PRECOPY:
                return False
            took = self.world.now - began
            dirty = guest.dirty_bytes_per_second if self.source.executes else 0
            written = w * (1 - math.exp(-dirty * took / w)) if w else 0.0
            self.remaining_bytes = keep + max(0.0, 1 - keep / w) * written
            self._next_pass(self.iteration + 1)

    def _next_pass(self, number: int) -> None:
        self.iteration = number
        self._pass_began = self.world.now
        self.on_iteration(number)

    async def _switch_over(self) -> None:
        """Stop the guest, wait for libvirt, send the rest."""
        self._go(Stage.SWITCH)
        await self.moved(Stage.DEVICE)
        if self.stage is not Stage.DEVICE:
            return
        await self._send(self.remaining_bytes)
        await asyncio.sleep(DEVICE_S)
        if self.stage is Stage.DEVICE:
            self.remaining_bytes = 0
            self._go(Stage.DONE)

    async def _postcopy(self) -> None:
        self._next_pass(self.iteration + 1)
        await self._send(self.remaining_bytes)
        if self.stage is Stage.POSTCOPY:
            self.remaining_bytes = 0
            self._go(Stage.DONE)

    async def _send(self, size: float) -> None:
        """Send `size` bytes at whatever rate there is; returns early when the stage changes."""
        stage = self.stage
        loop = asyncio.get_running_loop()
        while size > 1 and self.stage is stage:
            rate = self._rate()
            began = loop.time()
            self._wake.clear()
            patience = size / rate if rate else BREAKS_AFTER_S
            timer = loop.call_later(max(0.001, patience), self._wake.set)
            await self._wake.wait()
            timer.cancel()
            spent = loop.time() - began
            if not rate and spent >= BREAKS_AFTER_S - 0.001:
                self.fail("the stream got nothing through any more")
                return
            sent = min(size, spent * rate)
            size -= sent
            self.sent_bytes += sent
            self.remaining_bytes -= sent
            self._pass_began = loop.time()

    def _rate(self) -> float:
        if not self.world.network.up(self.source.host, self.target):
            return 0.0
        if self.source.hangs or (self.destination is not None and self.destination.hangs):
            return 0.0
        copy = self.source
        limit = copy.postcopy_speed_mib_s if self.stage is Stage.POSTCOPY else copy.speed_mib_s
        shared = self.world.rate(copy.host)
        return min(shared, limit * MIB) if limit else shared

    def _go(self, stage: Stage) -> None:
        self.stage = stage
        self._wake.set()
        self._moved.set()
        self._moved = asyncio.Event()


def stopped(job: Job) -> bool:
    """Whether QEMU has stopped the source's CPUs for this job."""
    return job.source.state == PAUSED and job.stage in (
        Stage.SWITCH,
        Stage.DEVICE,
        Stage.DONE,
        Stage.POSTCOPY,
        Stage.BROKEN,
    )
