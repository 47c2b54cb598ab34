"""libvirt's own list of flags and parameters is what migration must offer."""

from __future__ import annotations

from dataclasses import replace

import libvirt
import pytest

from pmigd.adapters.libvirt.translate import flags_of, params_of
from pmigd.core.model import AutoConverge, Compression, CopyStorage, Flow, Postcopy, Transport
from pmigd.core.problem import Refused
from pmigd.core.request import ROWS, UNLIMITED_MIB_S
from tests.support.build import PLAN

NOT_REQUESTED = {
    "VIR_MIGRATE_POSTCOPY_RESUME": "is what 'recover' sets; nobody begins a migration with it",
}


def plan(**fields: object):
    return replace(PLAN, request=replace(PLAN.request, **fields))


def test_every_flag_of_the_installed_libvirt_can_be_asked_for() -> None:
    flags = {
        name
        for name, value in vars(libvirt).items()
        if name.startswith("VIR_MIGRATE_") and isinstance(value, int)
    }
    assert flags - {name for row in ROWS for name in row.flags} == set(NOT_REQUESTED)


def test_every_parameter_of_the_installed_libvirt_can_be_given() -> None:
    params = {
        value for name, value in vars(libvirt).items() if name.startswith("VIR_MIGRATE_PARAM_")
    }
    assert params - {row.about.param for row in ROWS} == set()


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"flow": Flow.P2P}, "PEER2PEER"),
        ({"live": True}, "LIVE"),
        ({"transport": Transport.TUNNELLED}, "TUNNELLED"),
        ({"suspend": True}, "PAUSED"),
        ({"copy_storage": CopyStorage.ALL}, "NON_SHARED_DISK"),
        ({"copy_storage": CopyStorage.INC}, "NON_SHARED_INC"),
        ({"copy_storage_synchronous_writes": True}, "NON_SHARED_SYNCHRONOUS_WRITES"),
        ({"change_protection": True}, "CHANGE_PROTECTION"),
        ({"unsafe": True}, "UNSAFE"),
        ({"offline": True}, "OFFLINE"),
        ({"compression": Compression()}, "COMPRESSED"),
        ({"abort_on_error": True}, "ABORT_ON_ERROR"),
        ({"auto_converge": AutoConverge()}, "AUTO_CONVERGE"),
        ({"rdma_pin_all": True}, "RDMA_PIN_ALL"),
        ({"postcopy": Postcopy.ALLOWED}, "POSTCOPY"),
        ({"postcopy": Postcopy.AFTER_PRECOPY}, "POSTCOPY"),
        ({"tls": True}, "TLS"),
        ({"parallel_connections": 3}, "PARALLEL"),
        ({"zerocopy": True}, "ZEROCOPY"),
    ],
)
def test_each_field_sets_its_flag(fields: dict[str, object], flag: str) -> None:
    assert flags_of(plan(**fields)) & getattr(libvirt, f"VIR_MIGRATE_{flag}")


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"postcopy_bandwidth_mib_s": 7}, "bandwidth.postcopy", 7),
        ({"available_switchover_bandwidth_mib_s": 7}, "bandwidth.avail.switchover", 7),
        ({"migrate_uri": "tcp://x"}, "migrate_uri", "tcp://x"),
        ({"dname": "n"}, "destination_name", "n"),
        ({"xml": "<x/>"}, "destination_xml", "<x/>"),
        ({"persistent_xml": "<x/>"}, "persistent_xml", "<x/>"),
        ({"graphics_uri": "spice://x"}, "graphics_uri", "spice://x"),
        ({"listen_address": "::"}, "listen_address", "::"),
        ({"migrate_disks": ("vda", "vdb")}, "migrate_disks", ["vda", "vdb"]),
        ({"migrate_disks_detect_zeroes": ("vda",)}, "migrate_disks_detect_zeroes", ["vda"]),
        ({"migrate_disks_target_zero": ("vda",)}, "migrate_disks_target_zero", ["vda"]),
        ({"disks_port": 49300}, "disks_port", 49300),
        ({"disks_uri": "unix:///x"}, "disks_uri", "unix:///x"),
        ({"compression": Compression(("mt", "xbzrle"))}, "compression", ["mt", "xbzrle"]),
        ({"compression": Compression(mt_level=0)}, "compression.mt.level", 0),
        ({"compression": Compression(mt_threads=2)}, "compression.mt.threads", 2),
        ({"compression": Compression(mt_dthreads=2)}, "compression.mt.dthreads", 2),
        ({"compression": Compression(xbzrle_cache_bytes=9)}, "compression.xbzrle.cache", 9),
        ({"auto_converge": AutoConverge(initial=30)}, "auto_converge.initial", 30),
        ({"auto_converge": AutoConverge(increment=5)}, "auto_converge.increment", 5),
        ({"parallel_connections": 4}, "parallel.connections", 4),
        ({"tls_destination": "h"}, "tls.destination", "h"),
    ],
)
def test_each_field_gives_its_parameter(fields, name, value) -> None:
    assert params_of(plan(**fields))[name] == value
    assert name not in params_of(PLAN)


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_a_level_is_given_only_by_a_binding_that_knows_its_type(method: str) -> None:
    wanted = plan(compression=Compression(**{f"{method}_level": 1}))
    if hasattr(libvirt, "VIR_MIGRATE_PARAM_COMPRESSION_ZSTD_LEVEL"):
        assert params_of(wanted)[f"compression.{method}.level"] == 1
    else:
        with pytest.raises(Refused, match=r"needs libvirt-python >= 9\.4"):
            params_of(wanted)


def test_the_plain_plan_asks_for_nothing_special() -> None:
    assert params_of(PLAN) == {"bandwidth": UNLIMITED_MIB_S}
    wanted = ("LIVE", "PEER2PEER", "PERSIST_DEST", "UNDEFINE_SOURCE")
    assert flags_of(PLAN) == sum(getattr(libvirt, f"VIR_MIGRATE_{name}") for name in wanted)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, UNLIMITED_MIB_S),
        ({"bandwidth_mib_s": 0}, UNLIMITED_MIB_S),
        ({"bandwidth_mib_s": 7}, 7),
        ({"offline": True}, None),
    ],
)
def test_no_limit_is_told_too_for_libvirt_remembers_others(fields, told) -> None:
    assert params_of(plan(**fields)).get("bandwidth") == told


def test_the_peers_own_migration_network_is_used_unless_the_request_says_otherwise() -> None:
    target = replace(PLAN.target, migrate_uri="tcp://10.0.0.2")
    assert params_of(replace(PLAN, target=target))["migrate_uri"] == "tcp://10.0.0.2"
    tunnelled = plan(transport=Transport.TUNNELLED)
    assert "migrate_uri" not in params_of(replace(tunnelled, target=target))
