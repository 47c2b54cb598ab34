"""What really is: hosts, the network between them, guests and the copies that hosts have of them.

This is the truth that verdicts are compared with. It notes by itself when a guest runs twice, or
from memory that is older than its disks, and who made it so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

import libvirt

from contrib.simulator.loop import Life
from pmigd.core.model import Domain

if TYPE_CHECKING:
    from contrib.simulator.job import Job
    from contrib.simulator.libvirtd import Libvirtd

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
MIB: Final = 1 << 20
RUNNING: Final = libvirt.VIR_DOMAIN_RUNNING
PAUSED: Final = libvirt.VIR_DOMAIN_PAUSED
SHUTOFF: Final = libvirt.VIR_DOMAIN_SHUTOFF
ASLEEP: Final = libvirt.VIR_DOMAIN_PMSUSPENDED


@dataclass(eq=False)
class Guest:
    """A virtual machine, wherever it is.

    It writes `dirty_bytes_per_second` at random places of `working_set_bytes`. `life` counts how
    often it was taken up from memory at another place: a copy of an earlier life is stale.
    """

    domain: Domain
    memory_bytes: int = 256 * MIB
    dirty_bytes_per_second: int = 10 * MIB
    working_set_bytes: int = 64 * MIB
    persistent: bool = True
    autostart: bool = False
    life: int = 0
    ended: str = ""
    """How it came to its end, and nobody has it any more; empty while it lives."""
    split: bool = False
    """libvirt itself let it run twice: what is said of it from then on proves nothing."""
    paused_by_person: bool = False

    @property
    def name(self) -> str:
        """libvirt's name for it."""
        return self.domain.name


@dataclass(eq=False)
class Copy:
    """What one host has of a guest. `state` and `reason` are libvirt's numbers."""

    guest: Guest
    host: str
    state: int = SHUTOFF
    reason: int = 0
    defined: bool = False
    autostart: bool = False
    life: int = 0
    run: int = 0
    """libvirt's id of its QEMU: each that is started on a host has a higher one."""
    job: Job | None = None
    """The migration that takes it away, or brings it."""
    incoming: bool = False
    suspended_by_pmigd: bool = False
    monitor: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while its QEMU answers its monitor."""
    downtime_limit_ms: int = 300
    speed_mib_s: int = 0
    """0: unlimited, as libvirt begins."""
    postcopy_speed_mib_s: int = 0
    cache_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        self.answers.set()

    @property
    def hangs(self) -> bool:
        """Its QEMU does nothing, and does not answer."""
        return not self.answers.is_set()

    @property
    def active(self) -> bool:
        """It has a QEMU."""
        return self.state != SHUTOFF

    @property
    def executes(self) -> bool:
        """Its CPUs run."""
        return self.state == RUNNING


@dataclass(eq=False)
class Machine:
    """A host. `copies` outlive its libvirt daemon, as QEMU does."""

    name: str
    link_bytes_per_second: int = 100 * MIB
    copies: dict[str, Copy] = field(default_factory=dict)
    clock_s: float = 0.0
    """How far its time of day is ahead of the true one."""
    streams: set[object] = field(default_factory=set)

    @property
    def uuid(self) -> str:
        """What libvirt calls the host."""
        return f"host-{self.name}"


class Network:
    """What lies between the hosts. A cut loses nothing for good: the patient get through."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cut: set[frozenset[str]] = set()
        self._mended = asyncio.Event()
        self.changed: list[Callable[[], None]] = []

    def up(self, a: str, b: str) -> bool:
        """Whether anything gets from one host to the other now."""
        return frozenset((a, b)) not in self._cut

    def cut(self, a: str, b: str) -> None:
        """Nothing gets through any more."""
        self._cut.add(frozenset((a, b)))
        self._tell()

    def mend(self, a: str, b: str) -> None:
        """It is as before."""
        self._cut.discard(frozenset((a, b)))
        self._mended.set()
        self._mended = asyncio.Event()
        self._tell()

    async def carry(self, a: str, b: str) -> None:
        """Return when something that is sent now has arrived."""
        await asyncio.sleep(self._world.random.uniform(0.0002, 0.002))
        while not self.up(a, b):
            await self._mended.wait()

    def _tell(self) -> None:
        for changed in tuple(self.changed):
            changed()


