"""The main job: a running guest goes from one real host to another, and everybody can see it."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.conftest import Pmig

pytestmark = pytest.mark.hypervisor


@pytest.mark.parametrize("transport", ["native", "tunnelled"])
def test_a_guest_arrives_whole_and_its_heart_never_stops(a, b, guest, transport) -> None:
    g = guest(dirty_pages_per_tick=16, working_set_mib=4, fill_mib=16)
    began = time.monotonic()
    m = a.end(a.submit(g, transport=transport)["id"])
    g.heartbeats.wait(10, host="hostb", since=time.monotonic())

    assert g.where() == [b.host]
    assert g.heartbeats.memory_ok
    assert g.heartbeats.missing == 0
    assert g.heartbeats.restarts == 0
    assert g.heartbeats.hosts == ["hosta", "hostb"]
    assert g.heartbeats.longest_gap(since=began).seconds < 2
    assert m["request"]["transport"] == transport
    assert m["result"]["mode"] == "precopy"
    assert m["result"]["iterations"] >= 1
    assert m["result"]["transferred_bytes"] > 16 << 20
    assert 0 <= m["result"]["downtime_ms"] < 2000
    assert m["result"]["duration_s"] > 0
    assert (m["source"], m["destination"], m["direction"]) == ("hosta", "hostb", "outgoing")
    assert m["problem"] is None


@pytest.mark.parametrize(
    ("persistent_guest", "flags", "source_keeps", "destination_gets"),
    [
        (True, {}, False, True),
        (False, {}, False, False),
        (True, {"persistent": False, "undefinesource": False}, True, False),
        (True, {"persistent": True, "undefinesource": False}, True, True),
        (True, {"persistent": False, "undefinesource": True}, False, False),
        (False, {"persistent": True}, False, True),
        (True, {"undefinesource": False}, True, True),
    ],
)
def test_definitions_follow_the_guest_or_do_as_they_are_told(
    a, b, guest, persistent_guest, flags, source_keeps, destination_gets
) -> None:
    g = guest(persistent=persistent_guest)
    a.end(a.submit(g, **flags)["id"])
    assert g.where() == [b.host]
    assert (g.name in a.host.virsh("list", "--all", "--name")) == source_keeps
    persistent = b.host.virsh("list", "--persistent", "--name")
    assert (g.name in persistent) == destination_gets


def test_a_paused_migration_is_asked_for_with_live_false(a, b, guest) -> None:
    g = guest(fill_mib=8)
    m = a.end(a.submit(g, live=False)["id"])
    assert g.where() == [b.host]
    assert m["request"]["live"] is False
    g.heartbeats.wait(5, host="hostb")


def test_the_bandwidth_is_kept(a, slow) -> None:
    m = a.submit(slow(), bandwidth_mib_s=4)
    progress = a.wait(
        m["id"], "precopy", also=lambda m: bool(m["progress"] and m["progress"]["bytes_per_second"])
    )["progress"]
    assert progress["bytes_per_second"] < 6 << 20
    assert progress["memory_total_bytes"] >= 64 << 20
    a.abort(m["id"])
    a.end(m["id"], "cancelled")


def test_the_first_in_the_queue_is_the_first_to_start(a, slow, guest) -> None:
    a.reload({"limits": {"max_outgoing": 1}})
    first = a.submit(slow(), bandwidth_mib_s=1)
    a.wait(first["id"], "precopy")
    second, third = a.submit(guest()), a.submit(guest())
    waiting = a.get(third["id"])["waiting_for"]
    assert (waiting["resource"], waiting["host"]) == ("outgoing_slot", "hosta")
    assert (waiting["used"], waiting["limit"], waiting["position"]) == (1, 1, 2)
    assert a.get(second["id"])["waiting_for"]["position"] == 1
    a.abort(first["id"])
    a.end(first["id"], "cancelled")
    second, third = a.end(second["id"]), a.end(third["id"])
    assert second["finished_at"] <= third["started_at"]


class TestTimeout:
    def test_aborts(self, a, slow) -> None:
        g = slow()
        m = a.end(a.submit(g, bandwidth_mib_s=1, timeout_s=2)["id"], "failed")
        assert m["problem"]["code"] == "timeout"
        assert g.where() == [a.host]
        assert 2 <= m["result"]["duration_s"] < 4
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())

    def test_suspends_the_guest_which_then_runs_on_at_the_destination(self, a, b, guest) -> None:
        # 25 MiB/s of writes over an 8 MiB/s link would never end by itself.
        g = guest(memory_mib=96, dirty_pages_per_tick=128, working_set_mib=16, fill_mib=16)
        request = {"bandwidth_mib_s": 8, "timeout_s": 3, "on_timeout": "suspend"}
        m = a.end(a.submit(g, **request)["id"])
        assert [action["action"] for action in m["actions"]] == ["suspend"]
        assert g.where() == [b.host]
        g.heartbeats.wait(10, host="hostb", since=time.monotonic())
        assert g.heartbeats.memory_ok

    def test_continues(self, a, guest) -> None:
        g = guest(fill_mib=16)
        request = {"bandwidth_mib_s": 6, "timeout_s": 1, "on_timeout": "continue"}
        m = a.end(a.submit(g, **request)["id"])
        assert [action["action"] for action in m["actions"]] == ["continue"]


class TestAbort:
    def test_in_the_queue(self, a, slow) -> None:
        a.reload({"limits": {"max_outgoing": 1}})
        running = a.submit(slow(), bandwidth_mib_s=1)
        g = slow()
        queued = a.submit(g)
        assert a.abort(queued["id"])["state"] == "cancelled"
        assert g.where() == [a.host]
        a.abort(running["id"])
        a.end(running["id"], "cancelled")

    def test_while_the_destination_is_asked_before_libvirt_is_called(self, a, b, guest) -> None:
        g = guest()
        b.host.libvirtd.freeze()
        m = a.submit(g)
        a.wait(m["id"], "preparing")
        assert a.abort(m["id"])["state"] == "cancelled"
        b.host.libvirtd.thaw()
        assert g.where() == [a.host]

    def test_while_the_destination_prepares(self, a, guest, hold_prepare) -> None:
        g = guest()
        m = a.submit(g)
        assert a.wait(m["id"], "preparing")
        a.abort(m["id"])
        hold_prepare()
        m = a.end(m["id"], "cancelled")
        assert m["problem"]["code"] == "cancelled"
        assert g.where() == [a.host]
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())

    def test_right_after_the_call(self, a, guest) -> None:
        # Again and again, so that the abort meets libvirt at different moments before its job.
        g = guest(fill_mib=8)
        for pause in (0, 0.01, 0.02, 0.03, 0.05, 0.08):
            m = a.submit(g, bandwidth_mib_s=1)
            time.sleep(pause)
            a.abort(m["id"])
            a.end(m["id"], "cancelled", timeout=10)
            assert g.where() == [a.host]

    def test_in_precopy(self, a, b, slow) -> None:
        g = slow()
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy")
        a.abort(m["id"])
        m = a.end(m["id"], "cancelled", timeout=10)  # its end is half a minute away
        # The call that came back because of it is not told as well.
        assert [(x["action"], x["by"]) for x in m["actions"]] == [("abort", "root")]
        assert g.where() == [a.host]
        assert g.name not in b.host.virsh("list", "--all", "--name")
        # An abort is asked for once; asking again is no error.
        assert a.abort(m["id"])["state"] == "cancelled"

    def test_while_it_finishes_tells_the_truth_about_what_became_of_it(self, a, b, slow) -> None:
        g = slow(fill_mib=8)
        m = in_finishing(a, b, g)
        a.abort(m["id"])
        b.host.libvirtd.thaw()
        m = a.wait(m["id"], "succeeded", "cancelled", timeout=60)
        where = [b.host] if m["state"] == "succeeded" else [a.host]
        assert g.where() == where
        g.heartbeats.wait(5, host=where[0].name, since=time.monotonic())

    def test_by_virsh_is_seen_as_somebody_elses(self, a, slow) -> None:
        g = slow()
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy")
        a.host.virsh("domjobabort", g.name)
        m = a.end(m["id"], "cancelled")
        assert m["problem"]["code"] == "aborted_elsewhere"

    def test_after_the_end_says_so(self, a, guest) -> None:
        m = a.end(a.submit(guest())["id"])
        problem = a.call("POST", f"/v1/migrations/{m['id']}/abort", status=409)
        assert problem["code"] == "wrong_state"
        assert "succeeded" in problem["detail"]


def in_finishing(a: Pmig, b: Pmig, g) -> dict:
    """A migration held at its finish: the destination's libvirtd does not answer."""
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy")
    b.host.libvirtd.freeze()
    a.host.virsh("migrate-setspeed", g.name, "1000")
    return a.wait(m["id"], "finishing")


