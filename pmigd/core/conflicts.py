"""Options that do not go together: one table, read as a whole before anything starts.

A row is a condition on the request alone. Some rows are what libvirt refuses too, later and one at
a time; the others are what libvirt lets through although it cannot work. What depends on the hosts'
versions is in :mod:`pmigd.core.versions`. Source: libvirt's qemu driver, read for 9.0, and trials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import CopyStorage, Flow, OnTimeout, Postcopy, Request, Transport


@dataclass(frozen=True, slots=True)
class Conflict:
    """`when` is true of a request that has it."""

    kind: FindingKind
    when: Callable[[Request], bool]


def _conflict(
    code: str, field: str, when: Callable[[Request], bool], title: str, remedy: str
) -> Conflict:
    """`field` is the option to give up."""
    return Conflict(FindingKind(code, title, Level.BLOCK, Origin.RULE, field, remedy), when)


def _tunnelled(r: Request) -> bool:
    return r.transport is Transport.TUNNELLED


def _copies(r: Request) -> bool:
    return r.copy_storage is not CopyStorage.NONE


def _postcopy(r: Request) -> bool:
    return r.postcopy is not Postcopy.NEVER


def _unix(r: Request) -> bool:
    return (r.migrate_uri or "").startswith("unix:")


def _rdma(r: Request) -> bool:
    return (r.migrate_uri or "").startswith("rdma:")


def _methods(r: Request) -> tuple[str, ...]:
    return r.compression.methods if r.compression is not None else ()


def _tuned_without(r: Request, method: str, *names: str) -> bool:
    """Whether a value of `method` is given although the method is not asked for."""
    c = r.compression
    if c is None or method in c.methods:
        return False
    if method == "xbzrle" and not c.methods:
        return False  # libvirt's default method
    return any(getattr(c, name) is not None for name in names)


CONFLICTS: Final[tuple[Conflict, ...]] = (
    # Tunnelled: memory goes through the libvirt daemons, in one stream, and nothing else does.
    _conflict(
        "tunnelled_direct",
        "transport",
        lambda r: _tunnelled(r) and r.flow is Flow.DIRECT,
        "Only a peer-to-peer migration can be tunnelled.",
        "Leave 'flow': 'direct' or 'transport': 'tunnelled' out.",
    ),
    _conflict(
        "tunnelled_postcopy",
        "postcopy",
        lambda r: _tunnelled(r) and _postcopy(r),
        "Post-copy needs a stream in both directions, which a tunnel is not.",
        "Leave 'transport': 'tunnelled' out.",
    ),
    _conflict(
        "tunnelled_offline",
        "transport",
        lambda r: _tunnelled(r) and r.offline,
        "An offline migration sends no memory that could be tunnelled.",
        "Leave 'transport': 'tunnelled' out.",
    ),
    _conflict(
        "tunnelled_storage",
        "copy_storage",
        lambda r: _tunnelled(r) and _copies(r),
        "Disks cannot be copied through a tunnel.",
        "Leave 'transport': 'tunnelled' out, or use shared storage.",
    ),
    _conflict(
        "tunnelled_migrate_uri",
        "migrate_uri",
        lambda r: _tunnelled(r) and r.migrate_uri is not None,
        "A tunnelled migration has no address of its own for memory.",
        "Leave 'migrate_uri' out.",
    ),
    _conflict(
        "tunnelled_listen_address",
        "listen_address",
        lambda r: _tunnelled(r) and r.listen_address is not None,
        "With a tunnel nothing listens at the destination.",
        "Leave 'listen_address' out.",
    ),
    _conflict(
        "tunnelled_disks_address",
        "disks_uri",
        lambda r: _tunnelled(r) and (r.disks_uri is not None or r.disks_port is not None),
        "Disks cannot be copied through a tunnel, so they have no address.",
        "Leave 'disks_uri' and 'disks_port' out.",
    ),
    _conflict(
        "tunnelled_parallel",
        "parallel_connections",
        lambda r: _tunnelled(r) and r.parallel_connections > 0,
        "A tunnel is one stream; QEMU refuses several when the transfer begins.",
        "Leave 'transport': 'tunnelled' out, or use one connection.",
    ),
    _conflict(
        "tunnelled_tls",
        "tls",
        lambda r: _tunnelled(r) and r.tls,
        "libvirt does not check TLS inside a tunnel; the tunnel is as safe as the peer's URI.",
        "Leave 'tls' out and reach the peer by qemu+tls.",
    ),
    _conflict(
        "tunnelled_zerocopy",
        "zerocopy",
        lambda r: _tunnelled(r) and r.zerocopy,
        "Zero-copy hands memory to the network card; a tunnel copies it.",
        "Leave 'transport': 'tunnelled' out.",
    ),
    # Post-copy
    _conflict(
        "postcopy_needs_live",
        "postcopy",
        lambda r: _postcopy(r) and not r.live,
        "Post-copy moves a running guest.",
        "Migrate live, or without post-copy.",
    ),
    _conflict(
        "postcopy_suspend",
        "suspend",
        lambda r: _postcopy(r) and r.suspend,
        "In post-copy the destination's guest must run to fetch its memory.",
        "Leave 'suspend' or 'postcopy' out.",
    ),
    _conflict(
        "timeout_postcopy_not_allowed",
        "on_timeout",
        lambda r: r.on_timeout is OnTimeout.POSTCOPY and not _postcopy(r),
        "Post-copy at the timeout needs post-copy to be allowed from the start.",
        "Add 'postcopy': 'allowed'.",
    ),
    _conflict(
        "postcopy_bandwidth_without_postcopy",
        "postcopy_bandwidth_mib_s",
        lambda r: r.postcopy_bandwidth_mib_s > 0 and not _postcopy(r),
        "A bandwidth for post-copy means nothing without post-copy.",
        "Add 'postcopy': 'allowed', or leave it out.",
    ),
    # Definitions
    _conflict(
        "persistent_xml_unused",
        "persistent_xml",
        lambda r: r.persistent_xml is not None and r.persistent is False,
        "A guest that is not to be persistent has no use for a persistent definition.",
        "Leave 'persistent_xml' or 'persistent': false out.",
    ),
    # Offline
    _conflict(
        "offline_live",
        "offline",
        lambda r: r.offline and (_postcopy(r) or r.parallel_connections > 0 or r.zerocopy),
        "An offline migration moves a definition; there is no memory to tune.",
        "Leave the options for memory out.",
    ),
    _conflict(
        "offline_not_persistent",
        "persistent",
        lambda r: r.offline and r.persistent is False,
        "An offline migration leaves a definition at the destination, that is all it does.",
        "Leave 'persistent': false out.",
    ),
    _conflict(
        "offline_storage",
        "copy_storage",
        lambda r: r.offline and _copies(r),
        "libvirt does not copy disks in an offline migration.",
        "Copy the disks by other means.",
    ),
    _conflict(
        "offline_suspend",
        "suspend",
        lambda r: r.offline and r.suspend,
        "An offline migration starts nothing that could stay paused.",
        "Leave 'suspend' out.",
    ),
    _conflict(
        "offline_timeout",
        "timeout_s",
        lambda r: (
            r.offline
            and r.on_timeout in (OnTimeout.SUSPEND, OnTimeout.POSTCOPY)
            and r.timeout_s > 0
        ),
        "An offline migration has no running guest to pause or to switch over.",
        "Use 'on_timeout': 'abort'.",
    ),
    # Storage
    _conflict(
        "disks_without_copy",
        "migrate_disks",
        lambda r: bool(r.migrate_disks) and not _copies(r),
        "Naming disks copies none; libvirt 9.0 ignores it silently.",
        "Add 'copy_storage': 'all' or 'copy_storage': 'inc'.",
    ),
    _conflict(
        "zeroes_without_copy",
        "migrate_disks_detect_zeroes",
        lambda r: bool(r.migrate_disks_detect_zeroes) and not _copies(r),
        "Zeroes are looked for only in disks that are copied.",
        "Add 'copy_storage': 'all' or 'copy_storage': 'inc'.",
    ),
    _conflict(
        "target_zero_without_copy",
        "migrate_disks_target_zero",
        lambda r: bool(r.migrate_disks_target_zero) and r.copy_storage is not CopyStorage.ALL,
        "Only the images that whole disks are copied to can read as zeroes before.",
        "Add 'copy_storage': 'all', or leave it out.",
    ),
    _conflict(
        "synchronous_without_copy",
        "copy_storage_synchronous_writes",
        lambda r: r.copy_storage_synchronous_writes and not _copies(r),
        "Synchronous writes are about disks that are copied.",
        "Add 'copy_storage': 'all' or 'copy_storage': 'inc'.",
    ),
    _conflict(
        "disks_port_and_uri",
        "disks_port",
        lambda r: r.disks_port is not None and r.disks_uri is not None,
        "The port is part of the URI.",
        "Give one of 'disks_port' and 'disks_uri'.",
    ),
    _conflict(
        "disks_address_without_copy",
        "disks_uri",
        lambda r: (r.disks_port is not None or r.disks_uri is not None) and not _copies(r),
        "An address for disks means nothing when no disk is copied.",
        "Add 'copy_storage', or leave it out.",
    ),
    # UNIX sockets
    _conflict(
        "unix_needs_disks_uri",
        "disks_uri",
        lambda r: _unix(r) and _copies(r) and r.disks_uri is None,
        "When memory goes over a UNIX socket, libvirt cannot know where disks are to go.",
        "Give 'disks_uri': 'unix:///path' or 'tcp://host:port'.",
    ),
    _conflict(
        "unix_listen_address",
        "listen_address",
        lambda r: _unix(r) and r.listen_address is not None,
        "A UNIX socket has no address to listen on.",
        "Leave 'listen_address' out.",
    ),
    _conflict(
        "unix_tls_needs_name",
        "tls_destination",
        lambda r: _unix(r) and r.tls and r.tls_destination is None,
        "Over a UNIX socket TLS cannot know the destination's name.",
        "Give 'tls_destination'.",
    ),
    _conflict(
        "unix_tls_storage",
        "tls",
        lambda r: (r.disks_uri or "").startswith("unix:") and r.tls and _copies(r),
        "libvirt does not copy disks with TLS over a UNIX socket.",
        "Leave 'tls' out, or use TCP for the disks.",
    ),
    _conflict(
        "unix_zerocopy",
        "zerocopy",
        lambda r: _unix(r) and r.zerocopy,
        "Linux has no zero-copy on UNIX sockets; QEMU gives up when the transfer begins.",
        "Use TCP, or leave 'zerocopy' out.",
    ),
    # RDMA: what QEMU does only on sockets
    _conflict(
        "rdma_tls",
        "tls",
        lambda r: _rdma(r) and r.tls,
        "QEMU sends memory over RDMA in the clear, TLS or not, and says nothing.",
        "Use TCP, or leave 'tls' out on a network that is trusted.",
    ),
    _conflict(
        "rdma_parallel",
        "parallel_connections",
        lambda r: _rdma(r) and r.parallel_connections > 0,
        "QEMU has parallel connections on sockets only and refuses when the transfer begins.",
        "Use TCP, or one connection.",
    ),
    # Memory tuning
    _conflict(
        "zerocopy_needs_parallel",
        "zerocopy",
        lambda r: r.zerocopy and r.parallel_connections == 0,
        "Zero-copy works only with parallel connections.",
        "Add 'parallel_connections'.",
    ),
    _conflict(
        "zerocopy_tls",
        "zerocopy",
        lambda r: r.zerocopy and r.tls,
        "Encrypted memory is copied, so it cannot be zero-copy.",
        "Leave 'tls' or 'zerocopy' out.",
    ),
    _conflict(
        "zerocopy_compression",
        "zerocopy",
        lambda r: r.zerocopy and r.compression is not None,
        "Compressed memory is copied, so it cannot be zero-copy.",
        "Leave 'compression' or 'zerocopy' out.",
    ),
    _conflict(
        "parallel_compression_without_method",
        "compression",
        lambda r: r.parallel_connections > 0 and r.compression is not None and not _methods(r),
        "Compression of parallel connections needs its method named.",
        "Name zstd or zlib in 'compression.methods'.",
    ),
    _conflict(
        "parallel_compression_method",
        "compression",
        lambda r: r.parallel_connections > 0 and bool({"mt", "xbzrle"} & set(_methods(r))),
        "Parallel connections are compressed by zlib or zstd only.",
        "Name one of these, or use one connection.",
    ),
    _conflict(
        "multifd_method_without_parallel",
        "compression",
        lambda r: r.parallel_connections == 0 and bool({"zlib", "zstd"} & set(_methods(r))),
        "zlib and zstd work only with parallel connections.",
        "Add 'parallel_connections', or use xbzrle.",
    ),
    _conflict(
        "parallel_compression_methods",
        "compression",
        lambda r: r.parallel_connections > 0 and len(_methods(r)) > 1,
        "Parallel connections take one method.",
        "Name one in 'compression.methods'.",
    ),
    _conflict(
        "compression_method_twice",
        "compression",
        lambda r: len(set(_methods(r))) < len(_methods(r)),
        "A compression method is named twice.",
        "Name each once.",
    ),
    _conflict(
        "mt_values_without_method",
        "compression",
        lambda r: _tuned_without(r, "mt", "mt_level", "mt_threads", "mt_dthreads"),
        "Values for the method mt are given, but not the method.",
        "Name mt in 'compression.methods'.",
    ),
    _conflict(
        "xbzrle_values_without_method",
        "compression",
        lambda r: _tuned_without(r, "xbzrle", "xbzrle_cache_bytes"),
        "A cache for the method xbzrle is given, but not the method.",
        "Name xbzrle in 'compression.methods'.",
    ),
    _conflict(
        "zlib_values_without_method",
        "compression",
        lambda r: _tuned_without(r, "zlib", "zlib_level"),
        "A level for the method zlib is given, but not the method.",
        "Name zlib in 'compression.methods'.",
    ),
    _conflict(
        "zstd_values_without_method",
        "compression",
        lambda r: _tuned_without(r, "zstd", "zstd_level"),
        "A level for the method zstd is given, but not the method.",
        "Name zstd in 'compression.methods'.",
    ),
    _conflict(
        "rdma_without_uri",
        "rdma_pin_all",
        lambda r: r.rdma_pin_all and not _rdma(r),
        "Pinning memory is for RDMA, and the migration does not go over RDMA.",
        "Give 'migrate_uri': 'rdma://host', or leave it out.",
    ),
    _conflict(
        "tls_destination_without_tls",
        "tls_destination",
        lambda r: r.tls_destination is not None and not r.tls,
        "A name to verify means nothing without TLS.",
        "Add 'tls', or leave it out.",
    ),
)


KINDS: Final = tuple(row.kind for row in CONFLICTS)


def find_conflicts(request: Request) -> list[Finding]:
    """Every row that `request` falls under; all of them block."""
    return [row.kind.found(row.kind.title) for row in CONFLICTS if row.when(request)]
