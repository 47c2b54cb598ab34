"""docs/pmigctl.md: the help of every command, as pmigctl itself prints it."""

from __future__ import annotations

import argparse
import os

from pmigd.cli import parser

_WIDTH = "100"


def text() -> str:
    """The page."""
    os.environ["COLUMNS"] = _WIDTH
    whole = parser.build()
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
