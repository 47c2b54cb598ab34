"""What speaks against a migration: decided from what was found out about the guest and the hosts.

Something blocks only if libvirt or QEMU surely refuses it, or it surely breaks; each function says
how that is known ("measured" is libvirt 9.0 with QEMU 7.2). What may break is a warning, and what
nobody could look at is said in one finding. No finding keeps another from being made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from pmigd.core.facts import (
    Definition,
    DestinationFacts,
    DiskFacts,
    GuestFacts,
    HostDevice,
    HostFacts,
    ImageFacts,
    Leads,
    LocalFacts,
    Question,
    TlsFiles,
    Userfaultfd,
)
from pmigd.core.finding import Finding, Level, Origin, from_problem
from pmigd.core.model import CopyStorage, Job, Postcopy, Power, Request, Target, Transport
from pmigd.core.named import KINDS, Asked, asked, lacking
from pmigd.core.problem import Code, Problem
from pmigd.core.versions import parse

LOCAL_FILESYSTEMS: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "vfat"}
)
"""libvirt takes none of these for shared. Of a type that is not listed here it may."""

BLOCKERS_TOLD: Final = (6, 0, 0)
"""The first QEMU that tells libvirt what blocks a migration."""
VFIO_MIGRATES: Final = (8, 1, 0)
"""The first QEMU that migrates VFIO devices without being told to try."""
VIRTIOFS_MIGRATES: Final = (8, 2, 0)
"""The first QEMU whose virtiofs device can be migrated at all."""
USERFAULTFD_DEVICE: Final = (10, 1, 0)
"""The first libvirt that lets its QEMUs open /dev/userfaultfd."""
MIGRATES_ASLEEP: Final = (9, 0, 0)
"""The first QEMU that migrates a guest which is suspended to memory."""
HOOK_MENDS: Final = frozenset(
    {
        *(kind.code for kind in KINDS.values() if kind.mended),
        "bridge_missing",
        "image_missing",
        "machine_unknown",
        "medium_missing",
        "network_inactive",
        "network_missing",
        "no_pool_for_copy",
        "pool_inactive",
        "pool_missing",
    }
)
"""What the destination's own libvirt hook can still put right when a guest comes."""
CLOCKS_APART: Final = timedelta(seconds=2)
TLS_SOON: Final = timedelta(days=7)
BYTES_PER_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and how long a migration would take if that can be said."""

    findings: list[Finding]
    prediction: Prediction | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long the transfer takes if the guest writes nothing meanwhile; bytes and seconds."""

    memory_bytes: int
    disk_bytes: int
    seconds_at_least: float
    basis: str


def ask(request: Request, target: Target, guest: GuestFacts) -> Question:
    """What the destination is to be asked."""
    uris = (request.migrate_uri or target.migrate_uri, request.disks_uri)
    ports = (request.disks_port, *map(_port_of, uris))
    return Question(
        guest.domain,
        request.dname or guest.domain.name,
        None if request.offline else guest.arriving,
        tuple(port for port in ports if port is not None),
    )


def goes_by_hostname(request: Request, target: Target) -> bool:
    """Whether the source is to connect to whatever the destination calls itself."""
    native = request.transport is Transport.NATIVE and not request.offline
    return native and not (request.migrate_uri or target.migrate_uri)


def predict(request: Request, guest: GuestFacts | None) -> Prediction | None:
    """None unless the bandwidth is limited and the guest's memory in use is known."""
    if guest is None or guest.definition is None or guest.resident_bytes is None:
        return None
    if request.offline or request.compression is not None or not request.bandwidth_mib_s:
        return None
    memory = min(guest.resident_bytes, guest.definition.memory_bytes)
    allocated = dict(guest.allocated_bytes)
    disk = sum(
        allocated.get(disk.target, 0) for disk in guest.definition.disks if _copied(request, disk)
    )
    return Prediction(
        memory,
        disk,
        round((memory + disk) / (request.bandwidth_mib_s * BYTES_PER_MIB), 1),
        f"memory in use now, zero pages included, and the copied disks' content, sent once at "
        f"{request.bandwidth_mib_s} MiB/s",
    )


# The guest


