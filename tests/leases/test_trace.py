"""One trace for one migration: from whoever asked, over the source, to the destination."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contrib.lab import LabGuest
from contrib.lab.deadlines import until
from tests.lab.conftest import ROOT, Pmig, start
from tests.support.collector import Collector, Span

CALLER = "00f067aa0ba902b7"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
IMPORTED = "/var/lib/pmigd/imported"
"""Where pmigd, as its unit lets it, can leave a sign."""
SHADOW = f"""from pathlib import Path
Path({IMPORTED!r}).touch()
raise ImportError("No module named 'opentelemetry'")
"""


@pytest.fixture
def trace_id() -> str:
    return os.urandom(16).hex()


@pytest.fixture
def shadow(tmp_path: Path) -> Path:
    """Before it on the path nobody has OpenTelemetry; IMPORTED says that somebody tried."""
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").write_text(SHADOW)
    return package


def migrate(pmig: Pmig, guest: LabGuest, trace_id: str, **fields: object) -> dict:
    """Submit as a program that has a trace of its own does."""
    status, m = pmig.host.pmigd.request(
        "POST",
        "/v1/migrations",
        {"domain": guest.name, "destination": "hostb", **fields},
        headers={"traceparent": f"00-{trace_id}-{CALLER}-01"},
    )
    assert status == 202, m
    return m


def both_ends(collector: Collector, trace_id: str) -> tuple[Span, Span]:
    """The two spans of a migration, once both have come."""

    def whole(name: str) -> list[Span]:
        return [span for span in collector.of(trace_id) if span.name == name]

    until(
        lambda: whole("outgoing migration") and whole("incoming migration"),
        "the spans of both hosts",
        timeout=20,
        evidence=lambda: "\n".join(map(str, collector.of(trace_id))),
    )
    (source,), (destination,) = whole("outgoing migration"), whole("incoming migration")
    return source, destination


def phases(collector: Collector, parent: Span) -> list[Span]:
    """A migration's children in its own host, in their order."""
    found = [s for s in collector.of(parent.trace_id) if s.parent_id == parent.span_id]
    return sorted((s for s in found if s.host == parent.host), key=lambda span: span.began)


def lines(pmig: Pmig, iden: str) -> list[dict]:
    """What the log says of one migration."""
    said = [json.loads(line) for line in pmig.host.pmigd.log().splitlines()]
    return [line for line in said if line.get("migration") == iden]


def test_a_migration_is_one_trace_over_both_hosts(a, b, guest, collector, trace_id) -> None:
    g = guest()
    done = a.host.run(
        [sys.executable, "-m", "pmigd.cli", "--json", "migrate", g.name, "hostb"],
        env={"TRACEPARENT": f"00-{trace_id}-{CALLER}-01"},
    )
    m = json.loads(done.stdout.splitlines()[-1])["migration"]
    assert (m["state"], m["trace_id"]) == ("succeeded", trace_id)

    source, destination = both_ends(collector, trace_id)
    assert (source.host, source.parent_id) == ("hosta", CALLER)
    assert (destination.host, destination.parent_id) == ("hostb", source.span_id)
    assert source.attributes["pmigd.migration.id"] == m["id"]
    assert source.attributes["pmigd.downtime_ms"] == m["result"]["downtime_ms"]
    assert destination.attributes["pmigd.domain.uuid"] == g.uuid
    assert destination.attributes["pmigd.peer"] == "hosta"

    stretches = phases(collector, source)
    assert [span.name for span in stretches][:2] == ["queued", "preparing"]
    assert (stretches[0].began, stretches[-1].ended) == (source.began, source.ended)
    assert all(one.ended == two.began for one, two in pairwise(stretches))
    assert phases(collector, destination)
    assert not any(span.failed for span in collector.of(trace_id))

    # The log of either host and the histograms' exemplars lead there.
    for pmig, span in ((a, source), (b, destination)):
        said = lines(pmig, span.attributes["pmigd.migration.id"])
        assert {line["trace_id"] for line in said} == {trace_id}
        last = said[-1]
        assert (last["state"], last["domain"]) == ("succeeded", g.name)
        assert last["peer"] == span.attributes["pmigd.peer"]
        assert {"duration_s", "downtime_ms", "transferred_bytes", "mode"} <= last.keys()
    _, text = a.host.pmigd.request("GET", "/metrics", headers=OPENMETRICS)
    assert f'trace_id="{trace_id}"' in text


