"""What ``journalctl -x`` says about each of the operator's events: the table, and the runbooks."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import fill
from typing import Final

from pmigd.core.messages import HOST, MIGRATION, Message, filled, journal_field

RUNBOOKS: Final = Path(__file__).parents[2] / "docs/runbooks"

_HEAD: Final = """\
# What journalctl -x says about pmigd's events, for /usr/lib/systemd/catalog. Generated from
# pmigd/core/messages.py and docs/runbooks; 'make docs' writes it again.
"""
_WIDTH: Final = 100


def text() -> str:
    """The catalog, as journalctl --update-catalog reads it."""
    messages = [*MIGRATION.values(), *HOST.values()]
    return "\n".join([_HEAD, *map(_entry, messages)])


def _entry(message: Message) -> str:
    subject = _with_fields(message.sentence)
    parts = [_with_fields(message.text)] if message.text else []
    if message.runbook:
        parts.append(plain((RUNBOOKS / f"{message.runbook}.md").read_text()))
    body = "\n\n".join(parts)
    return f"-- {message.id}\nSubject: {subject}\nDefined-By: pmigd\n\n{body}\n"


def _with_fields(text: str) -> str:
    return filled(text, lambda key: f"@{journal_field(key)}@")


def plain(page: str) -> str:
    """A runbook without its title and without Markdown; a table's row becomes an item."""
    _title, _, body = page.partition("\n")
    body = re.sub(r"\[([^\]]+)\]\([^)]+\.md\)", r"\1 (docs/runbooks)", body).replace("*", "")
    body = re.sub(r"^\|(?: code |-).*\n", "", body, flags=re.MULTILINE)
    return re.sub(r"^\| (.*) \|$", _item, body, flags=re.MULTILINE).strip()


def _item(row: re.Match[str]) -> str:
    name, *said = row[1].split(" | ")
    text = f"- {name}: {'. '.join(said)}."
    return fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