def check_guest(
    request: Request, guest: GuestFacts, source: HostFacts, local: LocalFacts | None
) -> list[Finding]:
    """What speaks against moving this guest now. `local` is the source."""
    return [
        *_state(request, guest),
        *_asleep(request, guest, source),
        *_snapshots(guest),
        *_definition(request, guest, source, local),
        *_not_checked("source", guest.unknown),
    ]


def _state(request: Request, guest: GuestFacts) -> Iterator[Finding]:
    if guest.view.gone and not request.offline:
        problem = Problem(Code.DOMAIN_NOT_RUNNING, f"'{guest.domain.name}' is {guest.view.power}.")
        yield from_problem(problem, "domain")
    if guest.view.job is not Job.NONE:
        problem = Problem(Code.DOMAIN_BUSY, f"libvirt has a job on it: {guest.view.job}.")
        yield from_problem(problem, "domain")
    if guest.view.power is Power.PAUSED and request.postcopy is not Postcopy.NEVER:
        # Measured, on 11.3 too: "... not supported with non-live or paused migration".
        yield _block(
            "postcopy_paused_guest",
            "The guest is paused: it fetches no memory, so post-copy cannot work.",
            "Resume the guest first, or migrate without post-copy.",
            "postcopy",
            origin=Origin.LIBVIRT,
        )
    if guest.block_jobs and not request.offline:
        # Measured: "domain has active block job".
        yield _block(
            "block_job",
            f"A block job runs on {_list(guest.block_jobs)}; libvirt then does not migrate.",
            "Wait for it or end it: 'virsh blockjob DOMAIN DISK'.",
            "domain",
            origin=Origin.LIBVIRT,
        )


def _snapshots(guest: GuestFacts) -> Iterator[Finding]:
    if guest.snapshots:
        # Measured, offline too, and on 11.3: "cannot migrate domain with 1 snapshots".
        yield _block(
            "snapshots",
            f"libvirt keeps {guest.snapshots} snapshot(s) of it, and then refuses to migrate.",
            "Delete them, or only what libvirt knows of them: "
            "'virsh snapshot-delete DOMAIN NAME [--metadata]'.",
            "domain",
            origin=Origin.LIBVIRT,
        )


def _definition(
    request: Request, guest: GuestFacts, source: HostFacts, local: LocalFacts | None
) -> Iterator[Finding]:
    definition = guest.definition
    if definition is None or request.offline:
        return
    yield from _devices(definition, source)
    yield from _unknown_disks(request, definition)
    for disk in definition.disks:
        if disk.transient:
            # Measured, with --unsafe too: "migration with transient disk is not supported".
            yield _block(
                "transient_disk",
                f"Disk {disk.target} is transient, which libvirt does not migrate.",
                "Give the guest an ordinary disk.",
                "domain",
            )
        elif not (disk.empty or disk.read_only or _copied(request, disk)):
            yield from _left_behind(request, disk, local)
    if (request.migrate_uri or "").startswith("rdma:") and not definition.memory_limited:
        # libvirt: "cannot start RDMA migration with no memory hard limit set".
        yield _block(
            "rdma_needs_hard_limit",
            "RDMA pins memory, and the guest has no hard limit for it.",
            "Give it one: 'virsh memtune DOMAIN --hard-limit KIB'.",
            "migrate_uri",
        )


