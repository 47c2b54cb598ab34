"""The table of what is run beside virsh is whole, and says the same twice."""

from __future__ import annotations

import json

import msgspec
import pytest

from contrib.parity import record
from contrib.parity.rows import ROWS, Row
from pmigd.cli import options, parser
from pmigd.wire.request import MigrationRequest


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_its_words_ask_pmigctl_for_its_request(row: Row, tmp_path) -> None:
    definition = tmp_path / "definition.xml"
    definition.write_text("<domain/>")
    words = row.pmigctl.replace("{port}", "49300")
    fields = json.dumps(row.fields).replace('"{port}"', "49300").replace("{port}", "49300")
    for name in ("live", "kept", "wrong"):
        words = words.replace(f"{{{name}}}", str(definition))
        fields = fields.replace(f"{{{name}}}", definition.read_text())
    asked = parser.build().parse_args(["migrate", "web1", "hostb", *words.split()])
    wanted = {"domain": "web1", "destination": "hostb", **json.loads(fields)}
    body = options.body(asked, options.MIGRATE)
    assert msgspec.convert(body, MigrationRequest) == msgspec.convert(wanted, MigrationRequest)


def test_no_name_is_there_twice() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_every_row_that_was_run_is_still_there() -> None:
    names = {row.name for row in ROWS}
    for pair, ran in record.read().items():
        assert ran.keys() <= names, pair
