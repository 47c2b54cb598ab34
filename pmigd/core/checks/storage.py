"""The guest's disks: what may be left behind, and what must be at the destination, with room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pmigd.core.checks.rules import Arriving, Rules, Running, copied, listed, mib
from pmigd.core.facts import DiskFacts, ImageFacts, LocalFacts
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import CopyStorage
from pmigd.core.named import IMAGE_MISSING

LOCAL_FILESYSTEMS: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "vfat"}
)
"""libvirt takes none of these for shared. Of a type that is not listed here it may."""

RUNNING: Final[Rules[Running]] = Rules()
ARRIVING: Final[Rules[Arriving]] = Rules()


@RUNNING.rule(
    FindingKind(
        "disk_not_copyable",
        "'migrate_disks' names what is no disk of the guest that can be copied.",
        Level.BLOCK,
        Origin.RULE,
        "migrate_disks",
        "Name some of its writable disks: {disks}.",
    )
)
def _not_copyable(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """libvirt: "disk target %s not found", "Cannot migrate empty or read-only disk %s"."""
    disks = at.definition.disks
    writable = [disk.target for disk in disks if not disk.empty and not disk.read_only]
    for name in at.request.migrate_disks:
        if name in writable:
            continue
        known = any(disk.target == name for disk in disks)
        why = "cannot copy it: it is empty or read-only" if known else "has no such disk"
        yield kind.found(
            f"'migrate_disks' names {name}, but the guest {why}.",
            disks=listed(writable) or "it has none",
        )


@RUNNING.rule(
    FindingKind(
        "transient_disk",
        "A disk of the guest is transient, which libvirt does not migrate.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Give the guest an ordinary disk.",
    )
)
def _transient(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """Measured, with --unsafe too: "migration with transient disk is not supported"."""
    for disk in at.definition.disks:
        if disk.transient:
            yield kind.found(f"Disk {disk.target} is transient, which libvirt does not migrate.")


def _left_behind(at: Running) -> Iterator[tuple[DiskFacts, str]]:
    """Writable disks that are not copied, with the file system that each is on ("": unknown).

    Both hosts must see the same, and libvirt asks for proof.
    """
    for disk in at.definition.disks:
        if not (disk.transient or disk.empty or disk.read_only or copied(at.request, disk)):
            yield disk, at.local.filesystem_of(disk.path) if at.local is not None else ""


@RUNNING.rule(
    FindingKind(
        "unsafe_storage",
        "A writable disk of the guest is on this host alone, and is not copied.",
        Level.BLOCK,
        Origin.LOOK,
        "copy_storage",
        "Copy it with 'copy_storage', or put it on storage that both hosts see.",
        unsure=True,
    )
)
def _unsafe(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """Measured: "Migration without shared storage is unsafe" for a file on a local file system,
    whatever its cache mode; with 'unsafe' it is tried. The other refusal, for cache modes, is only
    of QEMUs older than libvirt 9.0 supports.
    """
    for disk, filesystem in _left_behind(at):
        local_file = disk.kind == "file" and filesystem in LOCAL_FILESYSTEMS
        if disk.kind == "nvme" or local_file:
            where = (
                f"{disk.path} is on {filesystem}" if local_file else "it is an NVMe of this host"
            )
            detail = f"Disk {disk.target} is not shared: {where}."
            yield kind.found(detail, sure=not at.request.unsafe)


@RUNNING.rule(
    FindingKind(
        "storage_not_checked",
        "Whether a disk of the guest is on shared storage could not be seen.",
        Level.WARN,
        Origin.LOOK,
        "copy_storage",
        "Make sure that both hosts see the same image.",
    )
)
def _unseen_storage(kind: FindingKind, at: Running) -> Iterator[Finding]:
    for disk, filesystem in _left_behind(at):
        if disk.kind == "file" and not filesystem:
            yield kind.found(f"Whether {disk.path} is on shared storage could not be seen.")


@RUNNING.rule(
    FindingKind(
        "disk_cache",
        "A shared disk of the guest has cache='unsafe'.",
        Level.WARN,
        Origin.LOOK,
        "domain",
        "Use cache='none'.",
    )
)
def _cache(kind: FindingKind, at: Running) -> Iterator[Finding]:
    for disk, _ in _left_behind(at):
        if disk.cache == "unsafe":
            yield kind.found(
                f"Disk {disk.target} has cache='unsafe': what the guest wrote may not have reached "
                "the shared storage when the destination reads it."
            )


# At the destination


def _images(at: Arriving) -> Iterator[tuple[DiskFacts, ImageFacts, bool]]:
    """The disks that the guest does not start without, whether each is copied to a file there."""
    images = {image.path: image for image in at.facts.images}
    for disk in at.wants.disks:
        image = images.get(disk.path)
        if image is not None and not disk.optional:
            yield disk, image, copied(at.request, disk) and disk.kind == "file"


@ARRIVING.rule(IMAGE_MISSING)
def _image_missing(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    for disk, image, is_copied in _images(at):
        if is_copied:
            yield from _incremental(kind, at, disk, image)
        elif disk.device not in ("cdrom", "floppy"):
            yield from _must_be_there(kind, disk, image, at.local)


@ARRIVING.rule(
    FindingKind(
        "medium_missing",
        "The destination does not have what is in a drive of the guest.",
        Level.BLOCK,
        Origin.LOOK,
        "destination",
        "Eject it ('virsh change-media'), copy it there, or set startupPolicy='optional'.",
        unsure=True,
        mended=True,
    )
)
def _medium_missing(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    for disk, image, is_copied in _images(at):
        if not is_copied and disk.device in ("cdrom", "floppy"):
            yield from _must_be_there(kind, disk, image, at.local)


def _must_be_there(
    kind: FindingKind, disk: DiskFacts, image: ImageFacts, local: LocalFacts | None
) -> Iterator[Finding]:
    """Measured: "Cannot access storage file ...: No such file or directory", read-only ones too.

    What a pool does not list may have been put there since its last refresh.
    """
    if local is not None and local.sees(disk.path):
        if disk.path in local.paths_missing:
            yield kind.found(f"The destination does not have {disk.path} of {disk.target}.")
    elif image.pool and not image.known:
        detail = f"Storage pool '{image.pool}' of the destination does not list {disk.path}."
        yield kind.found(detail, sure=False)


def _there_for_copy(image: ImageFacts, local: LocalFacts | None) -> bool | None:
    """Whether the image that is copied to is there already; None: nobody can say."""
    if image.known:
        return True
    if local is None or not local.sees(image.path):
        return None
    return image.path not in local.paths_missing


def _incremental(
    kind: FindingKind, at: Arriving, disk: DiskFacts, image: ImageFacts
) -> Iterator[Finding]:
    """Measured: "pre-creation of storage targets for incremental storage migration is not
    supported".
    """
    there = _there_for_copy(image, at.local)
    if at.request.copy_storage is not CopyStorage.INC or there:
        return
    end = ", where it is not." if there is False else ": none of its pools lists it."
    detail = f"An incremental copy needs {disk.path} at the destination{end}"
    yield kind.found(detail, sure=there is False, field="copy_storage")


@ARRIVING.rule(
    FindingKind(
        "no_pool_for_copy",
        "libvirt cannot create an image that is to be copied: no pool there has its directory.",
        Level.BLOCK,
        Origin.LOOK,
        "copy_storage",
        "Define a pool for that directory, or create the image there.",
        unsure=True,
        mended=True,
    )
)
def _no_pool(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Measured: without the image "no storage pool with matching target path"."""
    for disk, image, is_copied in _images(at):
        there = _there_for_copy(image, at.local)
        if not is_copied or there or image.pool or at.request.copy_storage is CopyStorage.INC:
            continue
        yield kind.found(
            f"No active storage pool of the destination has the directory of {disk.path}: libvirt "
            "cannot create the image there.",
            sure=there is False,
        )


@ARRIVING.rule(
    FindingKind(
        "pool_full",
        "The copied disks hold more than the destination's pool has free.",
        Level.WARN,
        Origin.LOOK,
        "copy_storage",
        "Make room there.",
    )
)
def _full(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Whether the pools that libvirt makes the images in have room for what they hold now."""
    allocated = dict(at.guest.allocated_bytes) if at.guest is not None else {}
    images = {image.path: image for image in at.facts.images if image.pool and not image.known}
    needs: dict[str, int] = {}
    for disk in at.wants.disks:
        if disk.path in images and copied(at.request, disk):
            pool = images[disk.path].pool
            needs[pool] = needs.get(pool, 0) + allocated.get(disk.target, 0)
    available = {image.pool: image.available_bytes for image in images.values()}
    for pool, need in needs.items():
        room = available[pool]
        if room is not None and need > room:
            yield kind.found(
                f"The disks hold {mib(need)}, and storage pool '{pool}' of the destination has "
                f"{mib(room)} free."
            )
