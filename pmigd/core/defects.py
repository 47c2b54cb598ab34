"""Known faults of libvirt and QEMU, by version: told before they can hurt a migration.

A row says whose version counts, from which on and until which it is broken, and which requests it
can hurt. Sources: libvirt's release notes, QEMU's documentation of its migration and its work items
(2720 for multifd). What only may happen is a warning; what depends on nothing that was asked for,
but on what guests or people do meanwhile, is good to know. Shown for each peer's versions too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pmigd.core.facts import HostFacts
from pmigd.core.fields import Version
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import CopyStorage, Postcopy, Request
from pmigd.core.problem import Code, Problem
from pmigd.core.versions import parse, text


class Side(StrEnum):
    """Whose version counts."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"  # either of them


class Software(StrEnum):
    """What is broken."""

    LIBVIRT = "libvirt"
    QEMU = "QEMU"

    def of(self, host: HostFacts) -> str:
        """Its version on a host; empty if that is not known."""
        return host.libvirt_version if self is Software.LIBVIRT else host.hypervisor_version


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault. It is in versions from `since` on, and `fixed` has it no more.

    `when`: whether it can hurt what was asked for. `only_from`: only with a source whose version of
    the same software is from the first on, and before the second.
    """

    kind: FindingKind
    side: Side
    software: Software
    since: Version
    fixed: Version
    when: Callable[[Request], bool]
    only_from: tuple[Version, Version] | None = None

    def broken(self, version: str) -> bool:
        """Whether it is in this version. Of one that cannot be read nothing is known."""
        number = parse(version)
        return number != UNKNOWN and self.since <= number < self.fixed


UNKNOWN: Final[Version] = (0, 0, 0)
EVER: Final[Version] = (0, 0, 1)
"""Since which version is not said."""


def _kind(code: str, level: Level, field: str | None, title: str, remedy: str) -> FindingKind:
    problem = Code.UNSUPPORTED_BY_LIBVIRT if level is Level.BLOCK else None
    return FindingKind(code, title, level, Origin.LOOK, field, remedy, problem=problem)


def _live(r: Request) -> bool:
    return not r.offline


def _postcopy(r: Request) -> bool:
    return r.postcopy is not Postcopy.NEVER


def _disks_by_tls(r: Request) -> bool:
    connects_itself = r.parallel_connections > 0 or _postcopy(r)
    return r.tls and r.copy_storage is not CopyStorage.NONE and connects_itself


RECOVERY_CRASHES: Final = Defect(
    _kind(
        "postcopy_cannot_recover",
        Level.WARN,
        "postcopy",
        "The destination's libvirt crashes when a broken post-copy is gone on with, so pmigd "
        "does not.",
        "Upgrade libvirt on the destination to {fixed}, or migrate without post-copy.",
    ),
    Side.DESTINATION,
    Software.LIBVIRT,
    (11, 2, 0),
    (11, 4, 0),
    _postcopy,
)

DEFECTS: Final[tuple[Defect, ...]] = (
    RECOVERY_CRASHES,
    Defect(
        _kind(
            "postcopy_recovery_told_failed",
            Level.WARN,
            "postcopy",
            "libvirt may report that a broken post-copy could not be gone on with, although it "
            "goes on.",
            "Upgrade libvirt on the source to {fixed}; meanwhile believe what pmigd sees on both "
            "hosts, and touch neither copy.",
        ),
        Side.SOURCE,
        Software.LIBVIRT,
        EVER,
        (11, 0, 0),
        _postcopy,
    ),
    Defect(
        _kind(
            "postcopy_first_moment",
            Level.WARN,
            "postcopy",
            "If the destination dies in the first moment of post-copy, before the guest runs "
            "there, QEMU cannot let it run on at the source: the guest is lost.",
            "Upgrade QEMU on both hosts to {fixed}, or migrate without post-copy where the way "
            "between the hosts is not sure.",
        ),
        Side.BOTH,
        Software.QEMU,
        EVER,
        (10, 2, 0),
        _postcopy,
    ),
    Defect(
        _kind(
            "tls_long_transfer",
            Level.WARN,
            "tls",
            "In a long transfer by TLS a fault of GnuTLS may crash the source's QEMU, and the "
            "guest with it; this libvirt cannot work around it.",
            "Upgrade libvirt on the source to {fixed}, which sets the TLS priority (qemu.conf), or "
            "send large guests without 'tls' where the network is trusted.",
        ),
        Side.SOURCE,
        Software.LIBVIRT,
        EVER,
        (11, 6, 0),
        lambda r: r.tls and not r.offline,
    ),
    Defect(
        _kind(
            "tls_name_of_disks",
            Level.WARN,
            "tls",
            "With TLS, copied disks, and post-copy or parallel connections, libvirt may verify "
            "the destination's certificate against a wrong name, and then the migration fails.",
            "Upgrade libvirt on the source to {fixed}, or use one connection without post-copy.",
        ),
        Side.SOURCE,
        Software.LIBVIRT,
        EVER,
        (10, 3, 0),
        _disks_by_tls,
    ),
    Defect(
        _kind(
            "parallel_old_to_new",
            Level.BLOCK,
            "parallel_connections",
            "The destination's QEMU does not understand parallel connections of an older one: "
            "the transfer breaks.",
            "Use one connection, or upgrade QEMU on the destination.",
        ),
        Side.DESTINATION,
        Software.QEMU,
        (9, 2, 0),
        (9, 2, 1),
        lambda r: r.parallel_connections > 0,
        only_from=((7, 1, 0), (9, 0, 0)),
    ),
    Defect(
        _kind(
            "disks_port_kept",
            Level.WARN,
            "disks_port",
            "The destination's libvirt never releases a port for disks that it was given, and may "
            "refuse it to later migrations until it is restarted.",
            "Leave 'disks_port' out, or upgrade libvirt on the destination to {fixed}.",
        ),
        Side.DESTINATION,
        Software.LIBVIRT,
        (9, 0, 0),
        (10, 1, 0),
        lambda r: r.disks_port is not None,
    ),
    Defect(
        _kind(
            "shutdown_crashes_libvirt",
            Level.INFO,
            None,
            "libvirt may crash when the guest is shut down while it is being moved.",
            "Upgrade libvirt to {fixed}; until then do not shut a guest down while it moves.",
        ),
        Side.BOTH,
        Software.LIBVIRT,
        EVER,
        (10, 5, 0),
        _live,
    ),
    Defect(
        _kind(
            "arriving_xml_hangs",
            Level.INFO,
            None,
            "Whoever asks the destination's libvirt for the XML of the guest while it arrives "
            "waits 30 s and gets an error ('virsh dumpxml', management tools; pmigd does not ask).",
            "Upgrade libvirt on the destination to {fixed}.",
        ),
        Side.DESTINATION,
        Software.LIBVIRT,
        (11, 0, 0),
        (11, 5, 0),
        _live,
    ),
)

KINDS: Final = tuple(defect.kind for defect in DEFECTS)


@dataclass(frozen=True, slots=True)
class Present:
    """A defect that is there between two hosts, and on which side, with which version."""

    defect: Defect
    where: tuple[tuple[Side, str], ...]

    @property
    def finding(self) -> Finding:
        """It as a check says it."""
        kind, software = self.defect.kind, self.defect.software
        where = " and ".join(f"{software} {version} on the {side}" for side, version in self.where)
        return kind.found(f"{kind.title} Here: {where}.", fixed=text(self.defect.fixed))


def present(source: HostFacts, destination: HostFacts) -> Iterator[Present]:
    """All that is there for migrations from one host to the other, whatever is asked for."""
    for defect in DEFECTS:
        version = defect.software.of(source)
        if defect.only_from is not None:
            first, before = defect.only_from
            if not first <= parse(version) < before:
                continue
        sides = ((Side.SOURCE, version), (Side.DESTINATION, defect.software.of(destination)))
        where = tuple(
            (side, version)
            for side, version in sides
            if defect.side in (side, Side.BOTH) and defect.broken(version)
        )
        if where:
            yield Present(defect, where)


def hurting(request: Request, source: HostFacts, destination: HostFacts) -> list[Finding]:
    """Those that can hurt this request."""
    return [found.finding for found in present(source, destination) if found.defect.when(request)]


def cannot_recover(destination: HostFacts) -> Problem | None:
    """Why a broken post-copy to `destination` must not be gone on with, or None."""
    version, fixed = destination.libvirt_version, text(RECOVERY_CRASHES.fixed)
    if not RECOVERY_CRASHES.broken(version):
        return None
    return Problem(
        Code.UNSUPPORTED_BY_LIBVIRT,
        f"libvirt {version} on the destination crashes when a post-copy is resumed: needs libvirt "
        f">= {fixed} on destination.",
    )