def _devices(definition: Definition, source: HostFacts) -> Iterator[Finding]:
    for device in definition.host_devices:
        if not device.replaceable:
            yield _host_device(device, source)
    qemu = parse(source.hypervisor_version)
    for driver in dict.fromkeys(definition.filesystems):
        if driver != "virtiofs":
            # Measured: moved while the guest had not mounted it.
            yield _warn(
                "filesystem",
                "It has a directory of this host (9p): QEMU refuses while the guest has it "
                "mounted, and the destination needs the same directory.",
                "Unmount it in the guest.",
                "domain",
            )
        elif qemu < VIRTIOFS_MIGRATES:
            # Measured: "cannot migrate domain: non-migratable device: ...vhost-user-fs".
            yield _block(
                "virtiofs",
                f"It has a virtiofs directory, which QEMU {source.hypervisor_version} cannot move.",
                "Unmount it in the guest and detach it: 'virsh detach-device'.",
                "domain",
            )
        else:
            yield _warn(
                "virtiofs",
                "It has a virtiofs directory: that moves only if its virtiofsd supports it.",
                "If libvirt refuses, unmount it in the guest and detach it.",
                "domain",
            )
    for name, role in definition.shared_memory:
        if role != "master":
            # Measured: "Migration is disabled when using feature 'peer mode' in device 'ivshmem'".
            yield _block(
                "shared_memory",
                f"Shared memory '{name}' belongs to another guest too; only the master moves.",
                "Detach it, or give this guest role='master'.",
                "domain",
            )
    if definition.invariant_tsc and not definition.tsc_frequency:
        # libvirt: "domain has 'invtsc' CPU feature but TSC frequency is not specified".
        yield _block(
            "invariant_tsc",
            "Its CPU has the feature invtsc, but its clock says no frequency for the TSC.",
            "Add <timer name='tsc' frequency='HZ'/> to its clock, or take the feature away.",
            "domain",
        )


def _host_device(device: HostDevice, source: HostFacts) -> Finding:
    """A device of the host, by kind.

    libvirt asks QEMU what blocks, and before QEMU could tell refused all but USB. QEMU before 8.1
    moves no VFIO device, and later ones do if the device's driver can.
    """
    qemu = parse(source.hypervisor_version)
    vfio = device.kind in ("pci", "mdev", "vdpa")
    remedy = "Detach it: 'virsh detach-device'; a network card can be given a stand-in (teaming)."
    what = f"It has a device of this host ({device.kind})"
    if device.kind in ("capabilities", "scsi_host"):
        return _block("host_device", f"{what}, which cannot move.", remedy, "domain")
    if (vfio and qemu < VFIO_MIGRATES) or (device.kind != "usb" and qemu < BLOCKERS_TOLD):
        detail = f"{what}, which QEMU {source.hypervisor_version} cannot move."
        return _block("host_device", detail, remedy, "domain")
    if vfio:
        detail = f"{what}: that moves only if its driver supports it, on both hosts."
    elif device.kind == "usb":
        detail = f"{what}: the guest loses it, unless the destination has the same."
    else:
        detail = f"{what}: the destination must have the same."
    return _warn("host_device", detail, remedy, "domain")


def _unknown_disks(request: Request, definition: Definition) -> Iterator[Finding]:
    known = {disk.target: disk for disk in definition.disks}
    for name in request.migrate_disks:
        disk = known.get(name)
        if disk is not None and not disk.empty and not disk.read_only:
            continue
        # libvirt: "disk target %s not found", "Cannot migrate empty or read-only disk %s".
        why = "has no such disk" if disk is None else "cannot copy it: it is empty or read-only"
        writable = (d.target for d in definition.disks if not d.empty and not d.read_only)
        yield _block(
            "disk_not_copyable",
            f"'migrate_disks' names {name}, but the guest {why}.",
            f"Name some of its writable disks: {_list(tuple(writable)) or 'it has none'}.",
            "migrate_disks",
            origin=Origin.RULE,
        )


def _copied(request: Request, disk: DiskFacts) -> bool:
    """Whether the disk comes along. Without a list libvirt copies what is writable and unshared."""
    if request.copy_storage is CopyStorage.NONE:
        return False
    if request.migrate_disks:
        return disk.target in request.migrate_disks
    return not (disk.shareable or disk.read_only or disk.empty)


