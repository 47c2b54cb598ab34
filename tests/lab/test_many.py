"""Many migrations at once against a libvirtd with its default limits."""

from __future__ import annotations

import time

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import SILENCE_S

pytestmark = pytest.mark.hypervisor


def test_eight_stay_watched_any_one_is_aborted_at_once_and_the_connection_never_drops(
    a, b, slow, stopwatch, impatient
) -> None:
    """Five calls on one connection starve its keepalive, and libvirtd closes it."""
    guests = [slow(fill_mib=48) for _ in range(8)]
    ids = [a.submit(g, bandwidth_mib_s=1)["id"] for g in guests]
    for iden in ids:
        a.wait(iden, "precopy", also=lambda m: m["progress"] is not None)
    began = time.monotonic()
    reconnects = a.call("GET", "/v1/status")["libvirt"]["reconnects"]
    assert a.metric("pmigd_migrations_active", direction="outgoing") == 8

    # For twice as long as a starved connection lives, each of them is seen to move on.
    sent = dict.fromkeys(ids, -1)
    while time.monotonic() - began < 2 * SILENCE_S:
        for iden in ids:
            m = a.wait(
                iden,
                "precopy",
                timeout=5,
                also=lambda m: m["progress"]["memory_processed_bytes"] > sent[m["id"]],
            )
            sent[iden] = m["progress"]["memory_processed_bytes"]
        time.sleep(1)

    # A call of the CLI and an abort are served as if nothing else went on.
    assert a.ctl("list").stdout.count("precopy") == 8
    for iden, g in zip(ids[:3], guests[:3], strict=True):
        a.abort(iden)
        a.end(iden, "cancelled", timeout=10)
        assert g.where() == [a.host]

    for g in guests[3:]:
        a.host.virsh("migrate-setspeed", g.name, "1000")
    for iden, g in zip(ids[3:], guests[3:], strict=True):
        m = a.end(iden)
        assert g.where() == [b.host]
        assert g.heartbeats.memory_ok
        assert m["result"]["downtime_ms"] is not None

    status = a.call("GET", "/v1/status")
    assert status["libvirt"]["reconnects"] == reconnects
    assert status["migrations"] == dict.fromkeys(status["migrations"], 0)
    assert a.metric("pmigd_migrations_active", direction="outgoing") == 0


def test_a_migration_of_two_seconds_is_recorded_though_nobody_scraped_it(a, b, guest) -> None:
    def figures() -> dict[str, float]:
        done = {"result": "completed"}
        return {
            "finished": a.metric("pmigd_migrations_finished_total", direction="outgoing", **done),
            "durations": a.metric("pmigd_migration_duration_seconds_count", **done),
            "pauses": a.metric("pmigd_migration_downtime_seconds_count", mode="precopy"),
            "iterations": a.metric("pmigd_migration_memory_iterations_count"),
            "waits": a.metric("pmigd_migration_queue_wait_seconds_count"),
        }

    def sent() -> float:
        return a.metric(
            "pmigd_migration_transferred_bytes_total", direction="outgoing", kind="memory"
        )

    before, sent_before = figures(), sent()
    m = a.end(a.submit(guest(fill_mib=8))["id"])
    assert figures() == {name: value + 1 for name, value in before.items()}
    assert sent() - sent_before == m["result"]["transferred_bytes"]
    assert a.metric("pmigd_recent_migration_info", migration=m["id"], result="completed") == 1


def test_both_hosts_may_send_and_receive_at_the_same_time(a, b, guest) -> None:
    here, there = guest(fill_mib=8), guest(on=b.host, fill_mib=8)
    out, back = a.submit(here), b.submit(there, to="hosta")
    a.end(out["id"])
    b.end(back["id"])
    assert here.where() == [b.host]
    assert there.where() == [a.host]
    until(lambda: a.all(state="succeeded", domain=there.name), "it to be seen", timeout=10)
