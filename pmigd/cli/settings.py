"""The settings of a running migration in words: what ``set`` asks for and ``get`` shows."""

from __future__ import annotations

from typing import Final

from pmigd.cli import figures
from pmigd.core.request import CHANGES

_ROWS: Final = {row.key: row for row in CHANGES}


def value(key: str, setting: object) -> str:
    """A setting with its unit; null is what was not set yet or has no meaning here."""
    if setting is None:
        return "not set, or not supported by the hypervisor"
    zero = _ROWS[key].about.zero if setting == 0 and key in _ROWS else ""
    return zero or figures.by_unit(key, setting)


def phrase(key: str, setting: object) -> str:
    """The same, headed by its name: ``max downtime 500 ms``."""
    return f"{_ROWS[key].label} {value(key, setting)}"
