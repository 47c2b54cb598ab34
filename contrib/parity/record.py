"""Which rows ran between which versions: kept in a file, so that the docs can show it.

The file is written by `make matrix`, and only read otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("ran.json")

MOVED: Final = "moved"
STAYED: Final = "stayed"


def read() -> dict[str, dict[str, str]]:
    """By pair and row: `moved` or `stayed`."""
    found: dict[str, dict[str, str]] = json.loads(FILE.read_text())
    return found


def add(pair: str, outcomes: Mapping[str, str]) -> None:
    """Put what ran between a pair of hosts in the place of what is there."""
    record = read() | {pair: dict(outcomes)}
    FILE.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