def _left_behind(request: Request, disk: DiskFacts, local: LocalFacts | None) -> Iterator[Finding]:
    """A writable disk that is not copied: both hosts must see the same, and libvirt asks for proof.

    Measured: "Migration without shared storage is unsafe" for a file on a local file system,
    whatever its cache mode; with 'unsafe' it is tried. The other refusal, for cache modes, is only
    of QEMUs older than libvirt 9.0 supports.
    """
    filesystem = local.filesystem_of(disk.path) if local is not None else ""
    local_file = disk.kind == "file" and filesystem in LOCAL_FILESYSTEMS
    if disk.kind == "nvme" or local_file:
        where = f"{disk.path} is on {filesystem}" if local_file else "it is an NVMe of this host"
        yield _if_sure(
            not request.unsafe,
            str(Code.UNSAFE_STORAGE),
            f"Disk {disk.target} is not shared: {where}.",
            "Copy it with 'copy_storage', or put it on storage that both hosts see.",
            "copy_storage",
            Code.UNSAFE_STORAGE,
        )
    elif disk.kind == "file" and not filesystem:
        yield _warn(
            "storage_not_checked",
            f"Whether {disk.path} is on shared storage could not be seen.",
            "Make sure that both hosts see the same image.",
            "copy_storage",
        )
    if disk.cache == "unsafe":
        yield _warn(
            "disk_cache",
            f"Disk {disk.target} has cache='unsafe': what the guest wrote may not have reached the "
            "shared storage when the destination reads it.",
            "Use cache='none'.",
            "domain",
        )


# The destination


@dataclass(frozen=True, slots=True)
class Destination:
    """All that was found out about the destination, and what it is measured against.

    `local` is what its own pmigd sees, `here` what the source's says about the source; `control`
    is the same question answered by the source's libvirt: what that cannot see here, where it
    surely is, proves nothing there. `leads` is where the destination's host name leads to from the
    source.
    """

    facts: DestinationFacts
    own: HostFacts
    local: LocalFacts | None = None
    here: LocalFacts | None = None
    control: DestinationFacts | None = None
    leads: Leads | None = None


def check_pmigd(target: Target, libvirt: HostFacts, host_uuid: str) -> list[Finding]:
    """Whether the destination's pmigd is on the host of its libvirt."""
    if host_uuid == libvirt.host_uuid:
        return []
    return [
        Finding(
            "pmigd_elsewhere",
            Level.BLOCK,
            f"The pmigd of {target.name} is not on the host that {target.uri} leads to "
            f"({libvirt.hostname}): its limits are another host's.",
            f"Correct 'pmigd' or 'uri' of [peers.{target.name}].",
            "destination",
        )
    ]


def check_destination(
    request: Request,
    target: Target,
    guest: GuestFacts | None,
    question: Question,
    there: Destination,
) -> list[Finding]:
    """What speaks against moving it there. `guest` is None if the source has none of that name."""
    facts = there.facts
    if facts.host.host_uuid == there.own.host_uuid or facts.host.hostname == there.own.hostname:
        detail = f"{target.uri} leads to {facts.host.hostname}, which is this host."
        return [from_problem(Problem(Code.SAME_HOST, detail), "destination")]
    found = [*_identity(target, question, facts)]
    wants = question.wants
    if wants is not None:
        found += _machine(wants, there)
        found += _memory(wants, there)
        found += _networks(there)
        found += _pools(there.facts)
        found += _images(request, wants, there)
        found += _room(request, wants, guest, there.facts)
        found += _named(request, wants, there)
        if request.transport is Transport.NATIVE:
            found += _address(request, target, there)
            found += _ports(request, question, there.local)
            found += _tls(request, there)
        found += _postcopy(request, there)
        found += _clocks(there)
    found = [_or_its_hook(finding, there.local) for finding in found]
    return [*found, *_not_checked("destination", _unseen(request, question, there))]


def _or_its_hook(finding: Finding, local: LocalFacts | None) -> Finding:
    """What is missing may be made by a hook, or not be in the XML that one hands to libvirt.

    Measured: libvirt calls it ("NAME migrate begin") before it looks for what the guest needs.
    """
    if local is None or not local.hooks or finding.level is not Level.BLOCK:
        return finding
    if finding.code not in HOOK_MENDS:
        return finding
    detail = f"{finding.detail} Its libvirt hook may mend that: {_list(local.hooks)}."
    return replace(finding, level=Level.WARN, detail=detail)