class TestFailure:
    def test_of_the_link_leaves_the_guest_running_here(self, lab, a, slow) -> None:
        g = slow()
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
        assert lab.link(a.host).reset_connections() > 0
        m = a.end(m["id"], "failed")
        assert m["problem"]["code"] == "migration_failed"
        assert m["problem"]["remedy"]
        assert m["result"]["transferred_bytes"] > 0
        assert g.where() == [a.host]
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())

    def test_to_reach_the_destination_is_known_within_seconds(self, lab, a, b, guest) -> None:
        g = guest()
        b.host.libvirtd.kill()
        m = a.end(a.submit(g)["id"], "failed", timeout=5)
        assert m["problem"]["code"] == "destination_unreachable"
        assert m["problem"]["retryable"]
        b.host.libvirtd.start()
        a.end(a.submit(g)["id"])

    def test_of_a_link_that_is_down_is_known_within_seconds(self, lab, a, b, guest) -> None:
        g = guest()
        lab.link(b.host).down()
        m = a.end(a.submit(g)["id"], "failed", timeout=6)
        assert m["problem"]["code"] == "destination_unreachable"

    def test_because_the_destination_has_the_domain_touches_neither(self, lab, a, b, guest) -> None:
        g = guest()
        xml = g.xml
        b.host.write_file("/run/twin.xml", xml)
        b.host.virsh("create", "/run/twin.xml")
        m = a.end(a.submit(g)["id"], "failed")
        assert m["problem"]["code"] == "destination_has_domain"
        assert g.where() == [a.host, b.host]
        b.host.virsh("destroy", g.name)

    def test_because_the_guest_ended_says_that(self, a, slow) -> None:
        g = slow(persistent=False)
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy")
        a.host.virsh("destroy", g.name)
        m = a.end(m["id"], "failed")
        assert m["problem"]["code"] in ("guest_stopped", "migration_failed"), m
        assert g.where() == []

    def test_of_the_destinations_daemon_leaves_the_guest_running_here(self, a, b, slow) -> None:
        g = slow()
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
        b.host.libvirtd.kill()
        b.host.libvirtd.start()
        m = a.end(m["id"], "failed", timeout=60)
        assert g.where() == [a.host]
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())


