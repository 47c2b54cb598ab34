"""What was found out about a guest and the two hosts, for the checks before a start.

Plain frozen values, so that one host's pmigd can send them to another's. Nothing here decides: that
is :mod:`pmigd.core.checks`. ``unknown`` names what could not be found out, in words that fit behind
"not checked:".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pmigd.core.model import UNASKED, Domain, View
from pmigd.core.named import Named, paths


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One domain of this host as it is now."""

    domain: Domain
    view: View


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a libvirt daemon says about itself. Versions as libvirt writes them, e.g. "9.0.0"."""

    hostname: str = ""
    host_uuid: str = ""
    libvirt_version: str = ""
    hypervisor: str = ""
    hypervisor_version: str = ""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk of a definition. `kind`, `device` and `cache` are libvirt's words.

    `path` is a file's or a block device's, empty for a drive without a medium and for what is no
    path. `optional`: the guest starts without the medium if that is missing.
    """

    target: str
    device: str = "disk"
    kind: str = "file"
    path: str = ""
    pool: str = ""
    volume: str = ""
    cache: str = "default"
    read_only: bool = False
    shareable: bool = False
    transient: bool = False
    optional: bool = False

    @property
    def empty(self) -> bool:
        """A drive with nothing in it."""
        return self.kind in ("file", "block", "dir", "volume") and not (self.path or self.volume)


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device of the host that a guest has. `kind`: pci, usb, mdev, scsi, scsi_host, vdpa, ...

    `replaceable`: QEMU unplugs it for the migration and a second network card stands in.
    """

    kind: str
    replaceable: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """The part of a domain's XML that the checks are about.

    `cpu_xml` is the CPU as libvirt takes it for comparing, `cpu_checked` whether libvirt compares
    it when the guest starts. `memory_in_one`: QEMU maps it in one piece, from the host's ordinary
    memory. `hugepages`: (size in KiB, bytes), size 0 is the host's default.
    `named` is what else of its host it must have.
    """

    emulator: str = ""
    arch: str = ""
    machine: str = ""
    virt_type: str = ""
    cpu_xml: str = ""
    cpu_checked: bool = False
    invariant_tsc: bool = False
    tsc_frequency: bool = False
    memory_bytes: int = 0
    memory_in_one: bool = True
    memory_limited: bool = False
    hugepages: tuple[tuple[int, int], ...] = ()
    disks: tuple[DiskFacts, ...] = ()
    host_devices: tuple[HostDevice, ...] = ()
    filesystems: tuple[str, ...] = ()
    shared_memory: tuple[tuple[str, str], ...] = ()
    named: tuple[Named, ...] = ()


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """A guest at the source. `arriving` is what the destination is asked to start, and
    `autostart` whether it starts with the source; None: nothing is defined that could.

    `resident_bytes` is the memory of the host that it uses now, `block_jobs` the targets of disks
    that have one, `allocated_bytes` what the image of a disk holds, by target.
    """

    domain: Domain
    view: View
    definition: Definition | None = None
    arriving: Definition | None = None
    autostart: bool | None = None
    snapshots: int = 0
    block_jobs: tuple[str, ...] = ()
    resident_bytes: int | None = None
    allocated_bytes: tuple[tuple[str, int], ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What a host is asked to look at: whether it can take (or, as a control, has) this guest.

    `name` is the guest's name at the destination. `wants` is None for an offline migration, which
    starts nothing. `ports` must be free for it, `paths` are what it will look for.
    """

    domain: Domain
    name: str = ""
    wants: Definition | None = None
    ports: tuple[int, ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """The images and devices of its disks."""
        disks = self.wants.disks if self.wants is not None else ()
        return tuple(dict.fromkeys(disk.path for disk in disks if disk.path))

    @property
    def paths(self) -> tuple[str, ...]:
        """Whatever has to be in the host's file system."""
        named = self.wants.named if self.wants is not None else ()
        return tuple(dict.fromkeys((*self.images, *paths(named))))


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A path as a host's storage pools know it.

    `pool` is the active pool whose directory it is in, if any, and `available_bytes` its space.
    """

    path: str
    known: bool = False
    pool: str = ""
    available_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DestinationFacts:
    """What a host's libvirt daemon answers to a question.

    `known_as` is the name that it has a domain of that UUID under, `autostart` whether that starts
    with the host (None: it has no definition of it), `name_taken_by` the UUID of
    another domain of that name. `refuses_machine` and `refuses_cpu` are libvirt's words, empty if
    it takes them. `free_hugepages`: (size in KiB, free pages). `lacks` is what it says it has not
    of what the guest names.
    """

    host: HostFacts = field(default_factory=HostFacts)
    view: View = UNASKED
    known_as: str = ""
    autostart: bool | None = None
    name_taken_by: str = ""
    refuses_machine: str = ""
    refuses_cpu: str = ""
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    free_hugepages: tuple[tuple[int, int], ...] = ()
    images: tuple[ImageFacts, ...] = ()
    lacks: tuple[Named, ...] = ()
    unknown: tuple[str, ...] = ()


class Leads(StrEnum):
    """Where a host name leads to from a host."""

    ELSEWHERE = "elsewhere"
    HERE = "here"  # only addresses of the host itself
    NOWHERE = "nowhere"  # it cannot be resolved


class Userfaultfd(StrEnum):
    """Who may use userfaultfd, which post-copy needs at the destination."""

    EVERYBODY = "everybody"
    DEVICE = "device"  # who may open /dev/userfaultfd
    ROOT = "root"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """QEMU's certificates for one role. `missing` lists file names, `expires` is the earliest."""

    directory: str = ""
    missing: tuple[str, ...] = ()
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What only a host itself can see. The settings are those of its qemu.conf.

    `memory_limit_bytes` is more than any process can map, None where there is no such bound.
    `busy_ports` are those asked for, or of the range for migrations, that something listens on.
    `paths_missing` are those asked for that surely do not exist, `paths_unseen` those of which
    nothing can be said from where pmigd stands. The file system of what qemu.conf
    lists in shared_filesystems is "shared". `hooks` are libvirt's hooks for guests that there are.
    `lacks` is what else the guest names and the host has not.
    """

    utc: datetime
    qemu_user: str = ""
    migration_host: str = ""
    migration_ports: tuple[int, int] = (49152, 49215)
    busy_ports: tuple[int, ...] = ()
    tls_forced: bool = False
    tls_verifies_clients: bool = True
    tls_client: TlsFiles = field(default_factory=TlsFiles)
    tls_server: TlsFiles = field(default_factory=TlsFiles)
    userfaultfd: Userfaultfd = Userfaultfd.EVERYBODY
    memory_limit_bytes: int | None = None
    paths_missing: tuple[str, ...] = ()
    paths_unseen: tuple[str, ...] = ()
    filesystems: tuple[tuple[str, str], ...] = ()
    lacks: tuple[Named, ...] = ()
    hooks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def sees(self, path: str) -> bool:
        """Whether its pmigd can say if it has `path`."""
        return path not in self.paths_unseen

    def filesystem_of(self, path: str) -> str:
        """The type of the file system that `path` is on, as the kernel calls it; empty: unknown."""
        return dict(self.filesystems).get(path, "")
