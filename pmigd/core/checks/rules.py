"""How rules stand in a room, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pmigd.core.facts import (
    Definition,
    DestinationFacts,
    DiskFacts,
    GuestFacts,
    HostFacts,
    Leads,
    LocalFacts,
    Question,
)
from pmigd.core.finding import Finding, FindingKind
from pmigd.core.model import CopyStorage, Request, Target, Transport

BYTES_PER_MIB: Final = 1 << 20

At = TypeVar("At")
Rule = Callable[[FindingKind, At], Iterable[Finding]]


class Rules(Generic[At]):
    """The rules of one room that are asked at the same time, in the order in which they stand."""

    def __init__(self) -> None:
        self._rows: list[tuple[FindingKind, Rule[At]]] = []

    def rule(self, kind: FindingKind) -> Callable[[Rule[At]], Rule[At]]:
        """Register what finds `kind`."""

        def register(rule: Rule[At]) -> Rule[At]:
            self._rows.append((kind, rule))
            return rule

        return register

    def __call__(self, at: At) -> Iterator[Finding]:
        """Everything that they find. No finding keeps another from being made."""
        for kind, rule in self._rows:
            yield from rule(kind, at)

    @property
    def kinds(self) -> list[FindingKind]:
        """What they can find."""
        return [kind for kind, _ in self._rows]


@dataclass(frozen=True, slots=True)
class AtSource:
    """All that was found out about the guest where it is. `local` is what that host sees itself."""

    request: Request
    guest: GuestFacts
    host: HostFacts
    local: LocalFacts | None


@dataclass(frozen=True, slots=True)
class Running(AtSource):
    """The same of a guest that is to arrive running, whose definition could be read."""

    definition: Definition


@dataclass(frozen=True, slots=True)
class Destination:
    """All that was found out about the destination, and what it is measured against.

    `local` is what its own pmigd sees, `here` what the source's says about the source; `control`
    is the same question answered by the source's libvirt: what that cannot see here, where it
    surely is, proves nothing there. `leads` is where the destination's host name leads to from the
    source.
    """

    facts: DestinationFacts
    own: HostFacts
    local: LocalFacts | None = None
    here: LocalFacts | None = None
    control: DestinationFacts | None = None
    leads: Leads | None = None


@dataclass(frozen=True, slots=True)
class AtDestination:
    """What was asked of the destination, and its answers."""

    request: Request
    target: Target
    question: Question
    there: Destination

    @property
    def facts(self) -> DestinationFacts:
        """What its libvirt answered."""
        return self.there.facts

    @property
    def local(self) -> LocalFacts | None:
        """What its pmigd answered."""
        return self.there.local


@dataclass(frozen=True, slots=True)
class Arriving(AtDestination):
    """The same where something is to be started. `guest` is None if the source has no such."""

    wants: Definition
    guest: GuestFacts | None

    @property
    def native(self) -> bool:
        """Whether memory is to go straight from one QEMU to the other."""
        return self.request.transport is Transport.NATIVE


def copied(request: Request, disk: DiskFacts) -> bool:
    """Whether the disk comes along. Without a list libvirt copies what is writable and unshared."""
    if request.copy_storage is CopyStorage.NONE:
        return False
    if request.migrate_disks:
        return disk.target in request.migrate_disks
    return not (disk.shareable or disk.read_only or disk.empty)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names)


def mib(size_bytes: int) -> str:
    """A size in a sentence."""
    return f"{size_bytes // BYTES_PER_MIB} MiB"
