"""The demonstration must fail for everything that it claims to have seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contrib.demo.evidence import Evidence, faults
from contrib.demo.scrape import EXPECTED, Sample, counted, parse, record

METRICS = {
    "hosta": [Sample(name, (), max(least, 1.0)) for name, least in EXPECTED["outgoing"]],
    "hostb": [Sample(name, (), least) for name, least in EXPECTED["incoming"]],
}
GOOD = Evidence(
    source="hosta",
    destination="hostb",
    exit_code=0,
    heard_from=["hosta", "hostb"],
    longest_gap_s=0.3,
    ticks_lost=0,
    ticks_repeated=0,
    restarts=0,
    damaged_pages=0,
    pages_checked=1000,
    pages=1000,
    states={"hostb": "running"},
    metrics=METRICS,
)


def test_a_good_migration_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"exit_code": 1}, "pmigctl ended with 1"),
        ({"heard_from": ["hosta"]}, "the heartbeat came from hosta, not"),
        ({"heard_from": []}, "the heartbeat came from nowhere"),
        ({"heard_from": ["hosta", "hostb", "hosta", "hostb"]}, "hosta -> hostb -> hosta"),
        ({"ticks_lost": 3}, "3 ticks of the heartbeat were lost"),
        ({"ticks_repeated": 2}, "2 ticks came twice"),
        ({"restarts": 1}, "rebooted"),
        ({"longest_gap_s": 7.0}, "silent for 7.0 s"),
        ({"damaged_pages": 4}, "4 damaged pages"),
        ({"pages_checked": 999}, "only 999 of 1000"),
        ({"states": {}}, "it runs on no host"),
        ({"states": {"hosta": "running", "hostb": "running"}}, "hosta and hostb"),
        ({"states": {"hosta": "paused", "hostb": "running"}}, "hosta still has a copy"),
        ({"states": {"hosta": "shut off", "hostb": "running"}}, "hosta still has a copy"),
        ({"states": {"hosta": "running"}}, "it runs on hosta"),
        ({"metrics": {}}, "pmigd_migrations_finished_total is missing on hosta"),
        ({"metrics": {**METRICS, "hostb": []}}, "is missing on hostb"),
        (
            {
                "metrics": {
                    **METRICS,
                    "hosta": [
                        s._replace(value=0.01) if s.name.endswith("seconds_sum") else s
                        for s in METRICS["hosta"]
                    ],
                }
            },
            "is 0.01, not at least 0.1",
        ),
    ],
)
def test_whatever_is_wrong_is_told(damage: dict[str, Any], told: str) -> None:
    found = faults(replace(GOOD, **damage))
    assert any(told in fault for fault in found), found


EXPOSITION = """\
# TYPE pmigd_migrations_finished_total counter
pmigd_migrations_finished_total{direction="outgoing",result="completed"} 1.0
pmigd_migrations_finished_total{direction="outgoing",result="failed"} 0.0
# TYPE pmigd_migration_duration_seconds histogram
pmigd_migration_duration_seconds_bucket{le="+Inf"} 1.0
pmigd_migration_duration_seconds_count 1.0
pmigd_migration_duration_seconds_sum 6.25
# TYPE process_open_fds gauge
process_open_fds 16.0
"""


def test_only_what_is_about_migrations_is_shown() -> None:
    samples = parse(EXPOSITION)
    assert [sample.name for sample in samples] == [
        "pmigd_migrations_finished_total",
        "pmigd_migration_duration_seconds_count",
        "pmigd_migration_duration_seconds_sum",
    ]
    finished = 'pmigd_migrations_finished_total{direction="outgoing",result="completed"} 1'
    assert record(samples) == [
        "the record, counters and histograms:",
        f"  {finished}",
        "  pmigd_migration_duration_seconds_sum 6.25",
    ]
    assert [str(sample) for sample in counted(samples)] == [finished]
