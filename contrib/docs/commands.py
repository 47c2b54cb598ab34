"""docs/pmigctl.md: the help of every command, as pmigctl itself prints it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pmigd.cli import parser

_WIDTH = "100"


def text() -> str:
    """The page."""
    with _terminal_width(_WIDTH):
        return _page(parser.build())


@contextmanager
def _terminal_width(columns: str) -> Iterator[None]:
    """argparse takes the width of its help from the environment, and from nowhere else."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = columns
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _page(whole: argparse.ArgumentParser) -> str:
    parts = [
        "# pmigctl",
        "",
        "The client of pmigd. Generated from the client itself by `make docs`.",
        "",
        *_fenced(whole),
    ]
    for name, command in sorted(_commands(whole).items()):
        if not name.startswith("_"):
            parts += ["", f"## pmigctl {name}", "", *_fenced(command)]
    return "\n".join(parts) + "\n"


def _commands(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in whole._actions:  # noqa: SLF001 - argparse has no other way to its sub-commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _fenced(command: argparse.ArgumentParser) -> list[str]:
    return ["```text", command.format_help().rstrip(), "```"]
