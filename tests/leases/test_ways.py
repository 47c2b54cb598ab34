"""The way between two hosts is shut: that is said before, while and after, and what to open."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.lab.conftest import Pmig
from tests.leases.test_examine import check

pytestmark = pytest.mark.hypervisor

FIREWALL = ("INPUT", "-p", "tcp", "--dport", "49152:49215", "-j")


@pytest.fixture
def shut(b: Pmig) -> Iterator[object]:
    """Shut hostb's migration ports with a verdict of iptables; open again afterwards."""

    def rule(*verdict: str) -> None:
        b.host.run(["iptables", "-I", *FIREWALL, *verdict])

    yield rule
    b.host.run(["iptables", "-F", "INPUT"])


def test_a_pmigd_that_does_not_answer_is_no_destination_that_is_ready(a, b, guest) -> None:
    guest()
    b.host.pmigd.freeze()
    try:
        found = {finding["code"]: finding for finding in check(a)}
        assert found["peer_unavailable"]["level"] == "block"
        assert "pmigd of hostb does not answer" in found["peer_unavailable"]["detail"]
        assert "for up to 300 s" in found["peer_unavailable"]["detail"]
        done = a.ctl("check", "l0", "hostb")
        assert done.returncode == 3
        assert done.stdout.splitlines()[-1].startswith("l0->hostb: not ready")
    finally:
        b.host.pmigd.thaw()
    assert "peer_unavailable" not in {finding["code"] for finding in check(a)}
    b.host.pmigd.stop()
    assert "peer_unavailable" in {finding["code"] for finding in check(a)}


@pytest.mark.parametrize("reject_with", ["tcp-reset", "icmp-admin-prohibited"])
def test_ports_that_a_firewall_refuses_are_named(a, b, guest, shut, reject_with: str) -> None:
    g = guest()
    shut("REJECT", "--reject-with", reject_with)
    m = a.end(a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "ports_shut"
    assert "TCP from this host to hostb: 49152-49215 (memory)" in m["problem"]["detail"]
    assert not m["problem"]["retryable"]
    assert g.where() == [a.host]


def test_where_qemu_itself_connects_the_ports_are_named_too(a, b, guest, shut) -> None:
    g = guest()
    shut("REJECT", "--reject-with", "tcp-reset")
    m = a.end(a.submit(g, parallel_connections=2)["id"], "failed")
    assert "Failed to connect" in m["problem"]["detail"]
    assert "49152-49215 (memory)" in m["problem"]["detail"]
    assert g.where() == [a.host]


def test_while_packets_are_dropped_it_is_said_what_is_waited_for(a, b, guest, shut) -> None:
    g = guest()
    shut("DROP")
    iden = a.submit(g)["id"]
    m = a.wait(iden, "preparing", also=lambda m: m["waiting_for"] is not None)
    assert (m["waiting_for"]["resource"], m["waiting_for"]["host"]) == ("connection", "hostb")
    assert "49152-49215 (memory)" in m["waiting_for"]["detail"]
    shown = a.ctl("show", iden[:13]).stdout
    assert "waits for:\n  a start at hostb, of which nothing is seen yet" in shown
    assert "a firewall drops packets: TCP from this host to hostb: 49152-49215" in shown
    assert "in line" not in shown
    # The kernel tries again by itself: once the port is open the migration goes on.
    b.host.run(["iptables", "-D", *FIREWALL, "DROP"])
    assert a.end(iden, timeout=60)["waiting_for"] is None
    g.heartbeats.wait(host="hostb")


SELF_SIGNED = (
    "cd /etc/pki/libvirt; cp clientcert.pem clientcert.kept; cp private/clientkey.pem key.kept;"
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=hosta"
    " -keyout private/clientkey.pem -out clientcert.pem"
)
AS_BEFORE = (
    "cd /etc/pki/libvirt; mv clientcert.kept clientcert.pem; mv key.kept private/clientkey.pem"
)


def test_a_certificate_that_no_other_host_believes_is_told_on_its_own_host(a, b, hosts) -> None:
    assert a.call("GET", "/v1/status")["certificates"] == []
    a.host.run(["sh", "-ec", SELF_SIGNED])
    try:
        a.reload({})
        (told,) = a.call("GET", "/v1/status")["certificates"]
        assert told["key"] == "peer.client_cert"
        assert told["detail"].startswith("is self-signed")
        assert "CERTIFICATE: /etc/pki/libvirt/clientcert.pem" in a.ctl("status").stdout
        done = a.host.run([sys.executable, "-m", "pmigd.daemon.main", "--check"], check=False)
        assert (done.returncode, done.stdout.count("peer.client_cert")) == (2, 1)
    finally:
        a.host.run(["sh", "-ec", AS_BEFORE])
        a.reload({})
    assert a.call("GET", "/v1/status")["certificates"] == []
