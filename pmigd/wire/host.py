"""This host, its domains and its peers, as clients see them (version 1 of the contract)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from pmigd.core.model import Power


class HostDomain(msgspec.Struct, frozen=True):
    """A domain that this host's libvirt knows."""

    name: str
    uuid: str
    state: Power
    persistent: bool


class Domains(msgspec.Struct, frozen=True):
    """The domains of this host, by name."""

    items: tuple[HostDomain, ...]


class LeaseCounts(msgspec.Struct, frozen=True):
    """How many leases there are: in force, and waited for."""

    granted: int
    waiting: int


class PeerDaemon(msgspec.Struct, frozen=True):
    """A peer's pmigd, asked just now. ``clock_offset_s`` is its clock minus this host's."""

    url: str
    answers: bool
    detail: str
    version: str | None
    clock_offset_s: float | None


class KnownDefect(msgspec.Struct, frozen=True):
    """A fault of libvirt or QEMU that is there for migrations from here to a peer.

    It is a finding of every check that asks for what it can hurt; ``field`` is what that is about.
    ``sides`` says whose version has it: ``source`` is this host, ``destination`` the peer.
    """

    code: str
    level: Literal["block", "warn", "info"]
    sides: tuple[Literal["source", "destination"], ...]
    detail: str
    remedy: str
    field: str | None


class Peer(msgspec.Struct, frozen=True):
    """A configured peer. ``uri`` is as this host's libvirt daemon sees it.

    ``pmigd`` is null where none is configured: then only this host's own limits are kept.
    ``queued`` and ``running`` are this host's migrations to it, ``given`` the leases it has here.
    The versions are what its libvirt said within the last minutes, null where it does not answer.
    """

    name: str
    uri: str
    migrate_uri: str | None
    pmigd: PeerDaemon | None
    queued: int
    running: int
    given: LeaseCounts
    libvirt_version: str | None = None
    hypervisor_version: str | None = None
    defects: tuple[KnownDefect, ...] = ()


class Peers(msgspec.Struct, frozen=True):
    """The configured peers, by name."""

    items: tuple[Peer, ...]


class ResourceLimit(msgspec.Struct, frozen=True):
    """One resource of this host that migrations need.

    ``used`` is held by migrations, ``others`` by anybody else; migrations may hold ``usable`` less
    ``others``. ``limit`` is the whole of it, of which ``reserve`` is kept free. ``source`` says
    where the limit was read, ``age_s`` how long ago; ``daemon`` is whose limit it is.
    """

    resource: str
    used: int
    others: int
    usable: int
    limit: int
    reserve: int
    source: Literal["config", "virt-admin", "conf", "default"]
    daemon: str | None
    age_s: float | None
    note: str


class DaemonUse(msgspec.Struct, frozen=True):
    """What one of libvirt's daemons says about itself; null where it does not say."""

    daemon: str
    clients: int | None
    clients_limit: int
    anonymous_clients: int | None
    anonymous_clients_limit: int
    workers: int | None
    workers_free: int | None
    workers_limit: int
    queued_calls: int | None
    problem: str


class Limits(msgspec.Struct, frozen=True):
    """What migrations may hold on this host and hold now, and why the figures are what they are."""

    host: str
    queued: int
    resources: tuple[ResourceLimit, ...]
    daemons: tuple[DaemonUse, ...]
    given: LeaseCounts
    problems: tuple[str, ...]


class LibvirtStatus(msgspec.Struct, frozen=True):
    """The local libvirt daemon. Versions are null before the first connection."""

    connected: bool
    uri: str
    version: str | None
    hypervisor: str | None
    hypervisor_version: str | None
    reconnects: int


class JournalStatus(msgspec.Struct, frozen=True):
    """The journal file; ``error`` is null while it can be written."""

    path: str
    writable: bool
    error: str | None


class LimitsStatus(msgspec.Struct, frozen=True):
    """What is allowed and what is held now."""

    max_outgoing: int
    queue_max: int
    held_outgoing: int
    max_incoming: int
    held_incoming: int


class CertificateFault(msgspec.Struct, frozen=True):
    """A file of [peer] for which other hosts' pmigd do not believe this one. ``key`` names it."""

    key: str
    file: str
    detail: str
    accepted: str


class Status(msgspec.Struct, frozen=True):
    """How the daemon is. ``migrations`` counts the open ones by state.

    ``doors_shut`` are the addresses that it cannot listen on for now, with the reason.
    ``certificates`` are the faults of this host's, as they were last read.
    """

    name: str
    version: str
    started_at: datetime
    ready: bool
    missing: dict[str, str]
    libvirt: LibvirtStatus
    journal: JournalStatus
    limits: LimitsStatus
    migrations: dict[str, int]
    doors_shut: dict[str, str]
    certificates: tuple[CertificateFault, ...]


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """A support bundle: free in form, for people who help, and without secrets.

    A part that did not answer in time, or could not be had, is null, and ``failed`` says why.
    """

    at: datetime
    versions: dict[str, str] | None = None
    status: dict[str, Any] | None = None
    configuration: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None
    peers: list[dict[str, Any]] | None = None
    migrations: dict[str, Any] | None = None
    libvirt: dict[str, Any] | None = None
    journal: dict[str, Any] | None = None
    certificates: list[dict[str, Any]] | None = None
    loop: dict[str, Any] | None = None
    pools: list[dict[str, Any]] | None = None
    log: list[dict[str, str]] | None = None
    system: dict[str, Any] | None = None
    unit: dict[str, str] | None = None
    failed: dict[str, str]


class Health(msgspec.Struct, frozen=True):
    """The event loop answers."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether new work is taken; what is missing is named with its reason."""

    ready: bool
    libvirt: str | None = None
    journal: str | None = None
