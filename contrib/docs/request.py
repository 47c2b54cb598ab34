"""docs/request.md: every field of a migration request, from the schema that checks it."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

from pmigd.cli import options
from pmigd.core.request_check import ADMIN_FIELDS
from pmigd.schema.validate import accepted_by
from pmigd.wire.request import AutoConvergeRequest, CompressionRequest, MigrationRequest

_HEAD: Final = """\
# The request

The fields of `POST /v1/migrations` and `POST /v1/check`, with the option of `pmigctl migrate` that
fills each. Unknown fields are refused. *admin* marks what only an administrator may give: each of
these is as good as root. Generated from the schema; `make docs` writes it again.
"""


def text() -> str:
    """The page."""
    parts = [_HEAD, *_table(MigrationRequest, "")]
    for name, struct in (
        ("compression", CompressionRequest),
        ("auto_converge", AutoConvergeRequest),
    ):
        parts += ["", f"## {name}", "", *_table(struct, f"{name}.")]
    return "\n".join(parts) + "\n"


def _table(struct: type[msgspec.Struct], prefix: str) -> list[str]:
    lines = ["| field | option | takes | default | what it does |", "|---|---|---|---|---|"]
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        name = prefix + field.encode_name
        default = "required" if field.required else f"`{_json(field.default)}`"
        meaning = _description(hints[field.name])
        admin = " *admin*" if name in ADMIN_FIELDS else ""
        takes = accepted_by(hints[field.name]).replace("|", "\\|")
        lines.append(f"| `{name}` | {_option(name)} | {takes} | {default} | {meaning}{admin} |")
    return lines


def _option(name: str) -> str:
    found = [
        f"`{option.flags[0]}`"
        for _, row in options.MIGRATE
        for option in row
        if option.field == name
    ]
    return " ".join(found)


def _json(value: object) -> str:
    return msgspec.json.encode([] if value == () else value).decode()


def _description(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, msgspec.Meta) and extra.description:
                return extra.description
    return ""
