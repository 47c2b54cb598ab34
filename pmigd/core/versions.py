"""What the hosts' libvirt and QEMU are too old, or too broken, for.

A row says which request it is about and the versions it needs. Sources: libvirt's constants with
their since-versions and its release notes; QEMU's release notes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pmigd.core.fields import Version
from pmigd.core.finding import Finding, Level
from pmigd.core.ports import HostFacts
from pmigd.core.problem import Code, Problem
from pmigd.core.request import ROWS, Postcopy, Request


@dataclass(frozen=True, slots=True)
class Need:
    """`when` of a request, both hosts (or only the source) need these versions; None: any."""

    code: str
    field: str
    when: Callable[[Request], bool]
    libvirt: Version | None = None
    qemu: Version | None = None
    source_only: bool = False


def _compresses_with(*methods: str) -> Callable[[Request], bool]:
    return lambda r: r.compression is not None and bool(set(methods) & set(r.compression.methods))


NEEDS: Final[tuple[Need, ...]] = (
    *(
        Need(needs.code, row.path, row.given, needs.libvirt, needs.qemu, needs.source_only)
        for row in ROWS
        for needs in row.about.needs
    ),
    Need("needs_zlib", "compression", _compresses_with("zlib", "zstd"), (9, 4, 0), (5, 0, 0)),
    Need(
        "needs_postcopy_with_parallel",
        "postcopy",
        lambda r: r.postcopy is not Postcopy.NEVER and r.parallel_connections > 0,
        qemu=(10, 1, 0),
    ),
)
"""What a field needs by itself is in its row; here is what values and pairs of them need."""

MT_REMOVED: Final[Version] = (9, 1, 0)
"""QEMU without compression by the method mt."""


RESUME_CRASHES: Final[tuple[Version, Version]] = ((11, 2, 0), (11, 4, 0))
"""From which libvirt on, and until which, resuming a post-copy crashes the destination's daemon."""


def cannot_recover(destination: HostFacts) -> Problem | None:
    """Why a broken post-copy to `destination` must not be gone on with, or None."""
    since, fixed = RESUME_CRASHES
    if not since <= parse(destination.libvirt_version) < fixed:
        return None
    return Problem(
        Code.UNSUPPORTED_BY_LIBVIRT,
        f"libvirt {destination.libvirt_version} on the destination crashes when a post-copy is "
        f"resumed: needs libvirt >= {text(fixed)} on destination.",
    )


def too_old(request: Request, source: HostFacts, destination: HostFacts) -> list[Finding]:
    """Everything in `request` that one of the hosts cannot do."""
    hosts = [("source", source), ("destination", destination)]
    found = []
    for need in NEEDS:
        if not need.when(request):
            continue
        for side, host in hosts[:1] if need.source_only else hosts:
            for what, wanted, has in (
                ("libvirt", need.libvirt, host.libvirt_version),
                ("QEMU", need.qemu, host.hypervisor_version),
            ):
                if wanted is not None and parse(has) < wanted:
                    found.append(
                        Finding(
                            need.code,
                            Level.BLOCK,
                            f"'{need.field}' needs {what} >= {text(wanted)} on the {side}, "
                            f"which has {has or 'an unknown version'}.",
                            f"Leave it out, or upgrade {what} on the {side}.",
                            need.field,
                            Code.UNSUPPORTED_BY_LIBVIRT,
                        )
                    )
    if _compresses_with("mt")(request):
        for side, host in hosts:
            if parse(host.hypervisor_version) >= MT_REMOVED:
                found.append(
                    Finding(
                        "mt_removed",
                        Level.BLOCK,
                        f"QEMU {host.hypervisor_version} on the {side} has no compression 'mt' "
                        "any more.",
                        "Use xbzrle, or zstd with parallel connections.",
                        "compression",
                        Code.UNSUPPORTED_BY_LIBVIRT,
                    )
                )
    if request.postcopy is not Postcopy.NEVER and (problem := cannot_recover(destination)):
        found.append(
            Finding(
                "postcopy_cannot_recover",
                Level.WARN,
                f"Should post-copy break, it cannot be gone on with. {problem.detail}",
                "Upgrade libvirt on the destination, or migrate without post-copy.",
                "postcopy",
            )
        )
    return found


def parse(version: str) -> Version:
    """ "9.0.0" as numbers; what cannot be read is older than everything."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return (0, 0, 0)
    return (int(parts[0]), int(parts[1]), int(parts[2]))


def text(version: Version) -> str:
    """The other way round."""
    return ".".join(str(part) for part in version)
