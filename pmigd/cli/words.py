"""pmigd's advice in pmigctl's own words: request fields are said as the options that fill them.

pmigd writes a field as ``'tls'``, and one with a value as ``'copy_storage': 'all'``. What is no
field of a request, or has no option, stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

from pmigd.cli import options

_FIELD: Final = re.compile(r"'([a-z][a-z_.]*)'(?:: ('?)([^\s',]+)\2)?")


def in_options(text: str) -> str:
    """`text` as somebody reads it who has the options of pmigctl before him."""
    return _FIELD.sub(_said, text)


def _said(found: re.Match[str]) -> str:
    field, value = found[1], found[3]
    filling = [option for option in options.arguments(options.CHECK) if option.field == field]
    valued = [option for option in filling if "action" not in option.how]
    if value is None and filling:
        # One that takes a value stands for all of them.
        return " or ".join(option.flags[0] for option in valued[:1] or filling)
    for option in filling:
        if option.how.get("const") == value:
            return option.flags[0]
        if option not in valued and value in ("true", "false"):
            return option.flags[0] if value == "true" else f"--no-{option.flags[0][2:]}"
    return f"{valued[0].flags[0]} {value}" if valued else str(found[0])
