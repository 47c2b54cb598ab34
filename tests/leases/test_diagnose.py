"""The support bundle of a real host: everything is in it but secrets, whoever hangs."""

from __future__ import annotations

import json
import time

import pytest

from contrib.lab.deadlines import until
from pmigd.daemon.diagnosis import PART_DEADLINE_S

pytestmark = pytest.mark.hypervisor

SECRET = "hunter2hunter2"
HASH = "$2y$04$1ZkFzE0l8zN7o6pYw0kX9eJ3tq1m0n8sV5bXcR2dHuYwQxS7aLr6K"
WEB_CONFIG = f"basic_auth_users:\n  prometheus: {HASH}\n"
VNC = "<graphics type='vnc' port='-1' autoport='yes' passwd='hunter2!'/>"
PARTS = (
    "versions status configuration limits peers migrations libvirt journal certificates loop pools"
    " log system unit"
)


def bundle(a) -> dict:
    """What `pmigctl diagnose` prints."""
    done = a.ctl("diagnose", timeout=20)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_it_has_everything_and_names_what_is_missing(a, b, slow) -> None:
    g = slow()
    iden = a.submit(g, bandwidth_mib_s=1)["id"]
    a.wait(iden, "precopy")
    found = bundle(a)
    assert set(found) == {"at", "failed", *PARTS.split()}
    assert found["failed"] == {}
    assert found["versions"]["libvirt"] == found["status"]["libvirt"]["version"]
    assert "Debian" in found["versions"]["distribution"]
    assert found["configuration"]["daemon"]["name"] == "hosta"
    assert [peer["pmigd"]["answers"] for peer in found["peers"]] == [True]
    (running,) = found["migrations"]["open"]
    assert running["id"] == iden
    assert next(c["kind"] for c in found["migrations"]["commands"][iden]) == "perform"
    assert found["journal"]["files"]["journal.sqlite"] > 0
    assert found["journal"]["free_bytes"] > 0
    assert {entry["key"] for entry in found["certificates"]} >= {"peer.ca", "peer.client_key"}
    assert found["loop"]["lag_most_s"] >= found["loop"]["lag_s"] >= 0
    assert {"look", "command", "peer"} <= {pool["name"] for pool in found["pools"]}
    assert sum(found["libvirt"]["domains"].values()) >= 1
    a.abort(iden)
    a.end(iden, "cancelled")
    ended = [m for m in bundle(a)["migrations"]["ended"] if m["id"] == iden]
    assert ended[0]["problem"]["code"] == "cancelled"


def test_no_secret_is_in_it_wherever_it_was(a, b, guest) -> None:
    """In XML, URIs, the web configuration, keys; and in what the log says of them."""
    g = guest(devices_xml=VNC)
    web = a.host.path("/etc/pmigd/web.yml")
    web.write_text(WEB_CONFIG)
    key = a.host.path("/etc/pki/libvirt/private/clientkey.pem").read_text().splitlines()[1]
    try:
        a.reload({"metrics": {"web_config": "/etc/pmigd/web.yml"}})
        xml = g.xml.replace("hunter2!", SECRET).replace("<vcpu>1<", "<vcpu>0<")
        m = a.end(a.submit(g, xml=xml)["id"], "failed")
        assert m["problem"] is not None
        a.host.pmigd.request(
            "POST",
            "/v1/migrations",
            {"domain": g.name, "destination": f"qemu+ssh://root:{SECRET}@10.77.0.2/system"},
        )
        # What cannot be read is said in the log, with the line that it is in.
        web.write_text(f"basic_auth_users:\n  prometheus: {SECRET}\n")
        a.host.pmigd.request("GET", "/metrics")
        until(lambda: bundle(a)["log"], "a warning in the bundle", timeout=15)
        text = json.dumps(bundle(a))
        for secret in ("hunter2", HASH, HASH[7:], key, "<graphics", "<domain", "PRIVATE KEY"):
            assert secret not in text, secret
        assert g.name in text
    finally:
        web.unlink()
        a.reload({})


def test_whoever_hangs_is_named_and_the_rest_is_told_in_time(a, b) -> None:
    b.host.pmigd.freeze()
    a.host.libvirtd.freeze()
    try:
        until(
            lambda: not a.call("GET", "/v1/status")["libvirt"]["connected"],
            "pmigd to see that libvirt hangs",
            timeout=30,
        )
        began = time.monotonic()
        found = bundle(a)
        assert time.monotonic() - began < 2 * PART_DEADLINE_S  # not one after the other
        assert found["status"]["ready"] is False
        assert [peer["pmigd"]["answers"] for peer in found["peers"]] == [False]
        assert "libvirt" in found["failed"]
        assert found["libvirt"] is None
        assert found["journal"]["free_bytes"] > 0
    finally:
        a.host.libvirtd.thaw()
        b.host.pmigd.thaw()
