"""Looks at a guest through the daemon that it runs on, for the checks. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

import libvirt
from lxml import etree

from pmigd.adapters.libvirt.autostart import flag_of
from pmigd.adapters.libvirt.definition import definition_of, parse_xml
from pmigd.adapters.libvirt.failures import words_of
from pmigd.adapters.libvirt.named import backing_of
from pmigd.core.facts import Definition, DiskFacts, DomainFacts, GuestFacts
from pmigd.core.model import Job
from pmigd.core.named import Named

T = TypeVar("T")

_KIB: Final = 1024
_VOLUME_KINDS: Final = {
    libvirt.VIR_STORAGE_VOL_FILE: "file",
    libvirt.VIR_STORAGE_VOL_BLOCK: "block",
    libvirt.VIR_STORAGE_VOL_NETWORK: "network",
}


def guest_facts(
    connection: libvirt.virConnect,
    domain: libvirt.virDomain,
    known: DomainFacts,
    arriving_xml: str | None,
) -> GuestFacts:
    """What is known of `domain`, and more. `arriving_xml` replaces its XML at the destination."""
    if known.view.job is Job.INCOMING:
        # Its XML would have to wait for the migration's end, and it cannot be moved now anyway.
        return GuestFacts(known.domain, known.view, unknown=("the guest, which is still arriving",))
    unknown: list[str] = []

    def look(what: str, function: Callable[[], T], otherwise: T) -> T:
        try:
            return function()
        except (libvirt.libvirtError, etree.XMLSyntaxError, ValueError) as error:
            words = words_of(error) if isinstance(error, libvirt.libvirtError) else str(error)
            unknown.append(f"{what} ({words})")
            return otherwise

    definition: Definition | None = look(
        "the guest's XML",
        lambda: definition_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)),
        None,
    )
    if definition is not None and not known.view.gone:
        nothing: tuple[Named, ...] = ()
        backing = look("backing files", lambda: backing_of(parse_xml(domain.XMLDesc(0))), nothing)
        definition = replace(definition, named=definition.named + backing)
    arriving = definition
    if arriving_xml is not None:
        arriving = look("the XML to arrive with", lambda: definition_of(arriving_xml), None)
    jobs: tuple[str, ...] = ()
    resident: int | None = None
    allocated: tuple[tuple[str, int], ...] = ()
    if not known.view.gone and known.view.job is Job.NONE:
        jobs = look("block jobs", lambda: _block_jobs(domain, definition), ())
        allocated = look("disks", lambda: tuple(_allocated(domain, definition).items()), ())
        resident = look("memory in use", lambda: _resident_bytes(connection, domain), None)
    if definition is not None:
        disks = definition.disks
        disks = look("volumes", lambda: tuple(_resolved(connection, d) for d in disks), disks)
        definition = replace(definition, disks=disks)
    return GuestFacts(
        known.domain,
        known.view,
        definition=definition,
        arriving=arriving,
        autostart=look("autostart", lambda: flag_of(domain), None),
        snapshots=look("snapshots", lambda: domain.snapshotNum(0), 0),
        block_jobs=jobs,
        resident_bytes=resident,
        allocated_bytes=allocated,
        unknown=tuple(unknown),
    )


def _resolved(connection: libvirt.virConnect, disk: DiskFacts) -> DiskFacts:
    """A volume as the file, block device or network disk that it is on this host."""
    if disk.kind != "volume":
        return disk
    volume = connection.storagePoolLookupByName(disk.pool).storageVolLookupByName(disk.volume)
    kind = _VOLUME_KINDS.get(volume.info()[0], disk.kind)
    return replace(disk, kind=kind, path=volume.path())


def _block_jobs(domain: libvirt.virDomain, definition: Definition | None) -> tuple[str, ...]:
    disks = definition.disks if definition is not None else ()
    full = (disk.target for disk in disks if not disk.empty)
    return tuple(target for target in full if domain.blockJobInfo(target, 0))


def _allocated(domain: libvirt.virDomain, definition: Definition | None) -> dict[str, int]:
    """Bytes that the images of writable disks hold, by target."""
    disks = definition.disks if definition is not None else ()
    full = (disk.target for disk in disks if not (disk.empty or disk.read_only))
    return {target: domain.blockInfo(target)[1] for target in full}


def _resident_bytes(connection: libvirt.virConnect, domain: libvirt.virDomain) -> int | None:
    """Memory of the host that QEMU uses for it."""
    ((_, stats),) = connection.domainListGetStats(
        [domain],
        libvirt.VIR_DOMAIN_STATS_BALLOON,
        libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
    )
    resident = stats.get("balloon.rss")
    return None if resident is None else int(resident) * _KIB
