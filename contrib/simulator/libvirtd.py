"""A libvirt daemon: what it answers, what it does to a guest, and what it makes of its own restart.

Its calls raise libvirt's own errors. A call is carried out in the daemon's life: whoever made it
may be gone by then, and what it did is done all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import libvirt

from contrib.simulator.job import Job, Stage
from contrib.simulator.loop import Life
from contrib.simulator.world import (
    PAUSED,
    SHUTOFF,
    Copy,
    Machine,
    World,
    connection_lost,
    failed,
    libvirt_error,
    no_domain,
    not_there,
    refused,
)

T = TypeVar("T")

JOB_LOCK_S: Final = 30.0
"""How long a call waits for a domain that another call has."""

Listener = Callable[[Copy, str, Any, Any], None]
"""Told of events: the copy, "lifecycle", "iteration" or "completed", and what belongs to it."""


class Connection:
    """A client's connection; it ends with the daemon."""

    def __init__(self, life: Life) -> None:
        self.life = life

    @property
    def alive(self) -> bool:
        """Whether the daemon is still the one that it was opened to."""
        return self.life.alive


class Libvirtd:
    """The daemon of one machine. :attr:`domains` (calls about guests) is in another module."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.world = world
        self.machine = machine
        self.name = machine.name
        self.life = Life(f"libvirtd of {machine.name}")
        self.up = True
        self.slow = 1.0
        """A factor on everything it does."""
        self.refuses = 0
        """So many of the next commands are refused, as by a QEMU that is not ready."""
        self.listeners: dict[object, Listener] = {}
        self.closed: dict[object, Callable[[], None]] = {}
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._late: list[tuple[Copy, str, Any, Any]] = []
        self._out: set[asyncio.Future[Any]] = set()
        world.daemons[machine.name] = self

    # What befalls it

    @property
    def frozen(self) -> bool:
        """Stopped: connections stay, and nothing is answered."""
        return not self._thawed.is_set()

    def freeze(self) -> None:
        """As by SIGSTOP."""
        self._thawed.clear()

    def thaw(self) -> None:
        """As by SIGCONT; what it was asked meanwhile is answered now."""
        self._thawed.set()
        late, self._late = self._late, []
        for event in late:
            self.emit(*event)

    def kill(self) -> None:
        """It is gone; QEMU is not."""
        if not self.up:
            return
        self.up = False
        self._thawed.set()
        self._late.clear()
        self.life.end()
        out, self._out = self._out, set()
        for future in out:
            if not future.done():
                future.set_exception(connection_lost("End of file while reading data"))
        self.listeners.clear()
        closed, self.closed = self.closed, {}
        for told in closed.values():
            told()

    def start(self) -> None:
        """Start again, and make of what there is what libvirt makes of it."""
        if self.up:
            return
        self.life = Life(f"libvirtd of {self.name}")
        self.up = True
        from contrib.simulator.recovery import take_up

        for copy in tuple(self.machine.copies.values()):
            take_up(self, copy)

    # Calls

    async def open(self) -> Connection:
        """A connection. It takes as long as a frozen daemon is frozen."""
        if not self.up:
            raise not_there("Failed to connect socket: Connection refused")
        life = self.life
        await self.call(self._nothing)
        return Connection(life)

    def call(
        self, work: Callable[[], Awaitable[T]], connection: Connection | None = None
    ) -> asyncio.Future[T]:
        """Have the daemon do something; its death is an error of the connection."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self.up or (connection is not None and not connection.alive):
            future.set_exception(connection_lost("client socket is closed"))
            return future
        self._out.add(future)
        self.life.begin(self._serve(work, future))
        return future

    async def _serve(self, work: Callable[[], Awaitable[T]], future: asyncio.Future[T]) -> None:
        try:
            await self.pace()
            value = await work()
            await self.pace()
        except libvirt.libvirtError as error:
            if not future.done():
                future.set_exception(error)
                future.exception()
        else:
            if not future.done():
                future.set_result(value)
        finally:
            self._out.discard(future)

    async def pace(self) -> None:
        """Take the time that a step takes; stand still while frozen."""
        await asyncio.sleep(self.world.random.uniform(0.0003, 0.003) * self.slow)
        await self._thawed.wait()

    async def _nothing(self) -> None:
        return

    @contextlib.asynccontextmanager
    async def monitor(self, copy: Copy) -> Any:
        """Speak with a guest's QEMU, when nobody else does; wait as long as it hangs."""
        try:
            async with asyncio.timeout(JOB_LOCK_S):
                await copy.monitor.acquire()
        except TimeoutError:
            raise libvirt_error(
                libvirt.VIR_ERR_OPERATION_TIMEOUT,
                libvirt.VIR_FROM_QEMU,
                "Timed out during operation: cannot acquire state change lock",
            ) from None
        try:
            await copy.answers.wait()
            yield
        finally:
            copy.monitor.release()

    # Events

    def emit(self, copy: Copy, kind: str, event: Any, detail: Any = 0) -> None:
        """Tell whoever listens, in order; one that is frozen tells it later, a dead one never."""
        if not self.up:
            return
        if self.frozen:
            self._late.append((copy, kind, event, detail))
            return
        for listener in tuple(self.listeners.values()):
            listener(copy, kind, event, detail)

    def lifecycle(self, copy: Copy, event: int, detail: int) -> None:
        """A lifecycle event."""
        self.emit(copy, "lifecycle", event, detail)

    # What it does to copies

    def find(self, uuid: str) -> Copy:
        """The copy of that UUID, or "no domain"."""
        copy = self.machine.copies.get(uuid)
        if copy is None:
            raise no_domain(uuid)
        return copy

    def active(self, uuid: str) -> Copy:
        """The same, if it runs."""
        copy = self.find(uuid)
        if not copy.active:
            raise refused("Requested operation is not valid: domain is not running")
        return copy

    def pause(self, copy: Copy, reason: int, detail: int) -> None:
        """Its CPUs stop."""
        copy.state, copy.reason = PAUSED, reason
        self.lifecycle(copy, libvirt.VIR_DOMAIN_EVENT_SUSPENDED, detail)

    def run_on(self, copy: Copy, reason: int, detail: int, by: str = "libvirt") -> None:
        """Its CPUs run on."""
        self.world.start(copy, reason, by)
        self.lifecycle(copy, libvirt.VIR_DOMAIN_EVENT_RESUMED, detail)

    def end(self, copy: Copy, reason: int, detail: int) -> None:
        """Its QEMU is gone; the definition stays, if there is one."""
        copy.state, copy.reason = SHUTOFF, reason
        copy.job, copy.incoming = None, False
        copy.answers.set()
        copy.suspended_by_pmigd = False
        if not copy.defined:
            self.machine.copies.pop(copy.guest.domain.uuid, None)
        self.lifecycle(copy, libvirt.VIR_DOMAIN_EVENT_STOPPED, detail)

    def guest_ends(self, copy: Copy, how: str) -> None:
        """The guest shuts down, crashes or is destroyed on this host; its QEMU exits."""
        reasons = {
            "shut down": (libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, 0),
            "destroyed": (libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, 1),
            "crashed": (libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, 2),
        }
        guest, job = copy.guest, copy.job
        real = not copy.incoming and copy.life == guest.life
        if real and not any(c.executes for c in self.world.copies_of(guest) if c is not copy):
            guest.ended = how
        self.world.note(f"{guest.name} is {how} on {self.name}")
        reason, detail = reasons[how]
        self.end(copy, reason, detail)
        if job is not None:
            job.fail(f"the guest was {how} on {self.name}")


__all__ = ["Connection", "Job", "Libvirtd", "Stage", "failed"]
