"""This host, its domains and its peers, as clients see them (version 1 of the contract)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class HostDomain(msgspec.Struct, frozen=True):
    """A domain that this host's libvirt knows."""

    name: str
    uuid: str
    state: Literal["shutoff", "running", "paused", "other", "unknown"]
    persistent: bool


class Domains(msgspec.Struct, frozen=True):
    """The domains of this host, by name."""

    items: tuple[HostDomain, ...]


class Peer(msgspec.Struct, frozen=True):
    """A configured peer. ``uri`` is as this host's libvirt daemon sees it."""

    name: str
    uri: str
    migrate_uri: str | None


class Peers(msgspec.Struct, frozen=True):
    """The configured peers, by name."""

    items: tuple[Peer, ...]


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


class Status(msgspec.Struct, frozen=True):
    """How the daemon is. ``migrations`` counts the open ones by state."""

    name: str
    version: str
    started_at: datetime
    ready: bool
    missing: dict[str, str]
    libvirt: LibvirtStatus
    journal: JournalStatus
    limits: LimitsStatus
    migrations: dict[str, int]


class Health(msgspec.Struct, frozen=True):
    """The event loop answers."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether new work is taken; what is missing is named with its reason."""

    ready: bool
    libvirt: str | None = None
    journal: str | None = None
