"""The results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contrib.bench.stats import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from contrib.bench.stats import Figure, Summary

HEADINGS = ("figure", "unit", "pmigd", "virsh", "ratio", "n", "")
_RIGHT = {2, 3, 4, 5}


def _number(value: float) -> str:
    for bound, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= bound:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def _spread(found: Summary | None) -> str:
    if found is None:
        return ""
    if found.count == 1:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.least)}-{_number(found.most)})"


def _ratio(found: Summary | None) -> str:
    if found is None:
        return ""
    if found.count == 1:
        return f"{found.median:.3f}"
    return f"{found.median:.3f} ({found.least:.3f}-{found.most:.3f})"


def row(figure: Figure) -> tuple[str, ...]:
    """One figure as the cells of the table: medians, with extremes in brackets."""
    return (
        figure.name,
        figure.unit,
        _spread(summary(figure.ours)),
        _spread(summary(figure.theirs)),
        _ratio(summary(figure.ratios)),
        str(len(figure.ours)),
        ", ".join(text for text in (_aim(figure), figure.note) if text),
    )


def _aim(figure: Figure) -> str:
    if figure.missed is None:
        return ""
    aims = [f"{figure.aim:g} {figure.unit}"] if figure.aim is not None else []
    aims += [f"ratio {figure.ratio_aim:g}"] if figure.ratio_aim is not None else []
    return f"{'MISSED' if figure.missed else 'kept'}: at most {' and '.join(aims)}"


def table(figures: Iterable[Figure]) -> str:
    """The table as plain text, as wide as it needs to be."""
    rows = [HEADINGS, *(row(figure) for figure in figures)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )


def _json_summary(samples: Sequence[float]) -> dict[str, Any] | None:
    found = summary(samples)
    if found is None:
        return None
    return {
        "median": found.median,
        "min": found.least,
        "max": found.most,
        "samples": list(samples),
    }


def document(
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    results: Mapping[str, Sequence[Figure]],
) -> str:
    """Everything, every single sample included, as JSON."""
    measurements = {
        name: [
            {
                "figure": figure.name,
                "unit": figure.unit,
                "pmigd": _json_summary(figure.ours),
                "virsh": _json_summary(figure.theirs),
                "ratio": _json_summary(figure.ratios),
                "missed": figure.missed,
                "note": figure.note,
            }
            for figure in figures
        ]
        for name, figures in results.items()
    }
    whole = {"machine": machine, "settings": settings, "measurements": measurements}
    return json.dumps(whole, indent=2) + "\n"