def _identity(target: Target, question: Question, facts: DestinationFacts) -> Iterator[Finding]:
    """Measured: "domain 'x' already exists with uuid ...", "domain 'y' is already defined ..."."""
    name, identity = question.name, question.domain.uuid
    details = []
    if facts.view.power is not Power.UNKNOWN and not facts.view.gone:
        details.append(f"{target.name} has it already: {facts.view.power}.")
    elif facts.known_as and facts.known_as != name:
        details.append(f"{target.name} has a domain with its UUID {identity}: '{facts.known_as}'.")
    if facts.name_taken_by:
        details.append(f"{target.name} has another domain '{name}': {facts.name_taken_by}.")
    for detail in details:
        yield from_problem(Problem(Code.DESTINATION_HAS_DOMAIN, detail), "destination")


def _machine(wants: Definition, there: Destination) -> Iterator[Finding]:
    """libvirt's words. Measured: "Cannot check QEMU binary ...: No such file or directory"."""
    facts, control = there.facts, there.control
    if facts.refuses_machine:
        yield _if_sure(
            control is None or not control.refuses_machine,
            "machine_unknown",
            f"The destination cannot run {wants.machine} ({wants.arch}, {wants.virt_type}) with "
            f"{wants.emulator or 'its QEMU'}: {facts.refuses_machine}.",
            "Install the same or a newer QEMU there, or give the guest an older machine type.",
            "destination",
            origin=Origin.LIBVIRT,
        )
    if facts.refuses_cpu:
        # libvirt compares when the guest starts only if its CPU says so; and where the comparison
        # is wrong about the host that the guest runs on, it is wrong about others.
        trusted = wants.cpu_checked and not (control is not None and control.refuses_cpu)
        yield _if_sure(
            trusted,
            str(Code.CPU_INCOMPATIBLE),
            f"The destination's CPU lacks something: {facts.refuses_cpu}.",
            Code.CPU_INCOMPATIBLE.kind.remedy,
            "destination",
            Code.CPU_INCOMPATIBLE,
            Origin.LIBVIRT,
        )


def _memory(wants: Definition, there: Destination) -> Iterator[Finding]:
    """Measured: "cannot set up guest memory ...: Cannot allocate memory" above RAM and swap.

    The kernel counts each mapping by itself, so only what is one mapping is sure to be refused.
    Missing hugepages may be made when they are asked for (nr_overcommit_hugepages).
    """
    need, facts = wants.memory_bytes, there.facts
    free = {size: size * 1024 * pages for size, pages in facts.free_hugepages}
    for size, pages_need in wants.hugepages:
        if size in free and free[size] < pages_need:
            yield _warn(
                "hugepages_short",
                f"The guest needs {_mib(pages_need)} in pages of {size} KiB, and the destination "
                f"has {_mib(free[size])} free.",
                "Reserve more there: 'virsh allocpages'.",
                "destination",
            )
    if wants.hugepages:
        return
    limit = there.local.memory_limit_bytes if there.local is not None else None
    available = facts.memory_available_bytes
    if wants.memory_in_one and limit is not None and need > limit:
        yield _block(
            "memory_short",
            f"The guest may have {_mib(need)}, and the destination has {_mib(limit)} with swap.",
            "Choose a larger host.",
            "destination",
        )
    elif available is not None and need > available:
        yield _warn(
            "memory_short",
            f"The guest may have {_mib(need)}, and the destination has {_mib(available)} to spare.",
            "Choose a host with more memory, or make room there.",
            "destination",
        )


def _networks(there: Destination) -> Iterator[Finding]:
    """Measured: "Network not found", "network 'x' is not active", "Cannot get interface MTU on"."""
    facts, control = there.facts, there.control
    for name in facts.networks_missing:
        yield _block(
            "network_missing",
            f"The destination has no network '{name}'.",
            "Define and start it there, or give the guest another with 'xml'.",
            "destination",
        )
    for name in facts.networks_inactive:
        yield _block(
            "network_inactive",
            f"Network '{name}' is not active at the destination.",
            f"'virsh net-start {name}' there.",
            "destination",
        )
    seen = there.local.links_missing if there.local is not None else facts.links_missing
    for name in seen:
        doubtful = there.local is None and (control is None or name in control.links_missing)
        yield _if_sure(
            not doubtful,
            "bridge_missing",
            f"The destination has no network device '{name}'.",
            "Make it there, or give the guest another with 'xml'.",
            "destination",
        )


