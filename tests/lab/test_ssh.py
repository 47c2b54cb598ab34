"""Peers over ssh: root's ssh configuration decides where they are, for pmigd as for virsh."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from contrib.lab import Guest, Host, Lab, LabGuest, Sshd, missing
from contrib.lab.anchor import HOME
from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig, start

pytestmark = pytest.mark.hypervisor

INNER, INNER_OF_HOSTC = "10.99.0.2", "10.99.0.3"
PEERS = {
    "hostb-ssh": "qemu+ssh://root@hostb/system",
    "alias": "qemu+ssh://far/system",
    "jump": "qemu+ssh://inner/system",
    "command": "qemu+ssh://piped/system",
    "dotted": "qemu+ssh://first.last@hostb/system",
    "domain": "qemu+ssh://CORP%5Cops@hostb/system",
    "myself": "qemu+ssh://mirror/system",
    "nobody": "qemu+ssh://away/system",
}
CONFIG = f"""\
Include {HOME}/.ssh/config.d/*
Host far away
  HostKeyAlias hostb
  Port 2222
Host far
  HostName 10.77.0.2
Host away
  HostName 10.77.0.3
Host inner
  HostName {INNER}
  HostKeyAlias hostb
  ProxyJump hostc
Host piped
  HostKeyAlias hostb
  ProxyCommand ssh -W %h:22 hostc
Match originalhost mirror
  HostName 10.77.0.1
"""
SHARED = "Host *\n  ControlMaster auto\n  ControlPath ~/.ssh/shared-%C\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """hosta knows hostb by many names, and there is a network that only hostb and hostc are in."""
    lacking = missing(ssh=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    peers = {name: {"uri": uri} for name, uri in PEERS.items()}
    strict = [sys.executable, "-m", "tests.support.strict"]
    with Lab(3, name="ssh", ssh=True, pmigd_argv=strict) as lab:
        a, b, c = lab.hosts
        b.run(["ip", "addr", "add", f"{INNER}/24", "dev", "eth0"])
        c.run(["ip", "addr", "add", f"{INNER_OF_HOSTC}/24", "dev", "eth0"])
        c.write_file("/etc/hosts", c.path("/etc/hosts").read_text() + f"{INNER} piped\n")
        a.path(f"{HOME}/.ssh/config.d").mkdir()
        a.write_file(f"{HOME}/.ssh/config", CONFIG)
        accounts = b.path("/etc/passwd").read_text()
        for user in ("first.last", "CORP\\ops"):
            accounts += f"{user}:x:0:0::{HOME}:/bin/sh\n"
        b.write_file("/etc/passwd", accounts)
        start(a, config={"peers": peers})
        with second_sshd(b):
            yield lab


@contextmanager
def second_sshd(host: Host) -> Iterator[Sshd]:
    """Another sshd, on port 2222."""
    sshd = Sshd(host, 2222)
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.stop()


@pytest.fixture
def a(lab: Lab) -> Pmig:
    return Pmig(lab.hosts[0])


@pytest.fixture
def guest(lab: Lab) -> Iterator[LabGuest]:
    made = lab.guest(Guest(name="s1"), on=lab.hosts[0])
    yield made
    made.destroy()


def verdict(pmig: Pmig, peer: str) -> dict[str, str]:
    """What is found, but for what nobody looked at."""
    answer = pmig.call("POST", "/v1/check", {"domain": "s1", "destination": peer})
    return {f["code"]: f["detail"] for f in answer["findings"] if f["level"] != "info"}


def go(pmig: Pmig, guest: LabGuest, peer: str, there: Host) -> None:
    assert verdict(pmig, peer) == {}
    pmig.end(pmig.submit(guest, to=peer)["id"])
    assert guest.where() == [there]


@pytest.mark.parametrize("peer", ["alias", "jump", "command", "dotted", "domain"])
def test_what_virsh_reaches_pmigd_reaches(lab: Lab, a: Pmig, guest: LabGuest, peer: str) -> None:
    there = lab.hosts[1]
    assert a.host.virsh("-c", PEERS[peer], "hostname") == there.name
    go(a, guest, peer, there)


def test_a_peer_that_is_away_is_told_within_seconds_where_ssh_would_go(a: Pmig, guest) -> None:
    began = time.monotonic()
    found = verdict(a, "nobody")
    assert time.monotonic() - began < 5
    assert list(found) == ["destination_unreachable"]
    assert "nobody (10.77.0.3 port 2222): " in found["destination_unreachable"]


def test_a_name_that_ssh_leads_back_to_this_host_is_this_host(a: Pmig, guest) -> None:
    assert list(verdict(a, "myself")) == ["same_host"]
    body = {"domain": "s1", "destination": "myself"}
    status, problem = a.host.pmigd.request("POST", "/v1/migrations", body)
    assert (status, problem["code"]) == (422, "same_host")


@pytest.mark.parametrize("persist", ["no", "60"])
def test_connections_that_root_shares_are_used_and_not_held_by_pmigd(
    lab: Lab, a: Pmig, guest: LabGuest, persist: str
) -> None:
    there = lab.hosts[1]
    home = a.host.path(f"{HOME}/.ssh")
    config = home / "config.d" / "shared"
    config.write_text(f"{SHARED}  ControlPersist {persist}\n")
    try:
        # pmigd's own looks work where they could not make a socket, and share nothing.
        assert verdict(a, "hostb-ssh") == {}
        assert list(home.glob("shared-*")) == []
        # libvirtd's connection, or root's, is one that others may use.
        with_master = ["ssh", "-N", "hostb"]
        master = a.host.popen(with_master)
        until(lambda: list(home.glob("shared-*")), "root's shared connection", timeout=10)
        go(a, guest, "hostb-ssh", there)
        a.host.run(["ssh", "-O", "exit", "hostb"])
        master.wait(10)
        # Without that, the call is libvirtd's own to make.
        guest.migrate(a.host, source=there)
        go(a, guest, "hostb-ssh", there)
    finally:
        config.unlink()
        a.host.run(
            ["ssh", "-o", "ControlPath=~/.ssh/shared-%C", "-O", "exit", "hostb"], check=False
        )