def test_a_crash_in_the_middle_does_not_break_it(a, slow, collector, trace_id) -> None:
    m = migrate(a, slow(fill_mib=8), trace_id, bandwidth_mib_s=2)
    a.wait(m["id"], "precopy")
    a.host.pmigd.kill()
    start(a.host)
    assert a.end(m["id"])["trace_id"] == trace_id
    source, destination = both_ends(collector, trace_id)
    assert source.parent_id == CALLER
    assert source.attributes["pmigd.adopted"]
    assert destination.parent_id == source.span_id
    (precopy,) = [span for span in phases(collector, source) if span.name == "precopy"]
    assert source.began < precopy.began < precopy.ended <= source.ended


def test_a_failure_is_seen_as_one(a, b, guest, collector, trace_id) -> None:
    g = guest()
    b.host.virsh("create", "/dev/stdin", input=g.xml)
    try:
        m = migrate(a, g, trace_id)
        assert a.end(m["id"], "failed")["problem"]["code"] == "destination_has_domain"
    finally:
        b.host.virsh("destroy", g.name)
    (source,) = until(
        lambda: [s for s in collector.of(trace_id) if s.name == "outgoing migration"],
        "the span of what failed",
        timeout=20,
    )
    assert source.failed
    assert source.attributes["error.type"] == "destination_has_domain"


def test_a_collector_that_hangs_disturbs_neither_a_migration_nor_the_stop(
    a: Pmig, guest: Callable[..., LabGuest], collector: Collector, trace_id: str
) -> None:
    with collector.hanging():
        before = collector.asked
        g = guest()
        a.end(migrate(a, g, trace_id)["id"])
        until(lambda: collector.asked > before, "pmigd waits for the collector", timeout=20)
        length = len(a.host.pmigd.log())
        assert a.host.pmigd.stop() == 0
        fresh = [json.loads(line)["event"] for line in a.host.pmigd.log()[length:].splitlines()]
        assert fresh[-1] == "stopped"
    start(a.host)


def test_what_was_not_sent_yet_is_sent_at_the_stop(a, guest, collector, trace_id) -> None:
    a.host.pmigd.restart(env={"PYTHONPATH": ROOT, "OTEL_BSP_SCHEDULE_DELAY": "600000"})
    a.end(migrate(a, guest(), trace_id)["id"])
    a.host.pmigd.stop()
    assert "outgoing migration" in {span.name for span in collector.of(trace_id)}
    start(a.host)


class TestWithoutThePackage:
    @pytest.fixture
    def restart(self, a: Pmig, shadow: Path) -> Iterator[Callable[[str], None]]:
        def restart(endpoint: str) -> None:
            path = f"{shadow.parent}:{ROOT}"
            a.host.pmigd.restart({"tracing": {"endpoint": endpoint}}, env={"PYTHONPATH": path})

        a.host.path(IMPORTED).unlink(missing_ok=True)
        yield restart
        a.host.path(IMPORTED).unlink(missing_ok=True)
        a.host.configure_pmigd({})
        a.host.pmigd.restart(env={"PYTHONPATH": ROOT})

    def test_and_without_an_endpoint_nobody_looks_for_it(self, restart, a, guest, shadow) -> None:
        restart("")
        a.end(a.submit(guest())["id"])
        assert not a.host.path(IMPORTED).exists()

    def test_it_is_said_and_the_callers_trace_still_reaches_the_destination(
        self, restart, a, guest, shadow, collector, trace_id
    ) -> None:
        length = len(a.host.pmigd.log())
        restart(collector.endpoint)
        assert a.host.path(IMPORTED).exists()
        fresh = [json.loads(line) for line in a.host.pmigd.log()[length:].splitlines()]
        (said,) = [line for line in fresh if line["event"] == "no spans are made"]
        assert said["level"] == "error"
        assert "pip install 'pmigd[otel]'" in said["remedy"]
        m = migrate(a, guest(), trace_id)
        a.end(m["id"])
        assert {line["trace_id"] for line in lines(a, m["id"])} == {trace_id}
        (destination,) = until(
            lambda: [s for s in collector.of(trace_id) if s.name == "incoming migration"],
            "the span of the destination",
            timeout=20,
        )
        assert destination.parent_id == CALLER
        assert {span.host for span in collector.of(trace_id)} == {"hostb"}
