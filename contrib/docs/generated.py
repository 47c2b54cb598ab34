"""Which files are generated, and from what."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from contrib.docs import (
    catalog,
    commands,
    examples,
    findings,
    parity,
    problems,
    request,
    series,
    states,
)
from contrib.grafana import fleet, host
from pmigd.adapters.metrics import reference as metrics
from pmigd.api.openapi import document
from pmigd.cli import parser, shells
from pmigd.config import reference as config

FILES: Final[dict[str, Callable[[], str]]] = {
    "etc/pmigd.toml": config.reference_text,
    "systemd/pmigd.catalog": catalog.text,
    "docs/metrics.md": metrics.reference_text,
    "docs/openapi.json": lambda: (
        msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"
    ),
    "docs/problems.md": problems.text,
    "docs/findings.md": findings.text,
    "docs/pmigctl.md": commands.text,
    "docs/request.md": request.text,
    "docs/parity.md": parity.text,
    "contrib/grafana/pmigd-fleet.json": fleet.text,
    "contrib/grafana/pmigd-host.json": host.text,
    "contrib/completions/pmigctl.bash": lambda: shells.script("bash", parser.build()),
    "contrib/completions/_pmigctl": lambda: shells.script("zsh", parser.build()),
}
"""Files that are generated whole."""

PARTS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "docs/architecture.md": ("state diagram", states.diagram),
    "docs/client.md": ("examples", examples.text),
    "docs/guide.md": ("states", states.table),
    "docs/measuring.md": ("series", series.table),
}
"""Files with one generated part, between two comments that name it."""


def wanted(root: Path) -> dict[str, str]:
    """Every generated file's text as it should be."""
    texts = {path: make() for path, make in FILES.items()}
    for path, (name, make) in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        present = (root / path).read_text()
        if not pattern.search(present):
            raise ValueError(f"{path} has no part '{name}'")
        made = f"{begin}\n{make()}\n{end}"
        texts[path] = pattern.sub(lambda _, made=made: made, present)  # type: ignore[misc]
    return texts


def outdated(root: Path) -> list[str]:
    """The generated files that are not as they should be."""
    return [
        path
        for path, text in wanted(root).items()
        if not (root / path).exists() or (root / path).read_text() != text
    ]


def write(root: Path) -> list[str]:
    """Write those that are outdated."""
    stale = outdated(root)
    texts = wanted(root)
    for path in stale:
        (root / path).write_text(texts[path])
    return stale
