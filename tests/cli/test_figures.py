"""Figures and short IDs, as people read them."""

from __future__ import annotations

import pytest

from pmigd.cli import figures
from pmigd.cli.migration import Migration, short_ids
from tests.cli.stub import migration, progress


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (118 * 1024**2, "118 MiB"),
        (4509715661, "4.2 GiB"),
        (3 * 1024**6, "3.0 EiB"),
        (5000 * 1024**6, "5000 EiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (7, "7s"),
        (0.42, "0.42s"),
        (8.25, "8.2s"),
        (59.9, "59s"),
        (185, "3m05s"),
        (7620, "2h07m"),
        (354000, "4d02h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def test_short_ids_are_as_long_as_they_must_be_and_at_least_eight() -> None:
    assert short_ids([]) == {}
    one, two = "0199c1d2-7a00-7000-8000-00000000000a", "0199c1d2-7a00-7000-8000-00000000000b"
    assert short_ids([one]) == {one: "0199c1d2"}
    assert short_ids([one, two]) == {one: one, two: two}
    other = "0199c1d3-7a00-7000-8000-00000000000a"
    assert short_ids([one, other]) == {one: "0199c1d2", other: "0199c1d3"}
    near = "0199c1d2-8a00-7000-8000-00000000000a"
    assert short_ids([one, near]) == {one: "0199c1d2-7", near: "0199c1d2-8"}


def test_percent_is_of_memory_and_never_rounds_up_to_the_end() -> None:
    nearly = progress(0, memory_total_bytes=1000, memory_remaining_bytes=1)
    assert Migration(migration(progress=nearly)).percent == 99
    assert Migration(migration()).percent is None
    assert Migration(migration(state="succeeded")).percent == 100


def test_percent_is_of_disks_until_these_are_over_and_says_so() -> None:
    """Disks are copied first; libvirt has no figures of memory until then."""
    disks = {"disk_total_bytes": 300, "disk_processed_bytes": 100, "disk_remaining_bytes": 200}
    first = Migration(migration(progress=progress(0, **disks, memory_total_bytes=0)))
    assert (first.percent, first.percent_words, first.remaining_bytes) == (33, "33% of disks", 200)
    # A guest that writes to its disks keeps a little of them to be sent until the end.
    then = progress(0, **disks, memory_total_bytes=100, memory_remaining_bytes=50)
    both = Migration(migration(progress=then))
    assert (both.percent, both.percent_words, both.remaining_bytes) == (50, "50%", 50)
    assert both.sent("disk") == "100/300 B"


@pytest.mark.parametrize(
    ("changes", "eta"),
    [
        ({}, "19s"),
        ({"eta_s": None}, "-"),
        ({"eta_s": 3600.0}, "1h00m"),
        ({"eta_s": None, "outpaced": True}, "never"),
        ({"eta_s": 9999.0, "outpaced": True}, "never"),
        ({"eta_s": None, "dirty_bytes_per_second": 119 << 20}, "-"),
    ],
)
def test_what_pmigd_says_never_arrives_never_arrives(changes: dict[str, object], eta: str) -> None:
    assert Migration(migration(progress=progress(**changes))).eta() == eta


def test_in_post_copy_the_pause_is_over_and_nothing_outpaces_it() -> None:
    """What the guest writes over there is not sent any more; libvirt's figures of it are old."""
    busy = progress(eta_s=None, dirty_bytes_per_second=1 << 40)
    there = Migration(migration(state="postcopy", progress=busy))
    assert (there.eta(), there.dirty(), there.pause()) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("expected", "limit", "text"),
    [
        (90, 300, "90/300 ms"),
        (None, 300, "-/300 ms"),
        (12_400, 300, "12s/300 ms"),
        (90, 20_000, "90/20s"),
        (90, None, "-"),
    ],
)
def test_the_pause_that_is_expected_stands_beside_the_one_that_is_allowed(
    expected: int | None, limit: int | None, text: str
) -> None:
    sample = progress(expected_downtime_ms=expected, downtime_limit_ms=limit)
    assert Migration(migration(progress=sample)).pause() == text


def test_shares_have_the_unit_of_the_whole() -> None:
    assert figures.share(0, 4 << 30) == "0.0/4.0 GiB"
    assert figures.share(500 << 20, 4 << 30) == "0.5/4.0 GiB"
    assert figures.share(5 << 30, 4 << 30) == "5.0/4.0 GiB"
    assert figures.share(7, 1000) == "7/1000 B"
