"""Options that do not go together, all found at once and before anything starts."""

from __future__ import annotations

import pytest

from pmigd.core.conflicts import CONFLICTS, find_conflicts
from pmigd.core.model import (
    AutoConverge,
    Compression,
    CopyStorage,
    Flow,
    OnTimeout,
    Postcopy,
    Request,
    Transport,
)
from pmigd.core.ports import HostFacts
from pmigd.core.versions import too_old

TUNNELLED = {"transport": Transport.TUNNELLED}
POSTCOPY = {"postcopy": Postcopy.ALLOWED}
COPY = {"copy_storage": CopyStorage.ALL}

EXAMPLES = {
    "tunnelled_direct": TUNNELLED | {"flow": Flow.DIRECT},
    "tunnelled_postcopy": TUNNELLED | POSTCOPY,
    "tunnelled_offline": TUNNELLED | {"offline": True},
    "tunnelled_storage": TUNNELLED | COPY,
    "tunnelled_migrate_uri": TUNNELLED | {"migrate_uri": "tcp://x"},
    "tunnelled_listen_address": TUNNELLED | {"listen_address": "::"},
    "tunnelled_disks_address": TUNNELLED | {"disks_port": 4000},
    "tunnelled_parallel": TUNNELLED | {"parallel_connections": 2},
    "tunnelled_tls": TUNNELLED | {"tls": True},
    "tunnelled_zerocopy": TUNNELLED | {"zerocopy": True},
    "postcopy_needs_live": POSTCOPY | {"live": False},
    "postcopy_suspend": POSTCOPY | {"suspend": True},
    "timeout_postcopy_not_allowed": {"on_timeout": OnTimeout.POSTCOPY},
    "postcopy_bandwidth_without_postcopy": {"postcopy_bandwidth_mib_s": 1},
    "offline_live": POSTCOPY | {"offline": True},
    "offline_not_persistent": {"offline": True, "persistent": False},
    "offline_storage": COPY | {"offline": True},
    "offline_suspend": {"offline": True, "suspend": True},
    "offline_timeout": {"offline": True, "on_timeout": OnTimeout.SUSPEND, "timeout_s": 1},
    "disks_without_copy": {"migrate_disks": ("vda",)},
    "zeroes_without_copy": {"migrate_disks_detect_zeroes": ("vda",)},
    "target_zero_without_copy": {
        "migrate_disks_target_zero": ("vda",),
        "copy_storage": CopyStorage.INC,
    },
    "synchronous_without_copy": {"copy_storage_synchronous_writes": True},
    "disks_port_and_uri": COPY | {"disks_port": 4000, "disks_uri": "tcp://x:1"},
    "disks_address_without_copy": {"disks_port": 4000},
    "unix_needs_disks_uri": COPY | {"migrate_uri": "unix:///x"},
    "unix_listen_address": {"migrate_uri": "unix:///x", "listen_address": "::"},
    "unix_tls_needs_name": {"migrate_uri": "unix:///x", "tls": True},
    "unix_tls_storage": COPY | {"tls": True, "disks_uri": "unix:///y"},
    "unix_zerocopy": {"migrate_uri": "unix:///x", "parallel_connections": 2, "zerocopy": True},
    "rdma_tls": {"migrate_uri": "rdma://x", "tls": True},
    "rdma_parallel": {"migrate_uri": "rdma://x", "parallel_connections": 2},
    "persistent_xml_unused": {"persistent_xml": "<x/>", "persistent": False},
    "zerocopy_needs_parallel": {"zerocopy": True},
    "zerocopy_tls": {"zerocopy": True, "parallel_connections": 2, "tls": True},
    "zerocopy_compression": {"zerocopy": True, "compression": Compression()},
    "parallel_compression_without_method": {
        "parallel_connections": 2,
        "compression": Compression(),
    },
    "parallel_compression_method": {
        "parallel_connections": 2,
        "compression": Compression(("mt",)),
    },
    "multifd_method_without_parallel": {"compression": Compression(("zstd",))},
    "parallel_compression_methods": {
        "parallel_connections": 2,
        "compression": Compression(("zlib", "zstd")),
    },
    "compression_method_twice": {"compression": Compression(("mt", "mt"))},
    "mt_values_without_method": {"compression": Compression(mt_level=1)},
    "xbzrle_values_without_method": {"compression": Compression(("mt",), xbzrle_cache_bytes=1)},
    "zlib_values_without_method": {"compression": Compression(zlib_level=1)},
    "zstd_values_without_method": {"compression": Compression(zstd_level=1)},
    "rdma_without_uri": {"rdma_pin_all": True},
    "tls_destination_without_tls": {"tls_destination": "h"},
}


