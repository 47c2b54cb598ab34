"""The settings of a running migration: which there are, and what they make of a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pmigd.core.commands import Kind
from pmigd.core.fields import Row
from pmigd.core.request import SET, Request, Settings


def given(settings: Settings) -> Iterator[tuple[Kind, int, str]]:
    """Every setting that is not None: its kind, its value, and both in words."""
    for row, value in _given(settings):
        zero = row.about.zero if value == 0 else ""
        yield Kind(row.key), value, f"{row.label} {zero or f'{value} {row.about.unit.words}'}"


def changed(request: Request, settings: Settings) -> Request:
    """`request` with the settings that are not None."""
    for row, value in _given(settings):
        outer, _, inner = row.path.partition(".")
        new: dict[str, Any] = {outer: value}
        if inner:
            held = getattr(request, outer)
            if held is None:  # what is set inside it does not turn it on
                continue
            new = {outer: replace(held, **{inner: value})}
        request = replace(request, **new)
    return request


def of_request(request: Request) -> Settings:
    """The settings that a request begins with."""
    return Settings(**{row.key: row.of(request) for row in SET})


def _given(settings: Settings) -> Iterator[tuple[Row, int]]:
    for row in SET:
        value = getattr(settings, row.key)
        if value is not None:
            yield row, value
