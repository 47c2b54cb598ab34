"""The rows of a request: whole, free of doubles, and read as people write numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import pytest

from pmigd.core.commands import SETTINGS
from pmigd.core.fields import BYTES, COUNT, MIB_S, MS, SECONDS, Unit
from pmigd.core.request import CHANGES, FIELDS, ROWS, SET, Compression, Request, Settings, Transport

REQUEST = Request("web1", "hostb")


@pytest.mark.parametrize(
    ("unit", "text", "number"),
    [
        (COUNT, "12", 12),
        (COUNT, "-1", -1),
        (MS, "300", 300),
        (MS, "2s", 2000),
        (MS, "0.25 s", 250),
        (SECONDS, "1d", 86_400),
        (SECONDS, "0.5", 0.5),
        (SECONDS, "90s", 90),
        (MIB_S, "1TiB/s", 1024**2),
        (MIB_S, "2048K", 2),
        (MIB_S, "1mib/s", 1),
        (BYTES, "4096", 4096),
        (BYTES, "1.5K", 1536),
        (BYTES, "2GB", 2_000_000_000),
    ],
)
def test_a_number_is_read_in_its_unit(unit: Unit, text: str, number: float) -> None:
    read = unit.read(text, whole=False)
    assert read == number
    assert isinstance(read, type(number)), "a whole number stays one"


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (COUNT, ""),
        (COUNT, "."),
        (COUNT, "5m"),
        (COUNT, "0x10"),
        (COUNT, "1e3"),
        (MS, "5 parsecs"),
        (MS, "5ms/s"),
        (MS, "1-2"),
        (MS, "+-5"),
        (MIB_S, "1Gb/s"),
        (MIB_S, "1 MiB / s"),
        (BYTES, "1M/s"),
        (BYTES, "٣"),
        (BYTES, "9" * 5000),
    ],
)
def test_what_is_no_number_of_that_unit_is_refused(unit: Unit, text: str) -> None:
    with pytest.raises(ValueError, match=r"' is not a whole number"):
        unit.read(text, whole=True)


def test_nothing_is_rounded() -> None:
    with pytest.raises(ValueError, match=r"'1000KiB/s' is 0\.976562 MiB/s, not a whole number"):
        MIB_S.read("1000KiB/s", whole=True)


@pytest.mark.parametrize(
    "names",
    [
        [row.path for row in ROWS],
        [flag for row in ROWS for option in row.about.options for flag in option.flags],
        [row.about.param for row in ROWS if row.about.param],
        [row.key for row in CHANGES],
    ],
    ids=["paths", "options", "parameters", "changes"],
)
def test_nothing_is_named_twice(names: list[str]) -> None:
    assert [name for name, times in Counter(names).items() if times > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_a_row_says_all_that_others_make_something_of(row) -> None:
    assert row.about.says.endswith(".")
    if not row.required:
        assert row.group is not None
        assert row.about.options, "pmigctl can ask for it"
    for option in row.about.options:
        assert not option.value or not row.choices or option.value in row.choices
    assert not row.is_number or row.about.between is not None, "it has bounds"
    assert row.name.endswith(row.about.unit.suffix), "its unit is in its name"
    assert row.type is not str or row.about.text is not None
    if row.about.secret:
        assert row.about.admin


def test_what_libvirt_changes_on_the_way_is_a_setting_and_a_kind_of_command() -> None:
    names = [row.key for row in SET]
    assert names == [field.name for field in fields(Settings)] == list(SETTINGS)


def test_a_row_finds_its_value_wherever_it_stands() -> None:
    row = {row.path: row for row in ROWS}
    assert row["compression.mt_level"].of(REQUEST) is None
    assert not row["compression.mt_level"].given(replace(REQUEST, compression=Compression()))
    assert row["compression.mt_level"].given(replace(REQUEST, compression=Compression(mt_level=0)))
    assert row["transport"].given(replace(REQUEST, transport=Transport.TUNNELLED))
    assert [row.path for row in FIELDS if row.given(REQUEST)] == ["domain", "destination"]


def test_people_are_told_of_versions_that_not_everybody_has() -> None:
    newer = {row.path: row.newer for row in ROWS if row.newer}
    assert newer == {
        "migrate_disks_detect_zeroes": "libvirt 10.9",
        "migrate_disks_target_zero": "libvirt 12.2 and QEMU 10.1",
        "available_switchover_bandwidth_mib_s": "libvirt 11.1 and QEMU 8.2",
    }
