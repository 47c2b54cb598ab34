"""What libvirt's hook at the destination still mends is no reason to refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contrib.lab import LabError, LabGuest
from tests.leases.conftest import WITHOUT_LEASES
from tests.leases.test_examine import blocks, check

BRIDGE = """<interface type='bridge'><source bridge='br-late'/><model type='virtio'/></interface>"""
CD = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
<source file='/var/lib/libvirt/late.iso'/><target dev='hda' bus='ide'/><readonly/></disk>"""
MAKES_IT = """#!/bin/sh
[ "$2 $3" = "migrate begin" ] || exit 0
ip link show br-late >/dev/null 2>&1 || ip link add br-late type bridge
truncate -s 64K /var/lib/libvirt/late.iso
"""


@pytest.fixture
def wants(a, b, guest) -> Iterator[LabGuest]:
    """A guest that has what the destination has not."""
    a.host.run(["ip", "link", "add", "br-late", "type", "bridge"])
    a.host.path("/var/lib/libvirt/late.iso").write_bytes(bytes(1 << 16))
    g = guest(devices_xml=BRIDGE + CD)
    yield g
    g.destroy()
    for host in (a.host, b.host):
        host.run(["ip", "link", "del", "br-late"], check=False)
        host.path("/var/lib/libvirt/late.iso").unlink(missing_ok=True)


@pytest.fixture(params=["qemu", "qemu.d/10-late"])
def hook(request: pytest.FixtureRequest, b) -> Iterator[str]:
    """hostb's libvirt has a hook that makes it when a guest comes."""
    path = f"/etc/libvirt/hooks/{request.param}"
    file = b.host.path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(MAKES_IT)
    file.chmod(0o755)
    b.host.libvirtd.restart()
    yield path
    file.unlink()
    b.host.libvirtd.restart()


def told(findings: list[dict[str, str]]) -> dict[str, str]:
    return {f["code"]: f["level"] for f in findings if f["level"] != "info"}


def test_without_a_hook_libvirt_refuses_and_so_does_pmigd(a, b, wants) -> None:
    assert blocks(a) == {"bridge_missing", "medium_missing"}
    with pytest.raises(LabError, match=r"No such device|Cannot access storage file"):
        wants.migrate(b.host)


def test_what_the_hook_makes_is_a_warning_and_the_guest_moves(a, b, wants, hook) -> None:
    findings = check(a)
    assert told(findings) == {"bridge_missing": "warn", "medium_missing": "warn"}
    for finding in findings:
        assert finding["level"] == "info" or f"may mend that: {hook}." in finding["detail"]
    a.end(a.submit(wants)["id"])
    assert wants.where() == [b.host]


def test_where_nobody_sees_the_hook_an_administrator_may_start_anyway(a, b, wants, hook) -> None:
    assert told(check(a, destination=WITHOUT_LEASES)) == {"bridge_missing": "block"}
    m = a.end(a.submit(wants, to=WITHOUT_LEASES)["id"], "failed")
    assert m["problem"]["code"] == "check_failed"
    (finding,) = [
        f
        for f in check(a, destination=WITHOUT_LEASES, start_anyway=True)
        if f["code"] == "bridge_missing"
    ]
    assert finding["level"] == "warn"
    assert finding["detail"].endswith("'start_anyway' lets it start all the same.")
    m = a.end(a.submit(wants, to=WITHOUT_LEASES, start_anyway=True)["id"])
    assert m["request"]["start_anyway"] is True
    assert wants.where() == [b.host]
    assert "'start_anyway' lets it start all the same" in a.host.pmigd.log()


def test_what_libvirt_itself_refuses_stays_refused(a, b, guest) -> None:
    g = guest()
    other = g.xml.replace(g.uuid, "11111111-2222-4333-8444-555555555555")
    b.host.virsh("define", "/dev/stdin", input=other)
    try:
        assert blocks(a, start_anyway=True) == {"destination_has_domain"}
        m = a.end(a.submit(g, start_anyway=True)["id"], "failed")
        assert m["problem"]["code"] == "destination_has_domain"
        done = a.ctl("check", g.name, "hostb", "--start-anyway")
        assert done.returncode == 3
        assert "destination_has_domain" in done.stdout
    finally:
        b.host.virsh("undefine", g.name)
