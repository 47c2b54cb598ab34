"""pmigd is killed right before each call that it makes of libvirt, and started again.

Whatever it was about to do: no guest is lost, none is left paused, everything ends, and what was
asked for is done after all.
"""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from pmigd.client import BrokenError
from tests.lab.conftest import Pmig, dead, dies_before, start
from tests.lab.test_verdicts import in_postcopy

pytestmark = pytest.mark.hypervisor


def ask(pmig: Pmig, m: dict, what: str, body: object = None, method: str = "POST") -> None:
    """Ask for something; whoever dies of it may not come to answer."""
    with contextlib.suppress(BrokenError):
        pmig.host.pmigd.request(method, f"/v1/migrations/{m['id']}{what}", body)


def runs_on(g, host) -> None:
    """One copy, which goes on."""
    assert g.where() == [host]
    g.heartbeats.wait(5, host=host.name, since=time.monotonic())


def told(m: dict) -> list[tuple[str, str]]:
    """What was asked for, and what came of it."""
    return [(x["action"], x["outcome"]) for x in m["actions"] if x["action"] != "adopt"]


@pytest.mark.long
@pytest.mark.parametrize(
    "call",
    ["examine_guest", "inspect_peer", "quiet", "sample", "settings", "look_here", "look_there"],
)
def test_before_a_look(a, b, guest, call) -> None:
    """Before the call it is queued again, during and after it it is found again."""
    g = guest(fill_mib=6)
    dies_before(a, call)
    m = a.submit(g, bandwidth_mib_s=2)
    dead(a)
    start(a.host)
    m = a.end(m["id"])
    assert told(m) == []
    runs_on(g, b.host)


@pytest.mark.parametrize(
    ("call", "what", "fields", "ends"),
    [
        ("abort_job", "/abort", {}, "cancelled"),
        ("suspend", "/suspend", {}, "succeeded"),
        ("start_postcopy", "/postcopy", {"postcopy": "allowed"}, "succeeded"),
    ],
)
def test_before_what_somebody_asked_for(a, b, guest, call, what, fields, ends) -> None:
    g = guest(memory_mib=160, fill_mib=90)  # it is not through before pmigd is back
    dies_before(a, call)
    m = a.submit(g, bandwidth_mib_s=1, **fields)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    ask(a, m, what)
    dead(a)
    start(a.host)
    a.wait(m["id"], "precopy", "postcopy", ends, also=lambda m: told(m) == [(what[1:], "done")])
    if ends == "succeeded":
        a.host.run(["virsh", "migrate-setspeed", g.name, "1000"], check=False)
    m = a.end(m["id"], ends)
    assert told(m) == [(what[1:], "done")], json.dumps(m, indent=1)
    runs_on(g, a.host if ends == "cancelled" else b.host)


def test_before_a_setting(a, b, guest) -> None:
    g = guest(memory_mib=160, fill_mib=90)
    dies_before(a, "change")
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    ask(a, m, "", {"bandwidth_mib_s": 0}, "PATCH")
    dead(a)
    start(a.host)
    m = a.end(m["id"])  # at 1 MiB/s it would take longer
    assert ("set", "done") in told(m)
    runs_on(g, b.host)


def test_before_a_broken_postcopy_is_gone_on_with(lab, a, b, guest) -> None:
    dies_before(a, "perform on")
    g, m = in_postcopy(a, b, guest)
    assert lab.link(a.host).reset_connections() > 0
    dead(a)
    assert g.where() != []
    start(a.host)
    m = a.end(m["id"], timeout=60)
    runs_on(g, b.host)
