"""Disks that come along: whole or above a backing image, compared byte by byte, on real hosts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from contrib.lab import Disk, Host, LabGuest
from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig

pytestmark = pytest.mark.hypervisor

TWO = (Disk(mib=8, fill_mib=3), Disk(mib=4, target="vdb", format="raw"))
LAYERS = (Disk(mib=8, fill_mib=2, backing_mib=6),)
MIB = 1 << 20


def content(g: LabGuest, on: Host) -> list[str]:
    return [g.disk_digest(on, disk.spec.target) for disk in g.disks]


def arrived(g: LabGuest, b: Pmig) -> bool:
    g.heartbeats.wait(5, host=b.host.name, since=time.monotonic())
    return g.where() == [b.host] and g.heartbeats.memory_ok


@pytest.fixture
def pool_again(b: Pmig) -> Iterator[None]:
    """Whatever the test does to hostb's pool, it is there again afterwards."""
    yield
    b.host.define_images_pool()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"copy_storage_synchronous_writes": True},
        {"bandwidth_mib_s": 200},
        {"flow": "direct"},
        {"parallel_connections": 2},
        {"tls": True},
        {"tls": True, "disks_port": 49302},
        {"tls": True, "disks_uri": "tcp://hostb:49303"},
    ],
    ids=str,
)
def test_disks_arrive_byte_by_byte_in_images_that_libvirt_makes(a, b, guest, fields) -> None:
    g = guest(disks=TWO)
    before = content(g, a.host)
    m = a.end(a.submit(g, copy_storage="all", **fields)["id"])
    assert content(g, b.host) == before
    assert m["result"]["transferred_bytes"] > 4 * MIB
    assert arrived(g, b)


def test_without_copying_libvirt_calls_it_unsafe(a, guest) -> None:
    g = guest(disk_mib=8)
    m = a.end(a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "unsafe_storage"
    assert g.where() == [a.host]


def test_only_the_disks_named_are_copied(a, b, guest) -> None:
    g = guest(disks=(Disk(mib=4), Disk(mib=4, target="vdb", shared=True)))
    before = content(g, a.host)
    request = {"copy_storage": "all", "migrate_disks": ["vda"], "unsafe": True}
    a.end(a.submit(g, **request)["id"])
    assert content(g, b.host) == before
    assert arrived(g, b)


def test_without_a_pool_there_images_made_beforehand_are_filled(a, b, guest, pool_again) -> None:
    g = guest(disks=TWO)
    before = content(g, a.host)
    b.host.forget_images_pool()
    m = a.end(a.submit(g, copy_storage="all")["id"], "failed")
    assert "storage pool" in m["problem"]["detail"]
    assert g.where() == [a.host]
    g.create_disks(b.host)
    assert content(g, b.host) != before
    a.end(a.submit(g, copy_storage="all")["id"])
    assert content(g, b.host) == before
    assert arrived(g, b)


def test_above_a_backing_image_that_both_hosts_have_only_the_rest_is_copied(a, b, guest) -> None:
    g = guest(disks=LAYERS)
    before = content(g, a.host)
    m = a.end(a.submit(g, copy_storage="inc")["id"], "failed")
    assert "incremental" in m["problem"]["detail"]
    g.create_disks(b.host)
    assert content(g, b.host) != before
    a.end(a.submit(g, copy_storage="inc")["id"])
    assert content(g, b.host) == before
    assert arrived(g, b)
    image = b.host.path(g.disk_path()).stat()
    assert 2 * MIB < image.st_blocks * 512 < 4 * MIB


@pytest.mark.parametrize(
    ("fields", "port"),
    [({"disks_port": 49300}, 49300), ({"disks_uri": "tcp://10.77.0.2:49301"}, 49301)],
    ids=str,
)
def test_disks_go_where_the_request_says(a, b, guest, fields, port) -> None:
    g = guest(disks=(Disk(mib=4),), fill_mib=20)
    m = a.submit(g, copy_storage="all", bandwidth_mib_s=4, **fields)
    until(
        lambda: b.host.run(["ss", "-tnH", "state", "established", f"sport = :{port}"]).stdout,
        f"the disks' connection to port {port}",
        timeout=5,
    )
    a.wait(m["id"], "precopy", also=lambda m: bool(m["progress"]))
    a.call("PATCH", f"/v1/migrations/{m['id']}", {"bandwidth_mib_s": 0})
    a.end(m["id"])
    assert g.where() == [b.host]


def test_progress_of_disks_is_apart_from_that_of_memory_which_follows(a, b, guest) -> None:
    total = 24 * MIB
    g = guest(disks=(Disk(mib=24),), fill_mib=12)
    m = a.submit(g, copy_storage="all", bandwidth_mib_s=12)
    rate = "pmigd_migration_disk_transfer_bytes_per_second"

    def progress(also) -> dict:
        there = a.wait(
            m["id"],
            "preparing",
            "precopy",
            also=lambda m: m["progress"] is not None and also(m["progress"]),
        )
        return there["progress"]

    first = progress(lambda p: p["disk_processed_bytes"] > 0)
    assert a.metric(rate, domain=g.name) > 0
    assert first["disk_total_bytes"] == total
    assert first["disk_processed_bytes"] + first["disk_remaining_bytes"] == total
    assert first["disk_remaining_bytes"] > 0
    assert first["memory_total_bytes"] == first["memory_processed_bytes"] == 0
    assert first["memory_bytes_per_second"] is None
    assert first["bytes_per_second"] == first["disk_bytes_per_second"] > 0
    assert first["eta_s"] > 0
    progress(lambda p: p["disk_processed_bytes"] > first["disk_processed_bytes"])
    then = progress(lambda p: p["memory_processed_bytes"] > 0 and p["memory_bytes_per_second"])
    assert then["disk_remaining_bytes"] == 0
    assert then["memory_total_bytes"] >= 64 * MIB
    assert then["bytes_per_second"] == (
        then["memory_bytes_per_second"] + then["disk_bytes_per_second"]
    )
    a.call("PATCH", f"/v1/migrations/{m['id']}", {"bandwidth_mib_s": 0})
    m = a.end(m["id"])
    assert m["result"]["transferred_bytes"] > total + 12 * MIB
    assert arrived(g, b)


@pytest.mark.parametrize(
    ("field", "needs"),
    [("migrate_disks_detect_zeroes", "10.9.0"), ("migrate_disks_target_zero", "12.2.0")],
)
def test_what_this_libvirt_is_too_old_for_is_refused(a, guest, field, needs) -> None:
    g = guest(disks=(Disk(mib=2),))
    m = a.end(a.submit(g, copy_storage="all", **{field: ["vda"]})["id"], "failed")
    assert m["problem"]["code"] == "unsupported_by_libvirt"
    for side in ("source", "destination"):
        assert re.search(f"{field}' needs libvirt >= {needs} on the {side}", m["problem"]["detail"])
    assert g.where() == [a.host]
