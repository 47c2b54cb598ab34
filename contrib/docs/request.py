"""docs/request.md: every field of a migration request, from its row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pmigd.core.fields import Row
from pmigd.core.request import FIELDS, ROWS
from pmigd.schema.fields import annotated
from pmigd.schema.validate import accepted_by

_HEAD: Final = """\
# The request

The fields of `POST /v1/migrations` and `POST /v1/check`, with the option of `pmigctl migrate` that
fills each. Unknown fields are refused. Null, where it is taken, asks for nothing: what then counts
is the key of `[migration]` with the field's name, if there is one, or the default. *Admin*: only an
administrator may give it, for it is as good as root. *Set*: it can be changed on the way, by
`PATCH /v1/migrations/{id}` and `pmigctl set`. *Needs*: on both hosts; with *source*, on that one.
Generated from `pmigd/core/request.py`; `make docs` writes it again.
"""


def text() -> str:
    """The page."""
    parts = [_HEAD, *_table(FIELDS)]
    for outer in (row for row in FIELDS if row.is_object):
        inner = (row for row in ROWS if row.path.startswith(f"{outer.path}."))
        parts += ["", f"## {outer.path}", "", *_table(inner)]
    return "\n".join(parts) + "\n"


def _table(rows: Iterable[Row]) -> list[str]:
    lines = ["| field | option | takes | default | what it does |", "|---|---|---|---|---|"]
    for row in rows:
        default = "required" if row.required else f"`{_json(row.default)}`"
        if row.about.configured:
            default += ", *configured*"
        takes = (
            "an object or null"
            if row.is_object
            else accepted_by(annotated(row)).replace("|", "\\|")
        )
        options = " ".join(f"`{option.flags[0]}`" for option in row.about.options)
        lines.append(f"| `{row.path}` | {options} | {takes} | {default} | {_meaning(row)} |")
    return lines


def _meaning(row: Row) -> str:
    """What it does, and what else is to be known of it."""
    about = row.about
    facts = ["*Admin.*"] if about.admin else []
    if about.change.option:
        facts.append("*Set.*" if row.key == row.name else f"*Set*, as `{row.key}`.")
    for needs in about.needs:
        both = (("libvirt", needs.libvirt), ("QEMU", needs.qemu))
        what = " and ".join(f"{name} {v[0]}.{v[1]}" for name, v in both if v is not None)
        facts.append(f"*Needs* {what}{' (source)' if needs.source_only else ''}.")
    return " ".join([about.says, *facts])


def _json(value: object) -> str:
    return msgspec.json.encode([] if value == () else value).decode()
