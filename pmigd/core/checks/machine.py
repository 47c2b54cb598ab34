"""The destination as a machine for this guest: is it free of it, has it the QEMU, CPU and time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pmigd.core.checks.rules import Arriving, AtDestination, Rules
from pmigd.core.finding import Finding, FindingKind, Level, Origin, of_problem
from pmigd.core.model import Power
from pmigd.core.problem import Code

CLOCKS_APART: Final = timedelta(seconds=2)

ALWAYS: Final[Rules[AtDestination]] = Rules()
ARRIVING: Final[Rules[Arriving]] = Rules()
CLOCKS: Final[Rules[Arriving]] = Rules()


@ALWAYS.rule(of_problem(Code.DESTINATION_HAS_DOMAIN, "destination"))
def _has_domain(kind: FindingKind, at: AtDestination) -> Iterator[Finding]:
    """Measured: "domain 'x' already exists with uuid ...", "domain 'y' is already defined ..."."""
    host, facts = at.target.name, at.facts
    name, identity = at.question.name, at.question.domain.uuid
    if facts.view.power is not Power.UNKNOWN and not facts.view.gone:
        yield kind.found(f"{host} has it already: {facts.view.power}.")
    elif facts.known_as and facts.known_as != name:
        yield kind.found(f"{host} has a domain with its UUID {identity}: '{facts.known_as}'.")
    if facts.name_taken_by:
        yield kind.found(f"{host} has another domain '{name}': {facts.name_taken_by}.")


@ARRIVING.rule(
    FindingKind(
        "machine_unknown",
        "The destination's QEMU does not have the guest's machine type, or is not there.",
        Level.BLOCK,
        Origin.LIBVIRT,
        "destination",
        "Install the same or a newer QEMU there, or give the guest an older machine type.",
        unsure=True,
        mended=True,
    )
)
def _machine(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """libvirt's words. Measured: "Cannot check QEMU binary ...: No such file or directory"."""
    wants, control = at.wants, at.there.control
    if at.facts.refuses_machine:
        yield kind.found(
            f"The destination cannot run {wants.machine} ({wants.arch}, {wants.virt_type}) with "
            f"{wants.emulator or 'its QEMU'}: {at.facts.refuses_machine}.",
            sure=control is None or not control.refuses_machine,
        )


@ARRIVING.rule(
    FindingKind(
        "cpu_incompatible",
        "The destination's CPU lacks something that the guest's has.",
        Level.BLOCK,
        Origin.LIBVIRT,
        "destination",
        Code.CPU_INCOMPATIBLE.kind.remedy,
        unsure=True,
    )
)
def _cpu(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """libvirt compares when the guest starts only if its CPU says so; and where the comparison is
    wrong about the host that the guest runs on, it is wrong about others.
    """
    control = at.there.control
    if at.facts.refuses_cpu:
        trusted = at.wants.cpu_checked and not (control is not None and control.refuses_cpu)
        detail = f"The destination's CPU lacks something: {at.facts.refuses_cpu}."
        yield kind.found(detail, sure=trusted)


@CLOCKS.rule(
    FindingKind(
        "clocks_apart",
        "The hosts' clocks are apart: the guest's clock may jump.",
        Level.WARN,
        Origin.LOOK,
        "destination",
        "Synchronise both hosts' clocks.",
    )
)
def _clocks(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    if at.local is None or at.there.here is None:
        return
    apart = abs(at.local.utc - at.there.here.utc)
    if apart > CLOCKS_APART:
        yield kind.found(
            f"The hosts' clocks are {apart.total_seconds():.0f} s apart: the guest's clock may "
            "jump, and the pause cannot be measured."
        )
