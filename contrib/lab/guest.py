"""Guests: what one does (Guest), its image, its domain XML, and the running thing.

A guest never has a writable disk unless asked for, so that libvirt migrates it
without shared storage.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from contrib.lab.disks import Disk, LabDisk
from contrib.lab.heartbeat import Heartbeats
from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrib.lab.hosts import Host
    from contrib.lab.lab import Lab
    from contrib.lab.namespaces import Space

PAGE_BYTES = 4096
PAGES_PER_MIB = 256
# Known to every QEMU that Debian has had since 12.
COMMON_MACHINE = "pc-i440fx-7.2"
_PIT_HZ = 1_193_182
# Above what a BIOS and its tables use.
_WORKING_SET_BASE = 1 << 20
_FLOPPY_BYTES = 1_474_560
# A firmware that puts tables at the very top of memory must find them unharmed.
_TOP_RESERVE_MIB = 1


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What a guest is and does.

    At each tick it sends a heartbeat and writes `dirty_pages_per_tick` pages of
    its working set in turn, so it dirties tick_hz * pages * 4 KiB per second and
    every page again after working_set_mib * 256 / pages ticks. `fill_mib` more
    MiB hold data and are only checked: the first pass of a migration has them to
    move.
    """

    name: str
    memory_mib: int = 64
    tick_hz: int = 50
    dirty_pages_per_tick: int = 4
    working_set_mib: int = 1
    fill_mib: int = 0
    persistent: bool = True
    uuid: str | None = None
    disk_mib: int = 0  # short for one Disk of that size: it takes --copy-storage-all to migrate
    disks: tuple[Disk, ...] = ()
    machine: str | None = None  # QEMU's machine type; the lab knows one that all hosts have
    devices_xml: str = ""  # more elements for <devices>
    features_xml: str = ""  # more elements for <domain>

    def __post_init__(self) -> None:
        if not 19 <= self.tick_hz <= 1000:
            raise ValueError("tick_hz must be 19 to 1000: the timer's divisor has 16 bits")
        if self.working_set_mib < 1:
            raise ValueError("working_set_mib must be at least 1")
        used = 1 + self.working_set_mib + self.fill_mib + _TOP_RESERVE_MIB
        if used > self.memory_mib:
            raise ValueError(f"guest {self.name} uses {used} MiB, but has {self.memory_mib}")
        targets = [disk.target for disk in self.all_disks]
        if len(set(targets)) != len(targets):
            raise ValueError(f"guest {self.name} has two disks of one name: {targets}")

    @property
    def all_disks(self) -> tuple[Disk, ...]:
        """Its disks, the one that `disk_mib` asks for included."""
        return ((Disk(mib=self.disk_mib),) if self.disk_mib else ()) + self.disks

    @property
    def dirty_bytes_per_second(self) -> int:
        """How fast it dirties memory when it gets the CPU time it wants."""
        return self.tick_hz * self.dirty_pages_per_tick * PAGE_BYTES

    @property
    def symbols(self) -> dict[str, int]:
        """What the boot sector is assembled with."""
        pages = self.working_set_mib * PAGES_PER_MIB
        return {
            "DIVISOR": round(_PIT_HZ / self.tick_hz),
            "PAGES_PER_TICK": self.dirty_pages_per_tick,
            "SET_BASE": _WORKING_SET_BASE,
            "SET_PAGES": pages,
            "FILL_BASE": _WORKING_SET_BASE + pages * PAGE_BYTES,
            "FILL_PAGES": self.fill_mib * PAGES_PER_MIB,
        }


