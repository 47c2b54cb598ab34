"""What of the guest's devices cannot leave the source, or only perhaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pmigd.core.checks.rules import Rules, Running
from pmigd.core.facts import HostDevice
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.versions import parse

BLOCKERS_TOLD: Final = (6, 0, 0)
"""The first QEMU that tells libvirt what blocks a migration."""
VFIO_MIGRATES: Final = (8, 1, 0)
"""The first QEMU that migrates VFIO devices without being told to try."""
VIRTIOFS_MIGRATES: Final = (8, 2, 0)
"""The first QEMU whose virtiofs device can be migrated at all."""

RUNNING: Final[Rules[Running]] = Rules()


@RUNNING.rule(
    FindingKind(
        "host_device",
        "The guest has a device of its host, which cannot move, or only if both hosts can do it.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Detach it: 'virsh detach-device'; a network card can be given a stand-in (teaming).",
        unsure=True,
    )
)
def _host_devices(kind: FindingKind, at: Running) -> Iterator[Finding]:
    for device in at.definition.host_devices:
        if not device.replaceable:
            yield _host_device(kind, device, at.host.hypervisor_version)


def _host_device(kind: FindingKind, device: HostDevice, version: str) -> Finding:
    """A device of the host, by its kind.

    libvirt asks QEMU what blocks, and before QEMU could tell refused all but USB. QEMU before 8.1
    moves no VFIO device, and later ones do if the device's driver can.
    """
    qemu = parse(version)
    vfio = device.kind in ("pci", "mdev", "vdpa")
    what = f"It has a device of this host ({device.kind})"
    if device.kind in ("capabilities", "scsi_host"):
        return kind.found(f"{what}, which cannot move.")
    if (vfio and qemu < VFIO_MIGRATES) or (device.kind != "usb" and qemu < BLOCKERS_TOLD):
        return kind.found(f"{what}, which QEMU {version} cannot move.")
    if vfio:
        detail = f"{what}: that moves only if its driver supports it, on both hosts."
    elif device.kind == "usb":
        detail = f"{what}: the guest loses it, unless the destination has the same."
    else:
        detail = f"{what}: the destination must have the same."
    return kind.found(detail, sure=False)


@RUNNING.rule(
    FindingKind(
        "filesystem",
        "The guest has a directory of its host by 9p, which moves only while it is not mounted.",
        Level.WARN,
        Origin.LOOK,
        "domain",
        "Unmount it in the guest.",
    )
)
def _filesystem(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """Measured: moved while the guest had not mounted it."""
    if any(driver != "virtiofs" for driver in at.definition.filesystems):
        yield kind.found(
            "It has a directory of this host (9p): QEMU refuses while the guest has it mounted, "
            "and the destination needs the same directory."
        )


@RUNNING.rule(
    FindingKind(
        "virtiofs",
        "The guest has a virtiofs directory, which QEMU cannot move, or only with its virtiofsd.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Unmount it in the guest and detach it ('virsh detach-device'); where this is a warning, "
        "only if libvirt refuses.",
        unsure=True,
    )
)
def _virtiofs(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """Measured: "cannot migrate domain: non-migratable device: ...vhost-user-fs"."""
    version = at.host.hypervisor_version
    if "virtiofs" not in at.definition.filesystems:
        return
    if parse(version) < VIRTIOFS_MIGRATES:
        yield kind.found(f"It has a virtiofs directory, which QEMU {version} cannot move.")
    else:
        detail = "It has a virtiofs directory: that moves only if its virtiofsd supports it."
        yield kind.found(detail, sure=False)


@RUNNING.rule(
    FindingKind(
        "shared_memory",
        "The guest shares memory with another that owns it; only the owner moves.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Detach it, or give this guest role='master'.",
    )
)
def _shared_memory(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """Measured: "Migration is disabled when using feature 'peer mode' in device 'ivshmem'"."""
    for name, role in at.definition.shared_memory:
        if role != "master":
            yield kind.found(
                f"Shared memory '{name}' belongs to another guest too; only the master moves."
            )


@RUNNING.rule(
    FindingKind(
        "invariant_tsc",
        "The guest's CPU has the feature invtsc, but its clock says no frequency for the TSC.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Add <timer name='tsc' frequency='HZ'/> to its clock, or take the feature away.",
    )
)
def _invariant_tsc(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """libvirt: "domain has 'invtsc' CPU feature but TSC frequency is not specified"."""
    if at.definition.invariant_tsc and not at.definition.tsc_frequency:
        yield kind.found(kind.title)
