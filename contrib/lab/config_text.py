"""Write the two configuration languages that the lab's daemons read.

It knows str, int, float, bool, list and dict, which is all a lab needs, and
must never guess: any other type is an error.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` on top; tables are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
        case _:
            raise TypeError(f"no TOML for {type(value).__name__}")


def toml(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A TOML document; tables become [sections], tables in lists stay inline."""
    plain = [f"{_key(k)} = {_value(v)}" for k, v in document.items() if not isinstance(v, dict)]
    lines = []
    if path and (plain or not document):
        lines.append(f"[{'.'.join(_key(part) for part in path)}]")
    lines += plain
    text = "\n".join(lines) + ("\n" if lines else "")
    for key, value in document.items():
        if isinstance(value, dict):
            text += toml(value, (*path, key))
    return text


def libvirt_conf(settings: Mapping[str, Any]) -> str:
    """libvirtd.conf or qemu.conf; libvirt writes booleans as 0 and 1."""
    return "".join(
        f"{key} = {int(value) if isinstance(value, bool) else _value(value)}\n"
        for key, value in settings.items()
    )
