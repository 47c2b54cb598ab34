"""One migration in the metrics of both hosts, and its pause as the guest itself had it."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contrib.lab import LabGuest
from contrib.lab.deadlines import until
from pmigd.adapters.metrics.labels import PAGES
from tests.lab.conftest import Pmig

pytestmark = pytest.mark.hypervisor

TICK_S = 0.02


def counted(pmig: Pmig) -> dict[tuple[str, ...], float]:
    """What was ever counted of migrations on a host, but how much of it fell where."""
    families = text_string_to_metric_families(pmig.call("GET", "/metrics"))
    return {
        (s.name, *s.labels.values()): s.value
        for family in families
        for s in family.samples
        if family.type != "gauge"
        and s.name.startswith("pmigd_migration")
        and not s.name.endswith(("_sum", "_bucket"))
    }


def grown(pmig: Pmig, before: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    now = counted(pmig)
    assert now.keys() == before.keys()
    return {key: value - before[key] for key, value in now.items() if value != before[key]}


def active(pmig: Pmig) -> float:
    directions = ("outgoing", "incoming")
    return sum(pmig.metric("pmigd_migrations_active", direction=name) for name in directions)


@pytest.fixture(autouse=True)
def _quiet(a, b) -> None:
    """What earlier tests began has ended, so that it is counted already."""
    until(lambda: active(a) == active(b) == 0, "nothing under way", timeout=30)


def test_each_side_counts_a_migration_once_and_only_the_source_measures_it(a, b, slow) -> None:
    g = slow()
    before_a, before_b = counted(a), counted(b)
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    until(lambda: active(b) == 1, "the guest seen to come", timeout=30)
    labels = {"domain": g.name, "uuid": g.uuid, "peer": "", "transport": "native"}
    assert b.metric("pmigd_migration_info", direction="incoming", **labels) == 1
    assert b.metric("pmigd_migration_phase", domain=g.name, phase="starting") == 1
    live = {
        line.partition("{")[0]
        for line in b.call("GET", "/metrics").splitlines()
        if f'domain="{g.name}"' in line
    }
    assert live == {
        "pmigd_migration_info",
        "pmigd_migration_phase",
        "pmigd_migration_start_timestamp_seconds",
    }
    a.call("PATCH", f"/v1/migrations/{m['id']}", {"bandwidth_mib_s": 1000})
    sent = a.end(m["id"])["result"]["transferred_bytes"]
    (into,) = until(
        lambda: b.all(domain=g.name, state="succeeded"), "the end at the destination", timeout=30
    )
    assert grown(b, before_b) == {
        ("pmigd_migrations_started_total", "incoming", "native"): 1,
        ("pmigd_migrations_finished_total", "incoming", "completed", "native"): 1,
        ("pmigd_migration_transferred_bytes_total", "incoming", "memory"): sent,
    }
    at_the_source = grown(a, before_a)
    assert "incoming" not in {word for key in at_the_source for word in key}
    assert {key: at_the_source[key] for key in at_the_source if "outgoing" in key} == {
        ("pmigd_migrations_started_total", "outgoing", "native"): 1,
        ("pmigd_migrations_finished_total", "outgoing", "completed", "native"): 1,
        ("pmigd_migration_transferred_bytes_total", "outgoing", "memory"): sent,
    }
    assert at_the_source["pmigd_migration_downtime_seconds_count", "precopy"] == 1

    for pmig, iden, direction in ((a, m["id"], "outgoing"), (b, into["id"], "incoming")):
        info = {"migration": iden, "direction": direction, "domain": g.name, "result": "completed"}
        assert pmig.metric("pmigd_recent_migration_info", **info) == 1
        assert pmig.metric("pmigd_recent_migration_transferred_bytes", migration=iden) == sent
    downtime = "pmigd_recent_migration_downtime_seconds"
    assert a.metric(downtime, migration=m["id"]) == b.metric(downtime, migration=into["id"]) > 0


def test_an_aborted_one_has_failed_for_a_destination_which_is_told_no_more(a, b, slow) -> None:
    m = a.submit(slow(), bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    until(lambda: active(b) == 1, "the guest seen to come", timeout=30)
    before_a, before_b = counted(a), counted(b)
    a.abort(m["id"])
    a.end(m["id"], "cancelled")
    until(
        lambda: not b.metric("pmigd_migrations_active", direction="incoming"), "its end", timeout=30
    )
    assert grown(b, before_b) == {
        ("pmigd_migrations_finished_total", "incoming", "failed", "native"): 1,
        ("pmigd_migration_failures_total", "incoming", "perform"): 1,
    }
    ended = grown(a, before_a)
    assert ended["pmigd_migrations_finished_total", "outgoing", "cancelled", "native"] == 1
    assert "pmigd_migration_failures_total" not in {key[0] for key in ended}


def test_pages_that_were_compressed_are_counted(a, b, guest) -> None:
    """Without it this guest would write faster than its memory is sent, and never move."""
    g = guest(working_set_mib=4, dirty_pages_per_tick=40)
    compressed = {"compression": {"methods": ["xbzrle"], "xbzrle_cache_bytes": 64 << 20}}
    before = {kind: a.metric("pmigd_migration_pages_total", kind=kind) for kind in PAGES}
    a.end(a.submit(g, bandwidth_mib_s=4, max_downtime_ms=1, **compressed)["id"])
    sent = {
        kind: a.metric("pmigd_migration_pages_total", kind=kind) - before[kind] for kind in PAGES
    }
    assert min(sent.values()) > 0


def felt_s(g: LabGuest, since: float) -> float:
    """The guest's pause: its silence as it changed hosts, beyond the one of every tick."""
    beats = g.heartbeats.beats(since)
    (silence,) = (late.at - early.at for early, late in pairwise(beats) if early.host != late.host)
    return silence - TICK_S


def moved(source: Pmig, to: Pmig, g: LabGuest, **fields: object) -> tuple[float, float]:
    """Migrate; the pause as the metrics have it, and as the guest felt it (seconds)."""
    total = "pmigd_migration_downtime_seconds_sum"
    before = source.metric(total, mode="precopy")
    since = time.monotonic()
    m = source.submit(g, to=to.host.name, **fields)
    source.end(m["id"])
    g.heartbeats.wait(5, host=to.host.name)
    told = source.metric("pmigd_recent_migration_downtime_seconds", migration=m["id"])
    assert source.metric(total, mode="precopy") - before == pytest.approx(told)
    return told, felt_s(g, since)


def test_the_pause_is_the_one_that_the_guest_felt(a, b, guest) -> None:
    """A few ms less, which the messages between the hosts take; the rest is a busy machine."""
    g = guest(fill_mib=8, dirty_pages_per_tick=0)
    ways = ((a, b), (b, a), (a, b))
    off = statistics.median(told - felt for told, felt in (moved(*way, g) for way in ways))
    assert -2 * TICK_S < off < TICK_S


def test_a_long_pause_is_told_at_its_length(lab, a, b, guest) -> None:
    """What the guest has written since the last pass is sent while it stands still."""
    g = guest(working_set_mib=24, dirty_pages_per_tick=128)
    lab.link(b.host).shape(24, direction="in")
    told, felt = moved(a, b, g, max_downtime_ms=5000)
    assert told > 5 * TICK_S
    assert told == pytest.approx(felt, rel=0.1, abs=2 * TICK_S)
