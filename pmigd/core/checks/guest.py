"""The guest as it is now: whether it can be moved at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pmigd.core.checks.rules import AtSource, Rules, listed
from pmigd.core.finding import Finding, FindingKind, Level, Origin, of_problem
from pmigd.core.model import Job, Postcopy, Power
from pmigd.core.problem import Code
from pmigd.core.versions import parse

MIGRATES_ASLEEP: Final = (9, 0, 0)
"""The first QEMU that migrates a guest which is suspended to memory."""

ALWAYS: Final[Rules[AtSource]] = Rules()


@ALWAYS.rule(of_problem(Code.DOMAIN_NOT_RUNNING, "domain"))
def _not_running(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    if at.guest.view.gone and not at.request.offline:
        yield kind.found(f"'{at.guest.domain.name}' is {at.guest.view.power}.")


@ALWAYS.rule(of_problem(Code.DOMAIN_BUSY, "domain"))
def _busy(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    if at.guest.view.job is not Job.NONE:
        yield kind.found(f"libvirt has a job on it: {at.guest.view.job}.")


@ALWAYS.rule(
    FindingKind(
        "postcopy_paused_guest",
        "The guest is paused, and post-copy moves only a running one.",
        Level.BLOCK,
        Origin.LIBVIRT,
        "postcopy",
        "Resume the guest first, or migrate without post-copy.",
    )
)
def _paused(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    """Measured, on 11.3 too: "... not supported with non-live or paused migration"."""
    if at.guest.view.power is Power.PAUSED and at.request.postcopy is not Postcopy.NEVER:
        yield kind.found("The guest is paused: it fetches no memory, so post-copy cannot work.")


@ALWAYS.rule(
    FindingKind(
        "block_job",
        "A block job runs on a disk of the guest; libvirt then does not migrate.",
        Level.BLOCK,
        Origin.LIBVIRT,
        "domain",
        "Wait for it or end it: 'virsh blockjob DOMAIN DISK'.",
    )
)
def _block_job(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    """Measured: "domain has active block job"."""
    jobs = at.guest.block_jobs
    if jobs and not at.request.offline:
        yield kind.found(f"A block job runs on {listed(jobs)}; libvirt then does not migrate.")


@ALWAYS.rule(
    FindingKind(
        "guest_asleep",
        "The guest is suspended to memory, and the source's QEMU would never end its migration.",
        Level.BLOCK,
        Origin.LOOK,
        "domain",
        "Wake it first: 'virsh dompmwakeup {domain}'.",
    )
)
def _asleep(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    """Measured on QEMU 7.2: it sends all, never switches over, and the guest stands still."""
    version = at.host.hypervisor_version
    asleep = at.guest.view.power is Power.ASLEEP and not at.request.offline
    if asleep and (0, 0, 0) < parse(version) < MIGRATES_ASLEEP:
        yield kind.found(
            f"The guest is asleep (suspended to memory); with QEMU {version} its migration would "
            "never end, and the guest would stand still.",
            domain=at.guest.domain.name,
        )


@ALWAYS.rule(
    FindingKind(
        "snapshots",
        "libvirt keeps snapshots of the guest, and then refuses to migrate.",
        Level.BLOCK,
        Origin.LIBVIRT,
        "domain",
        "Delete them, or only what libvirt knows of them: "
        "'virsh snapshot-delete DOMAIN NAME [--metadata]'.",
    )
)
def _snapshots(kind: FindingKind, at: AtSource) -> Iterator[Finding]:
    """Measured, offline too, and on 11.3: "cannot migrate domain with 1 snapshots"."""
    if at.guest.snapshots:
        yield kind.found(
            f"libvirt keeps {at.guest.snapshots} snapshot(s) of it, and then refuses to migrate."
        )