class TestOthersMigrations:
    def test_are_seen_measured_and_counted(self, a, b, slow) -> None:
        g = slow(fill_mib=8)
        before = a.metric(
            "pmigd_migrations_finished_total", direction="outgoing", result="completed"
        )
        before_in = b.metric(
            "pmigd_migrations_finished_total", direction="incoming", result="completed"
        )
        process = a.host.popen(
            [
                "virsh",
                "migrate",
                "--live",
                "--p2p",
                "--bandwidth",
                "4",
                g.name,
                b.host.uri_from_peer,
            ]
        )
        from contrib.lab.deadlines import until

        def external(pmig: Pmig, *states: str) -> dict:
            return until(
                lambda: next(
                    (m for m in pmig.all(domain=g.name) if m["external"] and m["state"] in states),
                    None,
                ),
                f"an external migration in {states} on {pmig.host.name}",
                timeout=20,
                evidence=lambda: json.dumps(pmig.all(domain=g.name), indent=1),
            )

        out = external(a, "precopy")
        assert out["direction"] == "outgoing"
        assert a.metric("pmigd_migrations_active", direction="outgoing") == 1
        assert a.call("GET", "/v1/status")["limits"]["held_outgoing"] == 1
        into = external(b, "preparing", "precopy")
        assert into["direction"] == "incoming"
        busy = a.host.pmigd.request(
            "POST", "/v1/migrations", {"domain": g.name, "destination": "hostb"}
        )
        assert busy[0] == 409
        assert busy[1]["code"] == "domain_busy"
        assert process.wait(timeout=30) == 0
        out = external(a, "succeeded")
        into = external(b, "succeeded")
        assert out["result"]["transferred_bytes"] > 8 << 20
        assert out["result"]["downtime_ms"] is not None
        assert into["result"]["transferred_bytes"] == out["result"]["transferred_bytes"]
        assert (
            a.metric("pmigd_migrations_finished_total", direction="outgoing", result="completed")
            == before + 1
        )
        assert (
            b.metric("pmigd_migrations_finished_total", direction="incoming", result="completed")
            == before_in + 1
        )

    def test_that_are_aborted_by_virsh_end_as_failed(self, a, b, slow) -> None:
        from contrib.lab.deadlines import until

        g = slow()
        process = a.host.popen(
            [
                "virsh",
                "migrate",
                "--live",
                "--p2p",
                "--bandwidth",
                "1",
                g.name,
                b.host.uri_from_peer,
            ]
        )
        until(lambda: a.all(domain=g.name, state="precopy"), "it to be seen", timeout=10)
        a.host.virsh("domjobabort", g.name)
        process.wait(timeout=10)
        until(lambda: a.all(domain=g.name, state="failed"), "its end at the source", timeout=10)
        until(lambda: b.all(domain=g.name, state="failed"), "its end here", timeout=10)


def test_a_guest_that_has_just_arrived_may_go_on_at_once(a, b, guest) -> None:
    g = guest()
    for source, destination in ((a, "hostb"), (b, "hosta"), (a, "hostb")):
        source.end(source.submit(g, destination)["id"])
    assert g.where() == [b.host]
    assert all(m["result"]["downtime_ms"] is not None for m in b.all(domain=g.name))
