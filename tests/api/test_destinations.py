"""Where a guest may be sent: peers, and what an administrator may write instead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contrib.lab import Host, LabGuest
from pmigd.core.problem import Code
from tests.api.client import Api

pytestmark = pytest.mark.hypervisor

DANGEROUS = {
    "command": "/bin/sh",
    "argv": "-c",
    "netcat": "/bin/nc",
    "socket": "/run/evil.sock",
    "keyfile": "/root/.ssh/id_rsa",
    "known_hosts": "/etc/shadow",
    "known_hosts_verify": "ignore",
    "no_verify": "1",
    "no_sanity": "1",
    "pkipath": "/tmp/pki",
    "tls_priority": "NORMAL",
    "authfile": "/etc/shadow",
    "auth": "none",
    "sshauth": "password",
    "name": "test:///default",
    "proxy": "native",
    "mode": "legacy",
    "no_tty": "1",
    "anything": "else",
}


def test_a_uuid_of_no_domain_is_not_found(api: Api) -> None:
    uuid = "7b55704c-29f4-11b2-a85c-9dc6ff50623f"
    problem = api.refuses_migration(Code.DOMAIN_NOT_FOUND, domain=uuid, destination="hostb")
    assert uuid in problem["detail"]


@pytest.mark.parametrize("name", ["nobody", "x" * 256, "ünï-çødé", "--live", "$(reboot)", "."])
def test_a_name_of_no_domain_is_not_found(api: Api, name: str) -> None:
    api.refuses_migration(Code.DOMAIN_NOT_FOUND, domain=name, destination="hostb")


def test_a_domain_that_does_not_run_is_refused(api: Api, dormant: LabGuest) -> None:
    for name in (dormant.name, dormant.uuid, dormant.uuid.upper()):
        api.refuses_migration(Code.DOMAIN_NOT_RUNNING, domain=name, destination="hostb")


@pytest.mark.parametrize("destination", ["hostz", "HOSTB", "hostb.", "test", "%68ostb", "-v"])
def test_an_unknown_peer_is_refused_and_the_known_ones_told(api: Api, destination: str) -> None:
    problem = api.refuses_migration(Code.UNKNOWN_PEER, domain="web1", destination=destination)
    assert "hostb" in problem["detail"]


@pytest.mark.parametrize("peer", ["byaddress", "byalias"])
def test_a_peer_that_leads_back_to_this_host_is_refused(
    api: Api, heavies: list[LabGuest], peer: str
) -> None:
    api.refuses_migration(Code.SAME_HOST, domain=heavies[0].name, destination=peer)
    assert api.open() == []


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+tcp://localhost/system",
        "qemu+tcp://127.0.0.1/system",
        "qemu+tcp://127.7.7.7/system",
        "qemu+tcp://0.0.0.0/system",
        "qemu+tcp://[::1]/system",
        "qemu+tcp://[::ffff:127.0.0.1]/system",
        "qemu+tcp://10.77.0.1/system",
    ],
)
def test_a_uri_that_leads_back_to_this_host_is_refused(
    api: Api, heavies: list[LabGuest], uri: str
) -> None:
    api.refuses_migration(Code.SAME_HOST, domain=heavies[0].name, destination=uri)


@pytest.mark.parametrize("parameter", DANGEROUS)
@pytest.mark.parametrize("scheme", ["qemu+tcp", "qemu+ssh"])
def test_a_parameter_of_a_uri_is_refused_even_for_an_administrator(
    api: Api, heavies: list[LabGuest], scheme: str, parameter: str
) -> None:
    uri = f"{scheme}://hostb/system?{parameter}={DANGEROUS[parameter]}"
    problem = api.refuses_migration(Code.URI_REFUSED, domain=heavies[0].name, destination=uri)
    assert f"{parameter}=" in problem["detail"]
    assert api.open() == []


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+tls://hostb/system",
        "qemu+tcp://hostb:16509/system",
        "qemu+tcp://hostc/system",
        "qemu+tcp://hostb.evil.example/system",
        "qemu+tcp://xhostb/system",
        "qemu+ssh://root@hostb/system",
    ],
)
def test_a_uri_that_no_pattern_covers_is_refused(
    api: Api, heavies: list[LabGuest], uri: str
) -> None:
    problem = api.refuses_migration(Code.URI_REFUSED, domain=heavies[0].name, destination=uri)
    assert "allow_uris" in problem["detail"]


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu+unix://hostb/system?socket=/tmp/x",
        "qemu+ext://hostb/system?command=/bin/sh",
        "qemu+tcp://hostb/session",
        "qemu+tcp://hostb/embed?root=/",
        "qemu+tcp://hostb/system#x",
        "qemu+tcp://hostb/system/",
        "qemu+tcp://hostb//system",
        "qemu+tcp://hostb\\@evil/system",
        "qemu+tcp://-oProxyCommand=x/system",
        "qemu+ssh://-oProxyCommand=x@hostb/system",
        "qemu+tcp://root:secret@hostb/system",
        "qemu+tcp://%68ostb/system",
        "qemu+tcp://hostb:99999/system",
        "qemu+tcp://2130706433/system",
        "qemu+tcp://0x7f.1/system",
        "QEMU+TCP://hostb/system",
        "test:///default",
        "esx://hostb/system",
        "tcp://hostb",
        "unix:///tmp/x",
        "file:///etc/shadow",
        "hostb:",
        ":",
        "qemu+tcp://" + "h" * 900 + "/system",
    ],
    ids=lambda uri: uri[:40],
)
def test_a_uri_that_is_not_understood_to_the_last_part_is_refused(
    api: Api, heavies: list[LabGuest], uri: str
) -> None:
    problem = api.refuses_migration(Code.URI_REFUSED, domain=heavies[0].name, destination=uri)
    assert "secret" not in problem["detail"]


def test_an_administrator_migrates_to_a_uri_that_a_pattern_covers(
    api: Api, hostb: Host, mover: Callable[[str], LabGuest]
) -> None:
    guest = mover("byuri")
    migration = api.submit(guest.name, hostb.uri_from_peer)
    assert api.ended(migration["id"])["state"] == "succeeded"
    assert migration["request"]["destination"] == hostb.uri_from_peer
    assert migration["destination"] == "hostb"  # another way to a peer is still that peer
    assert guest.where() == [hostb]