def _pools(facts: DestinationFacts) -> Iterator[Finding]:
    for pool in facts.pools_missing:
        yield _block(
            "pool_missing",
            f"The destination has no storage pool '{pool}'.",
            "Define and start it there.",
            "destination",
        )
    for pool in facts.pools_inactive:
        yield _block(
            "pool_inactive",
            f"Storage pool '{pool}' is not active at the destination.",
            f"'virsh pool-start {pool}' there.",
            "destination",
        )


def _images(request: Request, wants: Definition, there: Destination) -> Iterator[Finding]:
    images = {image.path: image for image in there.facts.images}
    for disk in wants.disks:
        image = images.get(disk.path)
        if image is None or disk.optional:
            continue
        if _copied(request, disk) and disk.kind == "file":
            yield from _copied_to(request, disk, image, there.local)
        else:
            yield from _must_be_there(disk, image, there.local)


def _room(
    request: Request, wants: Definition, guest: GuestFacts | None, facts: DestinationFacts
) -> Iterator[Finding]:
    """Whether the pools that libvirt makes the images in have room for what they hold now."""
    allocated = dict(guest.allocated_bytes) if guest is not None else {}
    images = {image.path: image for image in facts.images if image.pool and not image.known}
    needs: dict[str, int] = {}
    for disk in wants.disks:
        if disk.path in images and _copied(request, disk):
            pool = images[disk.path].pool
            needs[pool] = needs.get(pool, 0) + allocated.get(disk.target, 0)
    available = {image.pool: image.available_bytes for image in images.values()}
    for pool, need in needs.items():
        room = available[pool]
        if room is not None and need > room:
            yield _warn(
                "pool_full",
                f"The disks hold {_mib(need)}, and storage pool '{pool}' of the destination has "
                f"{_mib(room)} free.",
                "Make room there.",
                "copy_storage",
            )


def _named(request: Request, wants: Definition, there: Destination) -> Iterator[Finding]:
    """What else the guest names: see :mod:`pmigd.core.named`."""
    local, disks = there.local, wants.disks
    exempt = {f"disk {d.target}" for d in disks if d.optional or _copied(request, d)}
    missing = there.facts.lacks + (local.lacks if local is not None else ())
    paths_missing = local.paths_missing if local is not None else ()
    return lacking(wants.named, missing, paths_missing, exempt)


def _must_be_there(
    disk: DiskFacts, image: ImageFacts, local: LocalFacts | None
) -> Iterator[Finding]:
    """Measured: "Cannot access storage file ...: No such file or directory", read-only ones too.

    What a pool does not list may have been put there since its last refresh.
    """
    medium = disk.device in ("cdrom", "floppy")
    code = "medium_missing" if medium else "image_missing"
    remedy = (
        "Eject it ('virsh change-media'), copy it there, or set startupPolicy='optional'."
        if medium
        else "Put it on storage that both hosts see, or copy it with 'copy_storage'."
    )
    detail = f"The destination does not have {disk.path} of {disk.target}."
    if local is not None and local.sees(disk.path):
        if disk.path in local.paths_missing:
            yield _block(code, detail, remedy, "destination")
    elif image.pool and not image.known:
        detail = f"Storage pool '{image.pool}' of the destination does not list {disk.path}."
        yield _warn(code, detail, remedy, "destination")


def _copied_to(
    request: Request, disk: DiskFacts, image: ImageFacts, local: LocalFacts | None
) -> Iterator[Finding]:
    """Where a disk that is copied goes.

    Measured: inc needs the image there ("pre-creation of storage targets for incremental storage
    migration is not supported"), all needs it or a pool with its directory ("no storage pool with
    matching target path").
    """
    missing = local is not None and disk.path in local.paths_missing
    if image.known or (local is not None and local.sees(disk.path) and not missing):
        return
    if request.copy_storage is CopyStorage.INC:
        yield _if_sure(
            missing,
            "image_missing",
            f"An incremental copy needs {disk.path} at the destination"
            + (", where it is not." if missing else ": none of its pools lists it."),
            "Create it there over the same backing image, or use 'copy_storage': 'all'.",
            "copy_storage",
        )
    elif not image.pool:
        yield _if_sure(
            missing,
            "no_pool_for_copy",
            f"No active storage pool of the destination has the directory of {disk.path}: libvirt "
            "cannot create the image there.",
            "Define a pool for that directory, or create the image there.",
            "copy_storage",
        )