def build_image(spec: Guest, space: Space) -> str:
    """Assemble the guest's floppy image in the lab's own files; its path in every host."""
    symbols = spec.symbols
    stem = "/run/lab/guest-" + "-".join(f"{value:x}" for value in symbols.values())
    image = space.root / f"{stem}.img".lstrip("/")
    if not image.exists():
        defines = [f"--defsym={name}={value}" for name, value in symbols.items()]
        source = Path(__file__).with_name("guest.S").read_text()
        space.run(["as", "--32", *defines, "-o", f"{stem}.o", "--"], input=source)
        layout = ["-m", "elf_i386", "--oformat=binary", "-Ttext=0x7c00"]
        space.run(["ld", *layout, "-o", f"{stem}.bin", f"{stem}.o"])
        binary = space.root / f"{stem}.bin".lstrip("/")
        with binary.open("r+b") as file:
            file.truncate(_FLOPPY_BYTES)
        # Only complete images get the name that is looked for.
        binary.rename(image)
        image.chmod(0o444)
    return f"{stem}.img"


def domain_xml(
    spec: Guest,
    *,
    guest_uuid: str,
    image: str,
    machine: str,
    disks: Sequence[LabDisk],
    listener: tuple[str, int],
) -> str:
    """The domain's definition; heartbeats go to `listener` (address, UDP port)."""
    address, port = listener
    disk_xml = "".join(disk.xml for disk in disks)
    return f"""\
<domain type='qemu'>
  <name>{escape(spec.name)}</name>
  <uuid>{guest_uuid}</uuid>
  <memory unit='MiB'>{spec.memory_mib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <boot dev='fd'/>
  </os>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  {spec.features_xml}
  <devices>
    <disk type='file' device='floppy'>
      <driver name='qemu' type='raw'/>
      <source file='{escape(image)}'/>
      <target dev='fda' bus='fdc'/>
      <readonly/>
    </disk>
{disk_xml}    <controller type='usb' model='none'/>
    <serial type='udp'>
      <source mode='connect' host='{address}' service='{port}'/>
      <target port='0'/>
    </serial>
    <memballoon model='none'/>
    {spec.devices_xml}
  </devices>
</domain>
"""


