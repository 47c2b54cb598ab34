"""Hosts that reach each other by TLS, by ssh and over UNIX sockets alone; disks that come along."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from contrib.lab import SHARED_DIR, Disk, Guest, Lab, LabGuest, missing
from tests.lab.conftest import ROOT, Pmig

pytestmark = pytest.mark.hypervisor


@pytest.fixture(scope="module")
def secure() -> Iterator[Lab]:
    """Two hosts with certificates and sshd; hosta knows hostb under a name for each way there."""
    lacking = missing(tls=True, ssh=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    with Lab(tls=True, ssh=True, name="pmigd-secure") as lab:
        a, b = lab.hosts
        for host in lab.hosts:
            host.define_images_pool()
        peers = {
            "hostb-tls": {"uri": b.tls_uri},
            "hostb-ssh": {"uri": b.ssh_uri},
            "hostb-unix": {"uri": b.unix_uri},
            "hostb-net": {"uri": f"qemu+tcp://{b.address}/system", "migrate_uri": "tcp://hostb"},
        }
        a.pmigd.start({"peers": peers}, env={"PYTHONPATH": ROOT})
        yield lab


@pytest.fixture
def source(secure: Lab) -> Pmig:
    return Pmig(secure.hosts[0])


@pytest.fixture
def vm(secure: Lab) -> Iterator[Callable[..., LabGuest]]:
    made: list[LabGuest] = []

    def start(name: str, **spec) -> LabGuest:
        made.append(secure.guest(Guest(name=name, **spec), on=secure.hosts[0]))
        return made[-1]

    yield start
    for host in secure.hosts:
        secure.link(host).up()
    for guest in made:
        guest.destroy()


def arrived(secure: Lab, g: LabGuest) -> bool:
    g.heartbeats.wait(5, host="hostb", since=time.monotonic())
    return g.where() == [secure.hosts[1]] and g.heartbeats.memory_ok


@pytest.mark.parametrize(
    ("peer", "fields"),
    [
        ("hostb-tls", {}),
        ("hostb-tls", {"tls": True}),
        ("hostb-tls", {"tls": True, "tls_destination": "hostb"}),
        ("hostb-tls", {"transport": "tunnelled"}),
        ("hostb-tls", {"flow": "direct"}),
        ("hostb-ssh", {}),
        ("hostb-ssh", {"transport": "tunnelled"}),
        ("hostb-net", {}),
    ],
    ids=str,
)
def test_a_guest_moves_over(secure, source, vm, peer, fields) -> None:
    g = vm("traveller", fill_mib=4)
    m = source.end(source.submit(g, peer, **fields)["id"])
    assert m["destination"] == peer
    assert arrived(secure, g)


def test_without_any_network_memory_and_disk_go_over_unix_sockets(secure, source, vm) -> None:
    g = vm("submarine", disks=(Disk(mib=4),))
    content = g.disk_digest(secure.hosts[0])
    secure.link(secure.hosts[1]).down()
    request = {
        "copy_storage": "all",
        "migrate_uri": f"unix://{SHARED_DIR}/pmigd-memory.sock",
        "disks_uri": f"unix://{SHARED_DIR}/pmigd-disks.sock",
    }
    source.end(source.submit(g, "hostb-unix", **request)["id"])
    assert g.where() == [secure.hosts[1]]
    assert g.disk_digest(secure.hosts[1]) == content
    secure.link(secure.hosts[1]).up()
    assert arrived(secure, g)


def test_a_host_with_a_foreign_certificate_is_not_trusted(secure, source, vm) -> None:
    g = vm("cautious")
    secure.hosts[1].use_foreign_certificate()
    m = source.end(source.submit(g, "hostb-tls")["id"], "failed")
    assert m["problem"]["code"] in ("destination_auth", "destination_unreachable")
    assert "certificate" in m["problem"]["detail"]
    assert g.where() == [secure.hosts[0]]
    secure.hosts[1].use_own_certificate()
    source.end(source.submit(g, "hostb-tls")["id"])