class World:
    """Everything, at `seed`'s chances."""

    def __init__(self, hosts: tuple[str, ...], random: Random) -> None:
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.machines = {name: Machine(name) for name in hosts}
        self.daemons: dict[str, Libvirtd] = {}
        self.guests: dict[str, Guest] = {}
        self.network = Network(self)
        self.runs = 0
        self.qemu = Life("QEMU")
        """What goes on whether any daemon lives or not."""
        self.timeline: list[tuple[float, str]] = []
        self.wrong: list[str] = []
        """What must never be, in words; a run that has some has failed."""
        self.moves: dict[str, Job] = {}
        """The job that pmigd's migration of an id became, once libvirt has been called."""
        self.arrivals: list[tuple[float, str, str]] = []
        """When which guest came to which host by a migration of anybody's."""

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    def utc(self, host: str) -> datetime:
        """The time of day as `host` has it."""
        return EPOCH + timedelta(seconds=self.now + self.machines[host].clock_s)

    def note(self, text: str) -> None:
        """Remember for the story what happened."""
        self.timeline.append((self.now, text))

    def fault(self, text: str) -> None:
        """Remember what must never be."""
        self.wrong.append(text)
        self.note(f"WRONG: {text}")

    def add(self, guest: Guest, host: str) -> Copy:
        """A guest that runs on `host`."""
        self.guests[guest.domain.uuid] = guest
        copy = Copy(guest, host, RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, guest.persistent)
        copy.autostart = guest.autostart and guest.persistent
        self.begin_run(copy)
        self.machines[host].copies[guest.domain.uuid] = copy
        return copy

    def copies_of(self, guest: Guest) -> list[Copy]:
        """What all hosts have of it."""
        uuid = guest.domain.uuid
        return [c for m in self.machines.values() if (c := m.copies.get(uuid)) is not None]

    def executing(self, guest: Guest) -> list[Copy]:
        """The copies whose CPUs run; more than one is the worst that can be."""
        return [copy for copy in self.copies_of(guest) if copy.executes]

    def alive(self, guest: Guest) -> list[Copy]:
        """The copies that run, or that somebody paused and that can run on."""
        return [c for c in self.copies_of(guest) if c.active and not c.incoming]

    def begin_run(self, copy: Copy) -> None:
        """A QEMU is started for it."""
        self.runs += 1
        copy.run = self.runs

    def start(self, copy: Copy, reason: int, by: str) -> None:
        """Let the CPUs of a copy run; `by` answers for it."""
        guest = copy.guest
        others = [c for c in self.executing(guest) if c is not copy]
        stale = copy.life < guest.life
        copy.state, copy.reason = RUNNING, reason
        copy.suspended_by_pmigd = False
        if not others and not stale:
            return
        what = f"runs on {others[0].host} too" if others else "had run elsewhere since"
        if by == "libvirt":
            guest.split = True
            self.note(f"libvirt lets {guest.name} run on {copy.host}, although it {what}")
        elif not guest.split:
            self.fault(f"{by} let {guest.name} run on {copy.host}, although it {what}")

    def arrive(self, copy: Copy, reason: int) -> None:
        """The guest goes on from the memory that came here."""
        self.arrived(copy)
        self.start(copy, reason, "libvirt")

    def arrived(self, copy: Copy) -> None:
        """What the guest is from now on is here; every other copy is stale."""
        copy.guest.life += 1
        copy.life = copy.guest.life
        self.arrivals.append((self.now, copy.guest.domain.uuid, copy.host))

    def rate(self, source: str) -> float:
        """Bytes per second that one more, or each present, stream out of a host gets."""
        machine = self.machines[source]
        return machine.link_bytes_per_second / max(1, len(machine.streams))


def libvirt_error(code: int, domain: int, message: str) -> libvirt.libvirtError:
    """An error as the binding raises it."""
    error = libvirt.libvirtError(message)
    vars(error)["err"] = (code, domain, message, 2, None, None, None, -1, -1)
    return error


def refused(message: str) -> libvirt.libvirtError:
    """libvirt's "operation invalid"."""
    return libvirt_error(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_QEMU, message)


def failed(message: str) -> libvirt.libvirtError:
    """libvirt's "operation failed"."""
    return libvirt_error(libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_FROM_QEMU, message)


def no_domain(uuid: str) -> libvirt.libvirtError:
    """Nobody of that name."""
    return libvirt_error(
        libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, f"no domain with matching uuid '{uuid}'"
    )


def connection_lost(message: str) -> libvirt.libvirtError:
    """A connection broke, to here or between the daemons."""
    return libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, message)


def not_there(message: str) -> libvirt.libvirtError:
    """Nobody listens."""
    return libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, message)
