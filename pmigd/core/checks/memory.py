"""The guest's memory: what libvirt and the kernels need for it on either host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pmigd.core.checks.rules import Arriving, Rules, Running, mib
from pmigd.core.facts import Userfaultfd
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import Postcopy
from pmigd.core.versions import parse

USERFAULTFD_DEVICE: Final = (10, 1, 0)
"""The first libvirt that lets its QEMUs open /dev/userfaultfd."""

RUNNING: Final[Rules[Running]] = Rules()
ARRIVING: Final[Rules[Arriving]] = Rules()


@RUNNING.rule(
    FindingKind(
        "rdma_needs_hard_limit",
        "RDMA pins memory, and the guest has no hard limit for it.",
        Level.BLOCK,
        Origin.LOOK,
        "migrate_uri",
        "Give it one: 'virsh memtune DOMAIN --hard-limit KIB'.",
    )
)
def _rdma(kind: FindingKind, at: Running) -> Iterator[Finding]:
    """libvirt: "cannot start RDMA migration with no memory hard limit set"."""
    rdma = (at.request.migrate_uri or "").startswith("rdma:")
    if rdma and not at.definition.memory_limited:
        yield kind.found(kind.title)


@ARRIVING.rule(
    FindingKind(
        "hugepages_short",
        "The destination has fewer huge pages free than the guest needs.",
        Level.WARN,
        Origin.LOOK,
        "destination",
        "Reserve more there: 'virsh allocpages'.",
    )
)
def _hugepages(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """A warning: they may be made when they are asked for (nr_overcommit_hugepages)."""
    free = {size: size * 1024 * pages for size, pages in at.facts.free_hugepages}
    for size, need in at.wants.hugepages:
        if size in free and free[size] < need:
            yield kind.found(
                f"The guest needs {mib(need)} in pages of {size} KiB, and the destination has "
                f"{mib(free[size])} free."
            )


@ARRIVING.rule(
    FindingKind(
        "memory_short",
        "The destination has less memory than the guest may use.",
        Level.BLOCK,
        Origin.LOOK,
        "destination",
        "Choose a host with more memory, or make room there.",
        unsure=True,
    )
)
def _memory(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Measured: "cannot set up guest memory ...: Cannot allocate memory" above RAM and swap.

    The kernel counts each mapping by itself, so only what is one mapping is sure to be refused.
    """
    wants, need = at.wants, at.wants.memory_bytes
    limit = at.local.memory_limit_bytes if at.local is not None else None
    available = at.facts.memory_available_bytes
    may = f"The guest may have {mib(need)}, and the destination has"
    if wants.hugepages:
        return
    if wants.memory_in_one and limit is not None and need > limit:
        yield kind.found(f"{may} {mib(limit)} with swap.")
    elif available is not None and need > available:
        yield kind.found(f"{may} {mib(available)} to spare.", sure=False)


@ARRIVING.rule(
    FindingKind(
        "postcopy_no_userfaultfd",
        "QEMU may not use userfaultfd at the destination, which post-copy needs.",
        Level.BLOCK,
        Origin.LOOK,
        "postcopy",
        "'sysctl vm.unprivileged_userfaultfd=1' there, or migrate without post-copy.",
    )
)
def _userfaultfd(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Measured, QEMU not run by root, no such sysctl: "Postcopy is not supported"."""
    local = at.local
    if at.request.postcopy is Postcopy.NEVER or local is None:
        return
    root = local.qemu_user in ("root", "0", "+0")
    can = {
        Userfaultfd.EVERYBODY: True,
        Userfaultfd.DEVICE: root or parse(at.facts.host.libvirt_version) >= USERFAULTFD_DEVICE,
        Userfaultfd.ROOT: root,
        Userfaultfd.NOBODY: False,
    }[local.userfaultfd]
    if not can:
        yield kind.found(
            f"QEMU may not use userfaultfd at the destination, where it runs as {local.qemu_user}."
        )
