"""Print the commented configuration file from the schema: ``python -m pmigd.config.reference``.

The output is ``etc/pmigd.toml``; a test compares them.  Every key stands there as a comment with
its default, so the file as delivered changes nothing and a key is set by removing one ``#``.
"""

import sys
import textwrap
from collections.abc import Iterator

import msgspec

from pmigd.config.peers import PeerSection
from pmigd.config.reload import takes_effect_on_reload
from pmigd.config.schema import Config
from pmigd.schema.validate import accepted_by

_WIDTH = 96
_HEAD = """\
Configuration of pmigd, the live-migration controller of this host.

Every key is shown with its default. To change one, remove the # before it.
"pmigd --check" tells everything that is wrong with this file; a bad file never starts.
SIGHUP ("systemctl reload pmigd") reads it again; keys marked "restart" wait for the next start.
"""


def reference_text() -> str:
    """Return the whole file, ending in one newline."""
    lines = [f"# {line}".rstrip() for line in _HEAD.splitlines()]
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            lines += _section(field.type, field.encode_name)
        else:
            lines += _peers()
    return "\n".join(lines) + "\n"


def _section(section: type[msgspec.Struct], name: str) -> Iterator[str]:
    yield from ("", f"[{name}]", *_comment(_doc(section)))
    nested = []
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            nested.append((field.type, f"{name}.{field.encode_name}"))
            continue
        yield from _key(field, field.default)
    for inner, inner_name in nested:
        yield from _section(inner, inner_name)


def _peers() -> Iterator[str]:
    yield from ("", "#[peers.NAME]", *_comment(_doc(PeerSection)))
    for field in msgspec.structs.fields(PeerSection):
        example = _extra(field).get("example")
        yield from _key(field, example if isinstance(example, str) else field.default)


def _key(field: msgspec.structs.FieldInfo, shown: object) -> Iterator[str]:
    described = msgspec.inspect.type_info(field.type)
    schema = described.extra_json_schema if isinstance(described, msgspec.inspect.Metadata) else {}
    extra = _extra(field)
    yield "#"
    yield from _comment(str((schema or {})["description"]))
    facts = ["Required."] if field.required else [f"Default: {_toml(field.default)}."]
    if unit := extra.get("unit"):
        facts.append(f"Unit: {unit}.")
    facts.append(f"Accepted: {accepted_by(field.type)}.")
    if not takes_effect_on_reload(field.type):
        facts.append("Restart.")
    yield from _comment(" ".join(facts))
    yield f"#{field.encode_name} = {_toml(shown)}"


def _extra(field: msgspec.structs.FieldInfo) -> dict[str, object]:
    described = msgspec.inspect.type_info(field.type)
    extra = described.extra if isinstance(described, msgspec.inspect.Metadata) else None
    return extra or {}


def _doc(section: type[msgspec.Struct]) -> str:
    return " ".join((section.__doc__ or "").split())


def _comment(text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case int():
            return str(value)
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            raise TypeError(f"the schema has a default that is not TOML: {value!r}")


if __name__ == "__main__":
    sys.stdout.write(reference_text())
