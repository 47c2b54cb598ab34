"""What is left at a destination whose libvirtd died while it was starting an incoming QEMU."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from contrib.lab.deadlines import until
from tests.leases.conftest import nothing_held

pytestmark = pytest.mark.hypervisor


@contextlib.contextmanager
def forgotten_at_the_end(host, g) -> Iterator[None]:
    """libvirt does not let go of such a copy: at the end it is made to, as the runbook says."""
    try:
        yield
    finally:
        host.libvirtd.stop()
        for end in ("xml", "pid"):
            host.path(f"/run/libvirt/qemu/{g.name}.{end}").unlink(missing_ok=True)
        host.libvirtd.start()


LEFTOVER = "leftover_copy"


def half_made(a, b, g) -> dict:
    """A migration whose copy at the destination is left half-made: a matter of milliseconds."""
    status = b.host.path(f"/run/libvirt/qemu/{g.name}.pid")
    for attempt in range(12):
        m = a.submit(g, bandwidth_mib_s=1)
        until(status.exists, "QEMU to be started there", timeout=15, interval=0.001)
        time.sleep(0.002 + 0.002 * (attempt % 6))  # libvirtd does not know its QEMU yet
        b.host.libvirtd.kill()
        b.host.libvirtd.start()
        m = a.end(m["id"], "failed", timeout=60)
        state = b.host.run(["virsh", "domstate", "--reason", g.name], check=False).stdout.strip()
        if state == "paused (starting up)":
            return m
    pytest.fail("libvirtd cleaned up every time")


@pytest.mark.long
@pytest.mark.timeout(240)  # what is about to be cleaned up is given 40 s before it is told
def test_is_told_at_the_destination_and_holds_nothing_there(a, b, guest) -> None:
    g = guest(fill_mib=20)
    with forgotten_at_the_end(b.host, g):
        half_made(a, b, g)
        assert g.where() == [a.host]
        seen = b.all(domain=g.name)[0]
        m = until(
            lambda: next(
                (m for m in b.all(domain=g.name) if (m["problem"] or {}).get("code") == LEFTOVER),
                None,
            ),
            "the end of its record there",
            timeout=90,
            evidence=lambda: json.dumps(b.all(domain=g.name), indent=1),
        )
        assert (m["id"], m["state"]) == (seen["id"], "failed")
        assert "virsh destroy" in m["problem"]["remedy"]
        nothing_held(b)
        until(
            lambda: b.metric("pmigd_copies_left_behind") == 1, "the copy to be counted", timeout=20
        )
        # It is told once, and nobody touched it.
        b.reload({})
        assert [x["id"] for x in b.all(domain=g.name) if x["state"] == "precopy"] == []
        state = b.host.virsh("domstate", "--reason", g.name)
        assert state == "paused (starting up)"
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())
    a.end(a.submit(g)["id"])
    assert g.where() == [b.host]