class LabGuest:
    """A guest of the lab, wherever it runs."""

    def __init__(self, lab: Lab, spec: Guest, listener: tuple[str, int]) -> None:
        self._lab = lab
        self.spec = spec
        self.name = spec.name
        self.uuid = spec.uuid or str(uuid.uuid4())
        self.heartbeats = Heartbeats(spec.name, spec.tick_hz)
        self.image = build_image(spec, lab.switch)
        self.disks = [LabDisk(spec.name, disk, lab.switch) for disk in spec.all_disks]
        self.xml = domain_xml(
            spec,
            guest_uuid=self.uuid,
            image=self.image,
            machine=spec.machine or lab.machine,
            disks=self.disks,
            listener=listener,
        )

    def __repr__(self) -> str:
        return f"<LabGuest {self.heartbeats.summary()}>"

    @property
    def disk(self) -> str | None:
        """Path of its first disk's image, if it has one."""
        return self.disks[0].path if self.disks else None

    def start(self, on: Host, *, timeout: float = 30.0) -> None:
        """Define and start it, or create it if it is transient; wait for a heartbeat."""
        if self.disks:
            # Without the pool a destination would have to have the images ready.
            for host in self._lab.hosts:
                host.define_images_pool()
            self.create_disks(on, filled=True)
        if self.spec.persistent:
            on.virsh("define", "/dev/stdin", input=self.xml)
            on.virsh("start", self.name, timeout=timeout)
        else:
            on.virsh("create", "/dev/stdin", input=self.xml, timeout=timeout)
        self.heartbeats.wait(
            host=on.name, timeout=timeout, evidence=lambda: on.qemu_log_tail(self.name)
        )

    def states(self) -> dict[str, str]:
        """virsh's word for its state on each host that knows it."""
        found = {}
        for host in self._lab.hosts:
            done = host.run(["virsh", "domstate", self.uuid], check=False)
            if done.returncode == 0:
                found[host.name] = done.stdout.strip()
            elif "Domain not found" not in done.stderr and "failed to get domain" not in (
                done.stderr
            ):
                raise LabError(f"{host.name}: {done.stderr.strip()}")
        return found

    def where(self) -> list[Host]:
        """The hosts it runs on: asks every host. One, unless something is badly wrong."""
        return [self._lab[name] for name, state in self.states().items() if state == "running"]

    def migrate(
        self,
        to: Host,
        *flags: str,
        source: Host | None = None,
        uri: str | None = None,
        timeout: float = 60.0,
    ) -> float:
        """Migrate by virsh (--live --p2p unless flags are given); seconds it took.

        `uri` is how the source reaches the destination; plain TCP by default.
        """
        return self._lab.migrate(self, to, *flags, source=source, uri=uri, timeout=timeout)

    # Its disks

    def disk_path(self, target: str = "vda") -> str:
        """Path of a disk's image, the same on every host."""
        return self._disk(target).path

    def create_disks(self, on: Host, *, filled: bool = False) -> None:
        """Create its images on a host, by default empty, as a destination has them ready.

        A backing image always has its content: it is what both hosts must have
        for an incremental copy.
        """
        for disk in self.disks:
            disk.create(on, filled=filled)

    def remove_disks(self, on: Host) -> None:
        """Delete its images, the backing ones too, on a host that it does not run on."""
        for disk in self.disks:
            disk.remove(on)
        on.refresh_images_pool()

    def disk_digest(self, on: Host, target: str = "vda") -> str:
        """SHA-256 of a disk's content, as the guest would read it, on a host.

        Reads the image behind a running QEMU's back: to be exact it takes a guest
        that has not written since its disk was last flushed.
        """
        return self._disk(target).digest(on)

    def write_disk(
        self, on: Host, target: str = "vda", *, offset: int, length: int, byte: int
    ) -> None:
        """Write to a disk of the running guest, as if the guest did."""
        device = f"/machine/peripheral/{self._disk(target).alias}/virtio-backend"
        # What the commands say goes to QEMU's log, not to the monitor.
        log = on.path(f"/var/log/libvirt/qemu/{self.name}.log")
        before = log.stat().st_size
        for command in (f"write -P {byte} {offset} {length}", "flush"):
            on.virsh("qemu-monitor-command", self.name, "--hmp", f'qemu-io -d {device} "{command}"')
        said = log.read_bytes()[before:].decode(errors="replace")
        if f"wrote {length}/{length} bytes at offset {offset}" not in said:
            raise LabError(f"writing to {target} of {self.name} on {on.name}: {said.strip()}")

    def _disk(self, target: str) -> LabDisk:
        for disk in self.disks:
            if disk.spec.target == target:
                return disk
        raise LabError(f"guest {self.name} has no disk {target}")

    def destroy(self) -> None:
        """End it and forget its definition, on every host."""
        for name, state in self.states().items():
            host = self._lab[name]
            if state != "shut off":
                host.run(["virsh", "destroy", self.uuid], check=False)
            # A transient guest is gone by now, and there is nothing to undefine.
            host.run(["virsh", "undefine", self.uuid, "--managed-save"], check=False)
        left = self.states()
        if left:
            raise LabError(f"guest {self.name} is still there: {left}")

    def qemu_pid(self, on: Host) -> int:
        """Pid of its QEMU on a host, as seen outside."""
        return on.guest_pid(self.name)

    def corrupt_memory(self, on: Host, *, page: int = 0) -> None:
        """Damage a page of its working set behind its back, through its QEMU's memory."""
        address = _WORKING_SET_BASE + page * PAGE_BYTES
        answer = on.virsh("qemu-monitor-command", self.name, "--hmp", f"gpa2hva {address:#x}")
        found = re.search(r"\) is (0x[0-9a-f]+)", answer)
        if not found:
            raise LabError(f"no address for {address:#x} of {self.name}: {answer}")
        with Path(f"/proc/{self.qemu_pid(on)}/mem").open("r+b", buffering=0) as memory:
            memory.seek(int(found[1], 16))
            memory.write(b"\xde\xad\xbe\xef")