def codes(**fields: object) -> set[str]:
    return {finding.code for finding in find_conflicts(Request("a", "b", **fields))}


@pytest.mark.parametrize("conflict", CONFLICTS, ids=lambda row: row.kind.code)
def test_every_row_finds_its_example(conflict) -> None:
    assert conflict.kind.code in codes(**EXAMPLES[conflict.kind.code])
    assert conflict.kind.field in Request.__dataclass_fields__


def test_codes_are_unique_and_every_row_has_an_example() -> None:
    assert sorted(row.kind.code for row in CONFLICTS) == sorted(EXAMPLES)


def test_all_conflicts_are_found_at_once() -> None:
    found = codes(**TUNNELLED, **POSTCOPY, tls=True, parallel_connections=2, live=False)
    assert found == {
        "tunnelled_postcopy",
        "tunnelled_tls",
        "tunnelled_parallel",
        "postcopy_needs_live",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {},
        TUNNELLED,
        POSTCOPY | {"on_timeout": OnTimeout.POSTCOPY, "timeout_s": 3},
        COPY | {"migrate_disks": ("vda",), "disks_port": 4000},
        {"compression": Compression(("xbzrle",), xbzrle_cache_bytes=1 << 20)},
        {"compression": Compression(xbzrle_cache_bytes=1 << 20)},
        {"compression": Compression(("mt", "xbzrle"), mt_level=1)},
        {"parallel_connections": 4, "compression": Compression(("zstd",), zstd_level=3)},
        {"parallel_connections": 4, "zerocopy": True},
        {"auto_converge": AutoConverge(initial=40)},
        {"tls": True, "tls_destination": "h"},
        COPY | {"migrate_uri": "unix:///x", "disks_uri": "unix:///y"},
        COPY
        | {
            "migrate_uri": "unix:///x",
            "disks_uri": "tcp://h:1",
            "tls": True,
            "tls_destination": "h",
        },
        COPY | {"migrate_disks_target_zero": ("vda",)},
        {"migrate_uri": "rdma://x", "rdma_pin_all": True},
        {"migrate_uri": "unix:///x", "parallel_connections": 2},
        {"persistent_xml": "<x/>"},
        {"offline": True},
        {"flow": Flow.DIRECT},
    ],
)
def test_what_goes_together_is_let_through(fields: dict[str, object]) -> None:
    assert codes(**fields) == set()


class TestVersions:
    OLD = HostFacts("a", "u", "9.0.0", "QEMU", "7.2.22")
    NEW = HostFacts("b", "v", "11.3.0", "QEMU", "10.0.2")

    def found(self, source: HostFacts, destination: HostFacts, **fields: object) -> list[str]:
        return [f.detail for f in too_old(Request("a", "b", **fields), source, destination)]

    def test_names_the_version_and_the_side_that_is_too_old(self) -> None:
        zstd = {"parallel_connections": 2, "compression": Compression(("zstd",))}
        assert self.found(self.NEW, self.NEW, **zstd) == []
        (detail,) = self.found(self.NEW, self.OLD, **zstd)
        assert "needs libvirt >= 9.4.0 on the destination, which has 9.0.0" in detail

    def test_asks_only_the_source_for_what_only_the_source_does(self) -> None:
        fields = {"available_switchover_bandwidth_mib_s": 5}
        assert self.found(self.NEW, self.OLD, **fields) == []
        assert len(self.found(self.OLD, self.NEW, **fields)) == 2

    def test_counts_on_both_libvirts_and_the_sources_qemu_to_skip_zeroing(self) -> None:
        fields = COPY | {"migrate_disks_target_zero": ("vda",)}
        newest = HostFacts("c", "w", "12.2.0", "QEMU", "10.1.0")
        assert self.found(newest, newest, **fields) == []
        (detail,) = self.found(newest, self.NEW, **fields)
        assert "needs libvirt >= 12.2.0 on the destination" in detail
        assert len(self.found(self.NEW, newest, **fields)) == 2

    def test_knows_what_newer_qemu_has_no_more_and_what_old_cannot_combine(self) -> None:
        assert len(self.found(self.OLD, self.NEW, compression=Compression(("mt",)))) == 1
        assert len(self.found(self.OLD, self.OLD, parallel_connections=2, **POSTCOPY)) == 2
