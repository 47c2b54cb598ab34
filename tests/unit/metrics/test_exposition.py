"""What goes over the wire, and that docs/metrics.md is exactly that."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pmigd.adapters.metrics import PoolFigures
from pmigd.adapters.metrics.reference import families, reference_text
from pmigd.core import events as ev
from pmigd.core.model import Direction, MigrationId, Request
from pmigd.core.ports import HostFacts
from pmigd.core.problem import Code, Problem
from tests.unit.metrics.story import GIB, ID, World, lost_looks, told

DELIVERED = Path(__file__).parents[3] / "docs" / "metrics.md"
# What Prometheus 2.42 sends.
SCRAPER = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def busy() -> World:
    """A host on which everything that pmigd measures has happened."""
    world = World(queued=2, pools=(PoolFigures("look", 1, 4, 0, 0),))
    world.waiting_oldest = world.now.utc
    world.head_waits = "incoming_slot"
    world.daemons = (told("libvirtd", world.mono),)
    world.leases = {(Direction.INCOMING, "granted"): 1}
    world.peers_up = {"hostb": True}
    world.metrics.libvirt_changed(True, HostFacts("a", "b", "9.0.0", "QEMU", "7.2"), 1)
    world.metrics.libvirt_call("job_stats", 0.1, False)
    world.metrics.api_request("GET", "/v1/status", 200, 0.01)
    world.metrics.loop_lag(0.2)
    world.metrics.rejected(Code.QUEUE_FULL)
    world.metrics.log_message("info")
    world.metrics.web_config_read(True)
    world.metrics.certificate_in_force("peer", world.now.utc)
    world.metrics.peer_request("hostb", "ask", 0.01, failed=False)
    world.metrics.peer_refused("untrusted")
    figures = {
        "memory_processed_bytes": GIB,
        "memory_remaining_bytes": GIB,
        "memory_bytes_per_second": 1,
        "disk_bytes_per_second": 1,
        "dirty_bytes_per_second": 1,
        "iteration": 2,
        "throttle_percent": 20,
        "downtime_ms": 100,
        "downtime_limit_ms": 300,
    }
    request = Request("vm1", "hostb", bandwidth_mib_s=10, timeout_s=60)
    world.sampled(world.external(Direction.OUTGOING, 1), **figures, disk_total_bytes=GIB)
    m = world.submit(2, request=request)
    world.sampled(world.happens(m, ev.Admitted()), **figures)
    world.finishes(world.running(3), downtime_net_ms=30, setup_ms=4, iteration=3)
    world.fails(world.running(4), Problem(Code.MIGRATION_FAILED, 'a "quoted"\nreason'))
    world.happens(world.submit(5), ev.AbortAsked("root", "no"))
    world.happens(world.running(6), *lost_looks(m))
    return world


def test_the_delivered_page_is_the_one_printed_from_the_definitions() -> None:
    assert DELIVERED.read_text() == reference_text(), (
        "run: python -m pmigd.adapters.metrics.reference > docs/metrics.md"
    )


def test_every_family_on_the_page_is_exported_and_every_exported_one_is_on_the_page(
    busy: World,
) -> None:
    text = busy.metrics.render("")[0].decode()
    exported = {}
    for metric in text_string_to_metric_families(text):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        labels = {label for s in metric.samples for label in s.labels} - {"le"}
        assert metric.samples, f"the busy host has no sample of {name}"
        exported[name] = (metric.type, labels)
    documented = {family.name: (family.kind, set(family.labels)) for family in families()}
    assert exported == documented
    row = re.compile(r"^\| `(\w+)` \| \w+ \|.*\|.*\|.*\|.*\|$", re.MULTILINE)
    listed = set(row.findall(reference_text()))
    assert listed == set(documented)


@pytest.mark.programs
def test_promtool_finds_nothing_to_improve(busy: World) -> None:
    text = busy.metrics.render("")[0]
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (checked.stdout, checked.stderr, checked.returncode) == (b"", b"", 0)


def test_all_names_are_ours_in_base_units_and_say_their_type() -> None:
    derived = r"_(ms|millis\w*|micros\w*|nanos\w*|minutes|hours|days|[kmgt]i?b|[kmg]i?bytes"
    derived += r"|mebi\w*|kibi\w*|kilo\w*|mega\w*|bits|percent|pct)(_|$)"
    for family in families():
        assert family.name.startswith(("pmigd_", "process_", "python_"))
        assert not re.search(derived, family.name), family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.meaning.endswith("."), family.name


def exemplars(world: World) -> set[str]:
    """The migrations of which one stands at a bucket of the pauses."""
    body, content_type = world.metrics.render(SCRAPER)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    return {
        s.exemplar.labels["migration"]
        for metric in parse_openmetrics(body.decode())
        for s in metric.samples
        if metric.name == "pmigd_migration_downtime_seconds" and s.exemplar
    }


def test_a_scraper_that_asks_for_openmetrics_gets_exemplars_of_whole_migrations(
    busy: World,
) -> None:
    assert exemplars(busy) == {ID.format(3)}


def test_an_id_of_another_length_is_counted_and_is_no_exemplar(busy: World) -> None:
    """The client library would count it and then fail: 128 characters are the limit."""
    m = busy.running(7, id=MigrationId("x" * 120))
    busy.finishes(m, downtime_net_ms=30)
    assert busy.values("pmigd_migration_downtime_seconds_count") == {"precopy": 2}
    assert exemplars(busy) == {ID.format(3)}


@pytest.mark.parametrize("escaping", ["", ";escaping=underscores", ";escaping=allow-utf-8"])
def test_openmetrics_is_what_the_client_library_makes_of_it(busy: World, escaping: str) -> None:
    accept = f"application/openmetrics-text;version=1.0.0{escaping}"
    body, content_type = busy.metrics.render(accept)
    encode, expected_type = choose_encoder(accept)
    changing = re.compile(rb"^(?:process|python_gc)_.*\n", re.MULTILINE)
    assert changing.sub(b"", body) == changing.sub(b"", encode(busy.metrics.registry))
    assert content_type == expected_type


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text; version=abc", ";;,=,"],
)
def test_everybody_else_gets_plain_text_whatever_they_send(busy: World, accept: str) -> None:
    body, content_type = busy.metrics.render(accept)
    assert content_type.startswith("text/plain")
    assert not re.search(rb"^[^#\n].*#", body, re.MULTILINE)  # no exemplars
    assert b"\npmigd_libvirt_up 1.0\n" in body


def test_no_sample_has_a_timestamp_and_no_series_says_when_it_was_made(busy: World) -> None:
    series = busy.series()
    assert all(s.timestamp is None for s in series)
    assert not [s.name for s in series if s.name.endswith("_created")]


def test_no_series_is_there_twice(busy: World) -> None:
    keys = [(s.name, tuple(sorted(s.labels.items()))) for s in busy.series()]
    assert len(keys) == len(set(keys))


def test_each_running_migration_adds_a_small_fixed_number_of_series() -> None:
    world = World()
    sizes = []
    for number in range(3):
        world.sampled(world.running(number), iteration=1)
        sizes.append(len(world.series()))
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] < 26


def test_nothing_is_collected_before_the_first_scrape() -> None:
    scrapes = []

    class Watched(World):
        def snapshot(self):
            scrapes.append(1)
            return super().snapshot()

    world = Watched()
    assert scrapes == []
    world.metrics.render("")
    assert scrapes == [1]
