"""Hosts that reach each other by TLS, by ssh and without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contrib.lab import SHARED_DIR, Disk, Guest, Lab, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.hypervisor


@pytest.fixture(scope="module")
def lab(able: None) -> Iterator[Lab]:
    with Lab(tls=True, ssh=True, name="transports") as lab:
        yield lab


@pytest.mark.parametrize("transport", ["tls_uri", "ssh_uri", "unix_uri"])
def test_a_host_is_reached_and_a_guest_moves_over_it(lab: Lab, transport: str) -> None:
    a, b = lab.hosts
    guest = lab.guest(Guest(name=f"by-{transport[:3]}"), on=a)
    for source, to in ((a, b), (b, a)):
        uri: str = getattr(to, transport)
        assert source.virsh("-c", uri, "hostname") == to.name
        guest.migrate(to, uri=uri)
        assert guest.where() == [to]
    guest.destroy()


def test_the_tls_port_shows_the_hosts_own_certificate(lab: Lab) -> None:
    a, b = lab.hosts
    trust = ["-CAfile", "/etc/pki/CA/cacert.pem", "-verify_return_error"]
    mine = ["-cert", "/etc/pki/qemu/client-cert.pem", "-key", "/etc/pki/qemu/client-key.pem"]
    for name in (b.name, b.address):
        ask = ["openssl", "s_client", "-connect", f"{name}:16514", *trust, *mine]
        kind = "-verify_ip" if name == b.address else "-verify_hostname"
        assert "Verification: OK" in a.run([*ask, kind, name]).stdout
    wrong = [*ask, "-verify_hostname", a.name]
    assert "ostname mismatch" in a.run(wrong, check=False).stdout


def test_memory_and_disk_go_through_qemus_own_tls(lab: Lab) -> None:
    a, b = lab.hosts
    guest = lab.guest(Guest(name="enciphered", disk_mib=4), on=a)
    content = guest.disk_digest(a)
    guest.migrate(b, "--live", "--p2p", "--tls", "--copy-storage-all", uri=b.tls_uri)
    assert guest.disk_digest(b) == content
    guest.heartbeats.wait(host=b.name)
    guest.destroy()


def test_a_foreign_certificate_is_refused_until_the_own_one_is_back(lab: Lab) -> None:
    a, b = lab.hosts
    guest = lab.guest(Guest(name="refused"), on=a)
    b.use_foreign_certificate()
    with pytest.raises(LabError, match="Failed to verify peer's certificate"):
        guest.migrate(b, uri=b.tls_uri)
    with pytest.raises(LabError, match="certificate"):
        guest.migrate(b, "--live", "--p2p", "--tls", uri=b.uri_from_peer)
    # The other way round it is the called host that refuses.
    with pytest.raises(LabError):
        b.virsh("-c", a.tls_uri, "hostname")
    assert "certificate hasn't got a known issuer" in a.libvirtd.log_tail()
    guest.heartbeats.wait(host=a.name)
    assert guest.where() == [a]
    b.use_own_certificate()
    guest.migrate(b, "--live", "--p2p", "--tls", uri=b.tls_uri)
    guest.destroy()


def test_ssh_needs_the_other_hosts_sshd_and_none_of_the_machines_keys(lab: Lab) -> None:
    a, b = lab.hosts
    assert b.sshd.alive
    b.sshd.kill()
    with pytest.raises(LabError, match="Connection refused"):
        a.virsh("-c", b.ssh_uri, "hostname")
    b.sshd.start()
    assert a.virsh("-c", b.ssh_uri, "hostname") == b.name
    assert a.run(["ssh", "-o", "BatchMode=yes", b.name, "hostname"]).stdout.split() == [b.name]
    a.path("/run/home/.ssh/id_ed25519").rename(a.path("/run/home/.ssh/away"))
    with pytest.raises(LabError, match="Permission denied"):
        a.virsh("-c", b.ssh_uri, "hostname")
    a.path("/run/home/.ssh/away").rename(a.path("/run/home/.ssh/id_ed25519"))


def test_a_guest_and_its_disk_move_without_any_network(lab: Lab) -> None:
    a, b = lab.hosts
    guest = lab.guest(Guest(name="offline", disks=(Disk(mib=4, target="vdb"),)), on=a)
    content = guest.disk_digest(a, "vdb")
    lab.link(b).down()
    try:
        with pytest.raises((TimeoutError, OSError)):
            a.connect(16509, address=b.address, timeout=0.3)
        guest.migrate(
            b,
            *("--live", "--p2p", "--copy-storage-all"),
            *("--migrateuri", f"unix://{SHARED_DIR}/memory.sock"),
            *("--disks-uri", f"unix://{SHARED_DIR}/disks.sock"),
            uri=b.unix_uri,
        )
        assert guest.where() == [b]
    finally:
        lab.link(b).up()
    guest.heartbeats.wait(host=b.name)
    assert guest.disk_digest(b, "vdb") == content
    assert (guest.heartbeats.restarts, guest.heartbeats.duplicated) == (0, 0)
    guest.destroy()


def test_a_plain_lab_listens_to_neither_tls_nor_ssh(able: None) -> None:
    with Lab(1) as plain:
        (host,) = plain.hosts
        for port in (16514, 22):
            with pytest.raises(ConnectionRefusedError):
                host.connect(port)
        assert not host.sshd.alive
        with pytest.raises(LabError, match="tls=True"):
            host.use_foreign_certificate()