def _address(request: Request, target: Target, there: Destination) -> Iterator[Finding]:
    """The destination tells the source its own host name, unless it is told what to say.

    Measured: "hostname on destination resolved to localhost, but migration requires an FQDN";
    "unable to connect to server at 'hostb:49153': Connection refused"; "Unable to resolve address".
    Its qemu.conf may name another (migration_host), which only its own pmigd sees.
    """
    if not goes_by_hostname(request, target):
        return
    if there.local is not None and there.local.migration_host:
        return
    name = there.facts.host.hostname
    if name.startswith("localhost"):
        detail = f"The destination calls itself '{name}'; the source could not reach it by that."
    elif there.leads is Leads.HERE:
        detail = f"The destination calls itself '{name}', which is an address of this host here."
    elif there.leads is Leads.NOWHERE:
        detail = f"The destination calls itself '{name}', which cannot be resolved here."
    else:
        return
    yield _if_sure(
        there.local is not None,
        "destination_hostname",
        detail,
        "Correct its host name or what it resolves to, or give the peer a migrate_uri.",
        "migrate_uri",
    )


def _ports(request: Request, question: Question, local: LocalFacts | None) -> Iterator[Finding]:
    """Measured: with a foreign listener on the port the memory goes to that, and nothing ends.

    Over IPv4 it is connected to instead of the guest's QEMU. With one on 'disks_port' not even an
    abort came through.
    """
    if local is None:
        return
    for port in question.ports:
        if port in local.busy_ports:
            yield _block(
                "port_in_use",
                f"Something listens on port {port} of the destination already.",
                "Choose another port, or leave it to libvirt.",
                "disks_port" if port == request.disks_port else "migrate_uri",
            )
    first, last = local.migration_ports
    taken = sum(first <= port <= last for port in local.busy_ports)
    needs = 1 + (request.copy_storage is not CopyStorage.NONE)
    if not question.ports and last - first + 1 - taken < needs:
        yield _block(
            "no_free_port",
            f"The destination has no free port for it between {first} and {last}.",
            "Wait for other migrations, or widen migration_port_min and _max in its qemu.conf.",
            "destination",
        )


def _tls(request: Request, there: Destination) -> Iterator[Finding]:
    """QEMU's own TLS.

    Measured: without the certificate authority, or the server's certificate or key, "Unable to
    access credentials"; without the client's, the destination that verifies clients hangs up
    ("Cannot write to TLS channel").
    """
    if not request.tls:
        if any(local is not None and local.tls_forced for local in (there.here, there.local)):
            # libvirt: "this libvirtd instance allows migration only with VIR_MIGRATE_TLS flag".
            yield _block(
                "tls_forced",
                "One of the hosts has migrate_tls_force in its qemu.conf.",
                "Add 'tls'.",
                "tls",
            )
        return
    here, local = there.here, there.local
    if here is not None:
        optional: tuple[str, ...] = ("client-cert.pem", "client-key.pem")
        if local is not None and local.tls_verifies_clients:
            optional = ()
        yield from _tls_of("this host", here.tls_client, here.utc, optional)
    if local is not None:
        yield from _tls_of("the destination", local.tls_server, local.utc)


def _tls_of(
    host: str, files: TlsFiles, now: datetime, optional: tuple[str, ...] = ()
) -> Iterator[Finding]:
    remedy = f"Put QEMU's certificates into {files.directory} of {host}; docs/migration.md has how."
    if files.missing:
        certain = any(name not in optional for name in files.missing)
        yield _if_sure(
            certain,
            "tls_not_set_up",
            f"{_list(files.missing)} missing in {files.directory} of {host}.",
            remedy,
            "tls",
        )
    if files.expires is not None and files.expires < now + TLS_SOON:
        expired = files.expires <= now
        yield _if_sure(
            expired,
            "tls_expired" if expired else "tls_expires_soon",
            f"A certificate in {files.directory} of {host} "
            f"{'ended' if expired else 'ends'} {files.expires:%Y-%m-%d %H:%M} UTC.",
            remedy,
            "tls",
        )


