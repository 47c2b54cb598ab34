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


def test_percent_counts_memory_and_disk_and_never_rounds_up_to_the_end() -> None:
    nearly = progress(0, memory_total_bytes=1000, memory_remaining_bytes=1)
    assert Migration(migration(progress=nearly)).percent == 99
    both = progress(
        0,
        memory_total_bytes=100,
        memory_remaining_bytes=0,
        disk_total_bytes=300,
        disk_remaining_bytes=300,
    )
    assert Migration(migration(progress=both)).percent == 25
    assert Migration(migration()).percent is None
    assert Migration(migration(state="succeeded")).percent == 100
