"""Nothing that is secret, and no guest's XML, gets into the log of either host, come what may."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig

BCRYPT = "$2b$04$hunter2hunter2hunter2uG9ooyTs7BdQSAuTKSTYRcqgKpN4Zcqi"
VNC = (
    "<graphics type='vnc' port='-1' passwd='hunter2a'>"
    "<listen type='address' address='127.0.0.1'/></graphics>"
)
URIS = (
    "qemu+ssh://root:hunter2@hostb/system",
    "qemu+ssh://root@hostb/system?keyfile=/root/hunter2",
    "qemu+tls://hostb/system?pkipath=/hunter2",
    "qemu+tcp://hunter2@hostb/system",
)
WEB = f"basic_auth_users:\n  prometheus: {BCRYPT}\n"
BAD_WEB = (
    f"basic_auth_users:\n  prometheus: {BCRYPT}x\n",  # not a hash
    f"basic_auth_users:\n  prometheus: {{{BCRYPT}\n",  # not YAML
    f"basic_auth_users: {BCRYPT}\n",
)


@pytest.fixture
def logs(a: Pmig, b: Pmig) -> Iterator[list[str]]:
    """What both hosts have logged in a test, once it is over."""
    began = [len(pmig.host.pmigd.log()) for pmig in (a, b)]
    said: list[str] = []
    yield said
    for pmig, length in zip((a, b), began, strict=True):
        said.append(pmig.host.pmigd.log()[length:])
    secrets = ["hunter2", BCRYPT, "<domain", "passwd=", *pem_lines(a.host.path("/etc/pki"))]
    for log in said:
        assert '"event": "migration"' in log
        assert not any(secret in log for secret in secrets), log


def pem_lines(folder: Path) -> list[str]:
    """A line of the inside of each key of a host."""
    return [key.read_text().splitlines()[2] for key in folder.rglob("*key.pem")]


def xml_of(pmig: Pmig, name: str, *, with_password: str) -> str:
    """A running guest's XML as an administrator would give it back, with another password."""
    xml = pmig.host.virsh("dumpxml", name, "--security-info", "--migratable")
    assert "passwd='hunter2a'" in xml
    return xml.replace("hunter2a", with_password)


def test_migrations_with_secrets_in_their_xml(a, guest, collector, logs) -> None:
    g = guest(devices_xml=VNC)
    other = xml_of(a, g.name, with_password="hunter2b")
    # libvirt quotes the whole line in which it cannot read on.
    torn = other.replace("passwd='hunter2b'>", "passwd='hunter2b' <")
    body = {"domain": g.name, "destination": "hostb", "xml": torn}
    refused = a.call("POST", "/v1/migrations", body, 422)
    assert "error parsing attribute name" in refused["detail"]
    assert "hunter2" not in str(refused)
    for field in ("xml", "persistent_xml"):
        a.end(a.submit(g, **{field: other.replace("type='vnc'", "type='vncx'")})["id"], "failed")
    done = a.end(a.submit(g, xml=other, persistent_xml=other)["id"])
    assert "hunter2" not in str(done)
    until(
        lambda: any(s.attributes.get("pmigd.migration.id") == done["id"] for s in collector.spans),
        "its span",
        timeout=20,
    )
    assert not any("hunter2" in str(span) or "<" in str(span) for span in collector.spans)


def test_submissions_and_files_with_secrets_that_are_refused(a, b, guest, logs) -> None:
    g = guest()
    for uri in URIS:
        status, problem = a.host.pmigd.request(
            "POST", "/v1/migrations", {"domain": g.name, "destination": uri}
        )
        assert status in (400, 403, 422), problem
    body = {"domain": g.name, "destination": "hostb", "xml": VNC, "hunter2": "hunter2"}
    assert a.host.pmigd.request("POST", "/v1/migrations", body)[0] == 422
    body = {"domain": g.name, "destination": "hostb", "xml": [VNC], "disks_uri": "tcp://hunter2@x"}
    assert a.host.pmigd.request("POST", "/v1/migrations", body)[0] == 422

    web = a.host.path("/etc/pmigd/web.yml")
    web.write_text(WEB)
    a.reload({"metrics": {"web_config": "/etc/pmigd/web.yml"}})
    for bad in BAD_WEB:
        length = len(a.host.pmigd.log())
        web.write_text(bad)
        a.host.pmigd.send_signal(signal.SIGHUP)
        until(
            lambda length=length: "web configuration cannot" in a.host.pmigd.log()[length:],
            "the refusal of the web configuration",
            timeout=10,
        )
    a.reload({"peers": {"hostc": {"uri": URIS[0]}}})
    torn = a.host.path("/etc/pmigd/torn.pem")
    key = a.host.path("/etc/pki/libvirt/private/serverkey.pem").read_text()
    torn.write_text("\n".join(key.splitlines()[:-2]) + "\nhunter2\n")
    a.reload({"peer": {"key": "/etc/pmigd/torn.pem"}})
    assert "certificates cannot be used" in a.host.pmigd.log()
    a.reload({})
    a.end(a.submit(g)["id"])