def _postcopy(request: Request, there: Destination) -> Iterator[Finding]:
    """Measured, QEMU not run by root, no such sysctl: "Postcopy is not supported"."""
    local = there.local
    if request.postcopy is Postcopy.NEVER or local is None:
        return
    can = {
        Userfaultfd.EVERYBODY: True,
        Userfaultfd.DEVICE: local.qemu_user in ("root", "0", "+0")
        or parse(there.facts.host.libvirt_version) >= USERFAULTFD_DEVICE,
        Userfaultfd.ROOT: local.qemu_user in ("root", "0", "+0"),
        Userfaultfd.NOBODY: False,
    }[local.userfaultfd]
    if not can:
        yield _block(
            "postcopy_no_userfaultfd",
            f"QEMU may not use userfaultfd at the destination, where it runs as {local.qemu_user}.",
            "'sysctl vm.unprivileged_userfaultfd=1' there, or migrate without post-copy.",
            "postcopy",
        )


def _clocks(there: Destination) -> Iterator[Finding]:
    if there.local is None or there.here is None:
        return
    apart = abs(there.local.utc - there.here.utc)
    if apart > CLOCKS_APART:
        yield _warn(
            "clocks_apart",
            f"The hosts' clocks are {apart.total_seconds():.0f} s apart: the guest's clock may "
            "jump, and the pause cannot be measured.",
            "Synchronise both hosts' clocks.",
            "destination",
        )


def _unseen(request: Request, question: Question, there: Destination) -> tuple[str, ...]:
    """What nobody could look at."""
    if there.local is not None:
        return there.facts.unknown + there.local.unknown
    looks = list(there.facts.unknown)
    if question.wants is not None:
        listed = {image.path for image in there.facts.images if image.known or image.pool}
        looks += [path for path in question.paths if path not in listed]
        looks += [thing.name for thing in asked(question.wants.named, Asked.HOST)]
        if request.transport is Transport.NATIVE:
            looks.append("ports")
            if request.tls:
                looks.append("TLS files")
        if request.postcopy is not Postcopy.NEVER:
            looks.append("userfaultfd")
        looks.append("clock")
    return tuple(looks)


def _not_checked(host: str, looks: tuple[str, ...]) -> Iterator[Finding]:
    """One finding for all of them."""
    if looks:
        yield Finding(
            "not_checked",
            Level.INFO,
            f"Not checked at the {host}: {_list(tuple(dict.fromkeys(looks)))}.",
            "Look there yourself.",
            "destination" if host == "destination" else "domain",
        )


def _asleep(request: Request, guest: GuestFacts, source: HostFacts) -> Iterator[Finding]:
    """Measured on QEMU 7.2: it sends all, never switches over, and the guest stands still."""
    version = source.hypervisor_version
    asleep = guest.view.power is Power.ASLEEP and not request.offline
    if asleep and (0, 0, 0) < parse(version) < MIGRATES_ASLEEP:
        yield _block(
            "guest_asleep",
            f"The guest is asleep (suspended to memory); with QEMU {version} its migration would "
            "never end, and the guest would stand still.",
            f"Wake it first: 'virsh dompmwakeup {guest.domain.name}'.",
            "domain",
        )


# Words


def _if_sure(
    sure: bool,
    code: str,
    detail: str,
    remedy: str,
    field: str,
    problem: Code = Code.CHECK_FAILED,
    origin: Origin = Origin.LOOK,
) -> Finding:
    """It blocks if that is `sure`, else it warns."""
    level = Level.BLOCK if sure else Level.WARN
    return Finding(code, level, detail, remedy, field, problem, origin)


def _block(
    code: str, detail: str, remedy: str, field: str, origin: Origin = Origin.LOOK
) -> Finding:
    return _if_sure(True, code, detail, remedy, field, origin=origin)


def _warn(code: str, detail: str, remedy: str, field: str) -> Finding:
    return _if_sure(False, code, detail, remedy, field)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes // BYTES_PER_MIB} MiB"


def _port_of(uri: str | None) -> int | None:
    return urlsplit(uri).port if uri and "://" in uri else None
