"""What an expression of PromQL names: metrics, labels and their values, what it groups by.

No parser: whether an expression is one, promtool says. Here only names are taken out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pmigd.adapters.metrics import reference
from pmigd.adapters.metrics.family import Family

_SELECTOR: Final = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<braces>\{(?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*\})?(?P<call>\s*\()?"
)
_MATCHER: Final = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
_LISTED: Final = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", re.IGNORECASE
)
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\$?\w+")
_WORDS: Final = frozenset({"and", "or", "unless", "bool", "inf", "nan", "offset"})
_OF_SERIES: Final = {"counter": ("",), "gauge": ("",), "summary": ("_sum", "_count")}
_HISTOGRAM: Final = ("_bucket", "_sum", "_count")
TARGET: Final = frozenset({"job", "instance"})
"""Labels that Prometheus adds to whatever it scrapes."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric in an expression, with its matchers as (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that the expression names."""
    bare = _LISTED.sub(" ", _RANGE.sub(" ", expression))
    strings = [match.span() for match in re.finditer(r"\"(?:[^\"\\]|\\.)*\"", bare)]
    for match in _SELECTOR.finditer(bare):
        inside = any(begin <= match.start() < end for begin, end in strings)
        number = match.start() > 0 and bare[match.start() - 1].isalnum()
        if inside or number or match["call"] or match["name"].lower() in _WORDS:
            continue
        yield Selector(match["name"], tuple(_MATCHER.findall(match["braces"] or "")))


def listed(expression: str) -> set[str]:
    """The labels that it groups by, or joins on."""
    lists = _LISTED.findall(expression)
    return {label.strip() for part in lists for label in part.split(",") if label.strip()}


def exported() -> dict[str, frozenset[str]]:
    """Every series that pmigd exports, and its labels; those of the scrape are left out."""
    return {name: labels for family in reference.families() for name, labels in _series(family)}


def _series(family: Family) -> Iterator[tuple[str, frozenset[str]]]:
    labels = frozenset(family.labels)
    suffixes = _HISTOGRAM if family.kind == "histogram" else _OF_SERIES[family.kind]
    for suffix in suffixes:
        yield family.name + suffix, labels | ({"le"} if suffix == "_bucket" else frozenset())


def faults(expression: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """What the expression names that is not in `known`, and label values that never occur."""
    found: list[str] = []
    there: set[str] = set(TARGET)
    for selector in selectors(expression):
        labels = known.get(selector.name)
        if labels is None:
            found.append(f"no metric {selector.name}")
            continue
        there |= labels
        for label, operator, value in selector.matchers:
            if label not in labels | TARGET:
                found.append(f"{selector.name} has no label {label}")
            elif operator in ("=", "!=") and not _occurs(selector.name, label, value):
                found.append(f"{label} of {selector.name} is never {value}")
    found += [
        f"no metric of it has the label {label}" for label in sorted(listed(expression) - there)
    ]
    return found


def _occurs(metric: str, label: str, value: str) -> bool:
    """Whether it can: by the closed sets of values, and by the bounds of the histograms."""
    if label == "le":
        family = metric.removesuffix("_bucket")
        bounds = {f.name: f.buckets for f in reference.families()}.get(family, ())
        return value in {"+Inf", *(str(float(bound)) for bound in bounds)}
    closed = [values for name, values in reference.VALUES if name.partition(" (")[0] == label]
    return not closed or any(value in values for values in closed)
