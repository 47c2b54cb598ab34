"""Which ports a migration needs open from the source to the destination, and who waits for them.

A firewall in between is told by nobody: libvirt says only that it could not connect, or, where
packets are dropped, says nothing for as long as the kernel tries, some two minutes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from pmigd.core.model import (
    Call,
    CopyStorage,
    Direction,
    Migration,
    Request,
    State,
    Target,
    Transport,
    Waiting,
)

LIBVIRT_PORTS: Final = {"qemu": 16514, "qemu+tls": 16514, "qemu+tcp": 16509, "qemu+ssh": 22}
MIGRATION_PORTS: Final = "49152-49215"
"""libvirt's own; migration_port_min and _max in the destination's qemu.conf change them."""

CONNECTION: Final = "connection"
"""What a migration waits for that libvirt was asked for and of which nothing is seen yet."""
SLOW: Final = timedelta(seconds=5)
"""A destination has started a guest's QEMU, and is connected to, in less, unless it is busy."""


def slow_start(migration: Migration, utc_now: datetime) -> Waiting | None:
    """What a migration waits for that libvirt is to start and that has not begun to move.

    Nobody here can tell a destination that is slow to start a QEMU from packets that are dropped on
    the way: both are said.
    """
    since = migration.state_since
    if (
        migration.state is not State.PREPARING
        or migration.direction is not Direction.OUTGOING
        or migration.call is not Call.MADE
        or migration.target is None
        or since is None
        or utc_now - since < SLOW
    ):
        return None
    ports = ports_needed(migration.request, migration.target)
    detail = "it may be slow to start the guest's QEMU"
    if ports:
        detail += (
            f", or a firewall drops packets: {ports}. libvirt then tries for two minutes, and until"
            " it has given up it takes no abort"
        )
    return Waiting(CONNECTION, migration.destination, 0, 0, 0, since, detail)


def ports_needed(request: Request, target: Target) -> str:
    """For example: ``TCP from this host to hostb: 49152-49215 (memory), 16514 (libvirt)``."""
    wanted: list[tuple[str, str]] = []
    if request.transport is Transport.NATIVE and not request.offline:
        wanted.append((_port(request.migrate_uri or target.migrate_uri), "memory"))
        if request.copy_storage is not CopyStorage.NONE:
            disks = str(request.disks_port) if request.disks_port else _port(request.disks_uri)
            wanted.append((disks, "disks"))
    parts = urlsplit(target.uri)
    libvirt = parts.port or LIBVIRT_PORTS.get(parts.scheme)
    if libvirt is not None:
        wanted.append((str(libvirt), "libvirt"))
    by_port: dict[str, list[str]] = {}
    for port, use in wanted:
        if port:
            by_port.setdefault(port, []).append(use)
    named = (f"{port} ({' and '.join(uses)})" for port, uses in by_port.items())
    return f"TCP from this host to {target.name}: {', '.join(named)}" if by_port else ""


def _port(uri: str | None) -> str:
    """The port that a URI names, or those that libvirt takes one of; none for a UNIX socket."""
    if uri is None or "://" not in uri:
        return MIGRATION_PORTS
    parts = urlsplit(uri)
    if parts.scheme == "unix":
        return ""
    return str(parts.port or MIGRATION_PORTS)
