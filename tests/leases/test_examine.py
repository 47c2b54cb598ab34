"""What only the destination can see, its pmigd looks at before a guest is sent there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from contrib.lab import Host
from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig

LISTEN = "import socket, sys; s = socket.create_server(('', int(sys.argv[1]))); input()"


@contextlib.contextmanager
def listener(host: Host, port: int) -> Iterator[None]:
    """Something else listens on a port of the host meanwhile."""
    process = host.popen(
        [sys.executable, "-c", LISTEN, str(port)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        until(
            lambda: f":{port} " in host.run(["ss", "-Hltn"]).stdout,
            f"a listener on {port}",
            timeout=5,
        )
        yield
    finally:
        process.communicate("\n", timeout=5)


def check(pmig: Pmig, **fields: object) -> list[dict[str, str]]:
    """Everything that is found about the test's guest."""
    body = {"domain": "l0", "destination": "hostb", **fields}
    return pmig.call("POST", "/v1/check", body)["findings"]


def blocks(pmig: Pmig, **fields: object) -> set[str]:
    """The codes of what blocks; nothing may be left unchecked at the destination."""
    findings = check(pmig, **fields)
    unchecked = [f for f in findings if f["code"] == "not_checked" and f["field"] == "destination"]
    assert unchecked == [], findings
    return {finding["code"] for finding in findings if finding["level"] == "block"}


def test_nothing_speaks_against_a_plain_guest_and_nothing_is_left_unchecked(a, b, guest) -> None:
    guest()
    assert blocks(a) == set()
    assert blocks(a, tls=True, postcopy="allowed", copy_storage="all") == set()


@pytest.mark.parametrize("field", ["migrate_uri", "disks_port"])
def test_a_port_that_is_taken_is_found_before_anything_is_sent_to_it(a, b, guest, field) -> None:
    g = guest()
    wanted = {
        "migrate_uri": {"migrate_uri": "tcp://hostb:49300"},
        "disks_port": {"disks_port": 49300, "copy_storage": "all"},
    }[field]
    with listener(b.host, 49300):
        assert blocks(a, **wanted) == {"port_in_use"}
        m = a.end(a.submit(g, **wanted)["id"], "failed")
        assert m["problem"]["errors"][0]["field"] == field
    assert blocks(a, **wanted) == set()
    assert g.where() == [a.host]


def test_certificates_that_the_destination_lacks_are_found(a, b, guest) -> None:
    guest()
    key = b.host.path("/etc/pki/qemu/server-key.pem")
    away = key.rename(key.with_suffix(".away"))
    try:
        assert blocks(a, tls=True) == {"tls_not_set_up"}
    finally:
        away.rename(key)


def test_a_pmigd_on_another_host_than_its_libvirt_is_no_word_for_word(a, b, guest) -> None:
    g = guest()
    # The certificate of hosta is as good as any: only the hosts' own UUIDs tell them apart.
    a.reload({"peers": {"hostb": {"pmigd": f"https://{a.host.address}:9717"}}})
    levels = {finding["code"]: finding["level"] for finding in check(a)}
    assert (levels["pmigd_elsewhere"], levels["not_checked"]) == ("block", "info")
    assert list(levels.values()).count("block") == 1
    m = a.end(a.submit(g)["id"], "failed")
    assert m["problem"]["code"] in ("check_failed", "destination_has_domain")
    assert g.where() == [a.host]
