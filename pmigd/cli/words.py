"""pmigd's advice in pmigctl's own words: request fields are said as the options that fill them.

pmigd writes a field as ``'tls'``, and one with a value as ``'copy_storage': 'all'``. What is no
field of a request, or has no option, stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

from pmigd.cli import options

_FIELD: Final = re.compile(r"'([a-z][a-z_.]*)'(?:: ('?)([^\s',]+)\2)?")
_SWITCHED: Final = {"true": True, "false": False}


def in_options(text: str) -> str:
    """`text` as somebody reads it who has the options of pmigctl before him."""
    return _FIELD.sub(_said, text)


def _said(found: re.Match[str]) -> str:
    field, value = found[1], found[3]
    filling = [option for option in options.rows(options.CHECK) if option.field == field]
    given = [option for option in filling if option.kind != "set"]
    if value is None and filling:
        # One that takes a value stands for all of them.
        return " or ".join(option.flags[0] for option in given[:1] or filling)
    for option in filling:
        if option.kind == "set" and option.value == _SWITCHED.get(value, value):
            return option.flags[0]
    for option in given:
        if option.kind != "yes-no":
            return f"{option.flags[0]} {value}"
        return option.flags[0] if value == "true" else f"--no-{option.flags[0][2:]}"
    return found[0]
