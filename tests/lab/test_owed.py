"""What was asked for is owed until it is done, whatever libvirt does meanwhile."""

from __future__ import annotations

import json
import signal
import time
from contextlib import contextmanager

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import start

pytestmark = pytest.mark.hypervisor


@contextmanager
def frozen(daemon):
    """The daemon does not answer, and does not go away."""
    daemon.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGCONT)


def action(m: dict, name: str) -> dict:
    """The newest entry of that name."""
    return [entry for entry in m["actions"] if entry["action"] == name][-1]


def test_an_abort_that_libvirt_does_not_answer_is_shown_and_has_its_effect(a, slow) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    with frozen(a.host.libvirtd):
        a.abort(m["id"])
        owed = until(
            lambda: (entry := action(a.get(m["id"]), "abort"))["waits"] and entry,
            "it to be said that libvirt does not answer",
            timeout=15,
        )
        assert (owed["outcome"], owed["by"]) == ("pending", "root")
        a.abort(m["id"])  # joins the one that is pending
        assert len([x for x in a.get(m["id"])["actions"] if x["action"] == "abort"]) == 1
        assert "abort asked for" in a.ctl("show", m["id"]).stdout
        assert "abort asked for" in a.ctl("list").stdout
        assert a.metric("pmigd_commands_pending", command="abort") == 1
    m = a.end(m["id"], "cancelled", timeout=15)
    assert action(m, "abort")["outcome"] == "done"
    assert g.where() == [a.host]


def test_an_abort_is_owed_over_a_restart_of_pmigd(a, slow) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    with frozen(a.host.libvirtd):
        a.abort(m["id"])
        a.host.pmigd.kill(signal.SIGKILL)
    start(a.host)
    a.end(m["id"], "cancelled", timeout=20)
    assert g.where() == [a.host]


def test_what_is_set_while_it_is_prepared_is_in_force_afterwards(a, b, slow) -> None:
    g = slow()
    with frozen(b.host.libvirtd):
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "preparing")
        path = f"/v1/migrations/{m['id']}"
        a.call("PATCH", path, {"max_downtime_ms": 77, "bandwidth_mib_s": 2})
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None, timeout=60)
    shown = a.wait(
        m["id"], "precopy", also=lambda m: m["progress"]["downtime_limit_ms"] == 77, timeout=15
    )
    assert shown["request"]["bandwidth_mib_s"] == 2
    assert a.call("GET", f"{path}/settings")["bandwidth_mib_s"] == 2
    a.abort(m["id"])
    a.end(m["id"], "cancelled")


def test_the_pause_limit_that_is_shown_is_the_one_in_force(a, slow) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    path = f"/v1/migrations/{m['id']}"
    for limit in (150, 450):
        a.call("PATCH", path, {"max_downtime_ms": limit})
        a.wait(
            m["id"],
            "precopy",
            also=lambda m, limit=limit: m["progress"]["downtime_limit_ms"] == limit,
            timeout=5,
        )
    a.host.virsh("migrate-setmaxdowntime", g.name, "222")  # by another hand
    a.wait(m["id"], "precopy", also=lambda m: m["progress"]["downtime_limit_ms"] == 222, timeout=15)
    a.abort(m["id"])
    a.end(m["id"], "cancelled")


def test_a_later_deadline_acts_although_the_first_has_passed(a, slow) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1, timeout_s=1, on_timeout="continue")
    a.wait(m["id"], "precopy", also=lambda m: any(x["action"] == "continue" for x in m["actions"]))
    a.call("PATCH", f"/v1/migrations/{m['id']}", {"timeout_s": 2})
    a.wait(
        m["id"],
        "precopy",
        also=lambda m: len([x for x in m["actions"] if x["action"] == "continue"]) == 2,
    )
    a.abort(m["id"])
    a.end(m["id"], "cancelled")


def test_a_record_stays_small_however_often_something_is_set(a, slow) -> None:
    m = a.submit(slow(), bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    path = f"/v1/migrations/{m['id']}"
    ends = time.monotonic() + 30
    for number in range(200):
        a.call("PATCH", path, {"timeout_s": 900 + number})
        assert time.monotonic() < ends
    found = a.get(m["id"])
    assert len(json.dumps(found)) < 40_000
    assert found["request"]["timeout_s"] == 1099
    a.abort(m["id"])
    a.end(m["id"], "cancelled")
