"""What speaks against a migration: decided from what was found out about the guest and the hosts.

Something blocks only if libvirt or QEMU surely refuses it, or it surely breaks; each rule says how
that is known ("measured" is libvirt 9.0 with QEMU 7.2). What may break is a warning, and what
nobody could look at is said in one finding. The rules stand in rooms by subject; here they are
asked in their turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from pmigd.core.checks import devices, guest, machine, memory, storage, transfer
from pmigd.core.checks.names import lacking
from pmigd.core.checks.prediction import Prediction, predict
from pmigd.core.checks.rules import (
    Arriving,
    AtDestination,
    AtSource,
    Destination,
    Rules,
    Running,
    listed,
)
from pmigd.core.checks.transfer import goes_by_hostname
from pmigd.core.facts import GuestFacts, HostFacts, LocalFacts, Question
from pmigd.core.finding import Finding, FindingKind, Level, Origin, of_problem
from pmigd.core.model import Postcopy, Request, Target, Transport
from pmigd.core.named import KINDS as NAMED
from pmigd.core.named import Asked, asked
from pmigd.core.problem import Code

__all__ = [
    "KINDS",
    "Checked",
    "Destination",
    "Prediction",
    "ask",
    "check_destination",
    "check_guest",
    "check_pmigd",
    "goes_by_hostname",
    "predict",
]

_SOURCE: Final[tuple[Rules[AtSource], ...]] = (guest.ALWAYS,)
_RUNNING: Final[tuple[Rules[Running], ...]] = (devices.RUNNING, storage.RUNNING, memory.RUNNING)
_DESTINATION: Final[tuple[Rules[AtDestination], ...]] = (machine.ALWAYS,)
_ARRIVING: Final[tuple[Rules[Arriving], ...]] = (
    machine.ARRIVING,
    memory.ARRIVING,
    storage.ARRIVING,
    machine.CLOCKS,
)
_NATIVE: Final[tuple[Rules[Arriving], ...]] = (transfer.NATIVE,)

NOT_CHECKED: Final = FindingKind(
    "not_checked",
    "Nobody could look at something, for the reason given.",
    Level.INFO,
    Origin.LOOK,
    None,
    "Look there yourself.",
)
PMIGD_ELSEWHERE: Final = FindingKind(
    "pmigd_elsewhere",
    "The pmigd of the peer is not on the host of its libvirt, so its limits are another host's.",
    Level.BLOCK,
    Origin.RULE,
    "destination",
    "Correct 'pmigd' or 'uri' of [peers.{peer}].",
)
SAME_HOST: Final = of_problem(Code.SAME_HOST, "destination")

KINDS: Final[tuple[FindingKind, ...]] = (
    *(kind for rules in _SOURCE for kind in rules.kinds),
    *(kind for rules in _RUNNING for kind in rules.kinds),
    *(kind for rules in _DESTINATION for kind in rules.kinds),
    *(kind for rules in (*_ARRIVING, *_NATIVE) for kind in rules.kinds),
    *(kind.finding for kind in NAMED.values()),
    SAME_HOST,
    PMIGD_ELSEWHERE,
    NOT_CHECKED,
)
"""All that the checks can find."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and how long a migration would take if that can be said."""

    findings: list[Finding]
    prediction: Prediction | None = None


def ask(request: Request, target: Target, found: GuestFacts) -> Question:
    """What the destination is to be asked."""
    uris = (request.migrate_uri or target.migrate_uri, request.disks_uri)
    ports = (request.disks_port, *map(_port_of, uris))
    return Question(
        found.domain,
        request.dname or found.domain.name,
        None if request.offline else found.arriving,
        tuple(port for port in ports if port is not None),
    )


def check_guest(
    request: Request, found: GuestFacts, source: HostFacts, local: LocalFacts | None
) -> list[Finding]:
    """What speaks against moving this guest now. `local` is the source."""
    at = AtSource(request, found, source, local)
    findings = [finding for rules in _SOURCE for finding in rules(at)]
    if found.definition is not None and not request.offline:
        running = Running(request, found, source, local, found.definition)
        findings += [finding for rules in _RUNNING for finding in rules(running)]
    return [*findings, *_not_checked("source", found.unknown)]


def check_pmigd(target: Target, libvirt: HostFacts, host_uuid: str) -> list[Finding]:
    """Whether the destination's pmigd is on the host of its libvirt."""
    if host_uuid == libvirt.host_uuid:
        return []
    return [
        PMIGD_ELSEWHERE.found(
            f"The pmigd of {target.name} is not on the host that {target.uri} leads to "
            f"({libvirt.hostname}): its limits are another host's.",
            peer=target.name,
        )
    ]


def check_destination(
    request: Request,
    target: Target,
    found: GuestFacts | None,
    question: Question,
    there: Destination,
) -> list[Finding]:
    """What speaks against moving it there. `found` is None if the source has none of that name."""
    host = there.facts.host
    if host.host_uuid == there.own.host_uuid or host.hostname == there.own.hostname:
        return [SAME_HOST.found(f"{target.uri} leads to {host.hostname}, which is this host.")]
    at = AtDestination(request, target, question, there)
    findings = [finding for rules in _DESTINATION for finding in rules(at)]
    if question.wants is not None:
        arriving = Arriving(request, target, question, there, question.wants, found)
        findings += _arrives(arriving)
    findings = [_or_its_hook(finding, there.local) for finding in findings]
    return [*findings, *_not_checked("destination", _unseen(at))]


def _arrives(at: Arriving) -> Iterator[Finding]:
    """What speaks against starting it there."""
    native = _NATIVE if at.native else ()
    for rules in (*_ARRIVING, *native):
        yield from rules(at)
    yield from lacking(at)


def _or_its_hook(finding: Finding, local: LocalFacts | None) -> Finding:
    """What is missing may be made by a hook, or not be in the XML that one hands to libvirt.

    Measured: libvirt calls it ("NAME migrate begin") before it looks for what the guest needs.
    """
    if local is None or not local.hooks or not finding.mended or finding.level is not Level.BLOCK:
        return finding
    detail = f"{finding.detail} Its libvirt hook may mend that: {listed(local.hooks)}."
    return replace(finding, level=Level.WARN, detail=detail)


def _unseen(at: AtDestination) -> tuple[str, ...]:
    """What nobody could look at."""
    if at.local is not None:
        return at.facts.unknown + at.local.unknown
    looks = list(at.facts.unknown)
    wants = at.question.wants
    if wants is not None:
        pooled = {image.path for image in at.facts.images if image.known or image.pool}
        looks += [path for path in at.question.paths if path not in pooled]
        looks += [thing.name for thing in asked(wants.named, Asked.HOST)]
        if at.request.transport is Transport.NATIVE:
            looks.append("ports")
            if at.request.tls:
                looks.append("TLS files")
        if at.request.postcopy is not Postcopy.NEVER:
            looks.append("userfaultfd")
        looks.append("clock")
    return tuple(looks)


def _not_checked(host: str, looks: tuple[str, ...]) -> Iterator[Finding]:
    """One finding for all of them."""
    if looks:
        yield NOT_CHECKED.found(
            f"Not checked at the {host}: {listed(dict.fromkeys(looks))}.",
            field="destination" if host == "destination" else "domain",
        )


def _port_of(uri: str | None) -> int | None:
    return urlsplit(uri).port if uri and "://" in uri else None
