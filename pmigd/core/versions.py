"""What the hosts' libvirt and QEMU are too old for, or have no more.

A row says which request it is about and the versions it needs. Sources: libvirt's constants with
their since-versions and its release notes; QEMU's release notes. What is broken although it is
there is in :mod:`pmigd.core.defects`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pmigd.core.facts import HostFacts
from pmigd.core.fields import Version
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.problem import Code
from pmigd.core.request import ROWS, Postcopy, Request


@dataclass(frozen=True, slots=True)
class Need:
    """`when` of a request, both hosts (or only the source) need these versions; None: any."""

    kind: FindingKind
    when: Callable[[Request], bool]
    libvirt: Version | None = None
    qemu: Version | None = None
    source_only: bool = False


def _kind(
    code: str,
    field: str,
    title: str,
    remedy: str = "Leave it out, or upgrade {what} on the {side}.",
) -> FindingKind:
    return FindingKind(
        code,
        title,
        Level.BLOCK,
        Origin.RULE,
        field,
        remedy,
        problem=Code.UNSUPPORTED_BY_LIBVIRT,
    )


def _needs(code: str, field: str) -> FindingKind:
    return _kind(code, field, f"A host's libvirt or QEMU is too old for '{field}'.")


def _compresses_with(*methods: str) -> Callable[[Request], bool]:
    return lambda r: r.compression is not None and bool(set(methods) & set(r.compression.methods))


NEEDS: Final[tuple[Need, ...]] = (
    *(
        Need(_needs(needs.code, row.path), row.given, needs.libvirt, needs.qemu, needs.source_only)
        for row in ROWS
        for needs in row.about.needs
    ),
    Need(
        _needs("needs_zlib", "compression"), _compresses_with("zlib", "zstd"), (9, 4, 0), (5, 0, 0)
    ),
    Need(
        _needs("needs_postcopy_with_parallel", "postcopy"),
        lambda r: r.postcopy is not Postcopy.NEVER and r.parallel_connections > 0,
        qemu=(10, 1, 0),
    ),
)
"""What a field needs by itself is in its row; here is what values and pairs of them need."""

MT_REMOVED: Final = _kind(
    "mt_removed",
    "compression",
    "A host's QEMU has no compression 'mt' any more.",
    "Use xbzrle, or zstd with 'parallel_connections'.",
)
MT_REMOVED_IN: Final[Version] = (9, 1, 0)

KINDS: Final = (*dict.fromkeys(need.kind for need in NEEDS), MT_REMOVED)
"""All that a host can be found too old, or too new, for."""


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
                    detail = (
                        f"'{need.kind.field}' needs {what} >= {text(wanted)} on the {side}, "
                        f"which has {has or 'an unknown version'}."
                    )
                    found.append(need.kind.found(detail, what=what, side=side))
    if _compresses_with("mt")(request):
        found += [
            MT_REMOVED.found(
                f"QEMU {host.hypervisor_version} on the {side} has no compression 'mt' any more."
            )
            for side, host in hosts
            if parse(host.hypervisor_version) >= MT_REMOVED_IN
        ]
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
