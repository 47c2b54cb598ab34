"""Decide which changes of a config a running daemon can take up.

A key is fixed at the start when its schema entry says ``extra={"reload": False}``: sockets,
directories and names that other things already depend on.  All others take effect on SIGHUP.
"""

from typing import Any

import msgspec

from pmigd.config.schema import Config


def restart_needed(running: Config, new: Config) -> list[str]:
    """Return the dotted keys that differ and take effect only at the next start."""
    return _differing(running, new, "")


def _differing(running: Any, new: Any, prefix: str) -> list[str]:
    keys = []
    for field in msgspec.structs.fields(type(running)):
        before, after = getattr(running, field.name), getattr(new, field.name)
        key = prefix + field.encode_name
        if isinstance(before, msgspec.Struct):
            keys += _differing(before, after, key + ".")
        elif before != after and not takes_effect_on_reload(field.type):
            keys.append(key)
    return keys


def takes_effect_on_reload(annotation: object) -> bool:
    """Whether the schema lets a field of this type change in a running daemon."""
    described = msgspec.inspect.type_info(annotation)
    extra = described.extra if isinstance(described, msgspec.inspect.Metadata) else None
    return (extra or {}).get("reload", True) is True
