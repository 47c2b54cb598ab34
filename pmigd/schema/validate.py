"""Check untrusted plain data against a msgspec struct and report every fault, not the first.

msgspec stops at the first error, which makes a person fix a file or a request one line at a
time.  Here the input is converted whole first (the common case, and the only way a value is
made); only when that fails is it walked field by field to collect what is wrong.  Types are
strict: ``true`` is not 1 and ``"7"`` is not 7.

This module must never coerce, fill in or repair anything, and never put unbounded or
unprintable text of the sender into a path or a message.
"""

import difflib
import itertools
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import msgspec

from pmigd.core.printable import printable

MAX_ERRORS: Final = 100
"""Faults reported for one input; a megabyte of nonsense should not be answered by ten."""

KeyPath = tuple[str | int, ...]
FaultKind = Literal["unknown", "missing", "type", "invalid"]
T = TypeVar("T")

MAX_LOOKS: Final = 250
"""Values of a JSON document that are looked at for faults, one by one: each has its price, and what
is wrong with the first of them is enough to be told."""

_SHOWN_MAX: Final = 80
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_GOT = re.compile(r", got `[^`]*`\Z")
_AT_PATH = re.compile(r" - at `[^`]*`\Z")


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault.

    ``field`` is the dotted path ("peers.hostb.uri", "errors[3].x"; "" is the whole input) and
    ``message`` a sentence about it.  ``accepted`` says what would be right, "" when the message
    says it all; ``kind`` tells a value of another type ("type") from one of the right type that is
    not accepted ("invalid"); ``path`` is the same place as ``field``, for programs.
    """

    field: str
    message: str
    kind: FaultKind = "invalid"
    accepted: str = ""
    path: KeyPath = ()


def validate(
    struct_type: type[T], untrusted: object, *, is_json: bool = False
) -> tuple[T | None, list[FieldFault]]:
    """Return the struct and no errors, or None and every fault, at most :data:`MAX_ERRORS`.

    ``untrusted`` is what a JSON or TOML parser returns: dicts with text keys, lists, text,
    numbers, booleans, None.  A number must be finite; what ``is_json`` has no others, and need not
    be walked for them.  Raises nothing for bad input.
    """
    if is_json or _is_finite(untrusted):
        try:
            return msgspec.convert(untrusted, struct_type), []
        except msgspec.ValidationError as error:
            whole = str(error)
    else:
        whole = "holds a number that is not finite"
    errors: list[FieldFault] = []
    looks = iter(range(MAX_LOOKS)) if is_json else itertools.count()
    for error_found in _faults(struct_type, untrusted, (), looks):
        errors.append(error_found)
        if len(errors) == MAX_ERRORS:
            break
    # Should the walk ever see less than msgspec does, msgspec's word stands.
    return None, errors or [_error((), _clean(whole))]


def field_path(path: Sequence[str | int]) -> str:
    """Write a path the way people do: ``peers."host b".uri``, ``errors[3].x``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if _BARE_KEY.match(step) else show(step)
            text += f".{shown}" if text else shown
    return text


def show(value: object, *, outer: bool = True) -> str:
    """A value as a short, printable, one-line quotation; tables and lists by their outline."""
    if isinstance(value, dict):
        return "{}" if not value else "{…}"
    if isinstance(value, list | tuple) and not outer:
        return "[…]" if value else "[]"
    if isinstance(value, str):
        text = json.dumps(value[: _SHOWN_MAX + 1])
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif value is None:
        return "null"
    elif isinstance(value, list | tuple):
        text = (
            "["
            + ", ".join(show(item, outer=False) for item in value[:8])
            + (", …" * (len(value) > 8))
            + "]"
        )
    elif isinstance(value, int) and value.bit_length() > 256:
        return "a number of more than 77 digits"  # str() refuses very long ones
    else:
        text = str(value)
    text = printable(text)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"


def accepted_by(annotation: object) -> str:
    """Say in words what a field of this type takes: "a whole number from 1 to 20".

    ``msgspec.Meta(extra={"accepted": "…"})`` overrides it where the type does not tell enough.
    """
    described = msgspec.inspect.type_info(annotation)
    return _describe(described)


def _is_finite(untrusted: object) -> bool:
    """False if a nan or an infinity is anywhere inside (not JSON, but TOML has them)."""
    waiting = [untrusted]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
    return True


def _faults(
    annotation: Any, untrusted: object, path: KeyPath, looks: Iterator[int]
) -> Iterator[FieldFault]:
    """Every fault below ``path``; children first, the value as a whole only if they are sound.

    None any more when ``looks`` is at its end.
    """
    if next(looks, None) is None:
        return
    target = _strip(annotation)
    if untrusted is None and _allows_none(annotation):
        return
    origin = typing.get_origin(target) or target
    found = False
    children: Iterator[FieldFault] = iter(())
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        if isinstance(untrusted, dict):
            children = _struct_faults(origin, untrusted, path, looks)
    elif origin in {list, set, frozenset} or (
        origin is tuple and typing.get_args(target)[-1:] == (...,)
    ):
        if isinstance(untrusted, list | tuple):
            item_type = (*typing.get_args(target), Any)[0]
            children = (
                fault
                for index, item in enumerate(untrusted)
                for fault in _faults(item_type, item, (*path, index), looks)
            )
    elif origin is dict and isinstance(untrusted, dict):
        children = _dict_faults((*typing.get_args(target), Any, Any)[:2], untrusted, path, looks)
    for fault in children:
        found = True
        yield fault
    if not found:
        yield from _own_fault(annotation, untrusted, path)


def _own_fault(annotation: Any, untrusted: object, path: KeyPath) -> Iterator[FieldFault]:
    if isinstance(untrusted, float) and not math.isfinite(untrusted):
        yield _error(path, "must be a finite number", accepted=accepted_by(annotation))
        return
    try:
        msgspec.convert(untrusted, annotation)
    except msgspec.ValidationError as error:
        said = _clean(str(error))
        accepted = accepted_by(annotation)
        if not accepted or (isinstance(untrusted, dict) and accepted == "a table"):
            # Nothing better is known, or a struct's own __post_init__ refuses sound fields.
            yield _error(path, said)
        else:
            kind: FaultKind = "type" if _GOT.search(said) else "invalid"
            yield _error(path, f"must be {accepted}", kind=kind, accepted=accepted)


def _struct_faults(
    struct_type: type[msgspec.Struct],
    untrusted: dict[Any, object],
    path: KeyPath,
    looks: Iterator[int],
) -> Iterator[FieldFault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct_type)}
    config = struct_type.__struct_config__
    allowed = set(fields) | ({config.tag_field} if config.tag_field is not None else set())
    if config.forbid_unknown_fields:
        for name in untrusted:
            if name not in allowed:
                yield _unknown((*path, str(name)), sorted(allowed))
    for name, field in fields.items():
        if name in untrusted:
            yield from _faults(field.type, untrusted[name], (*path, name), looks)
        elif field.required:
            accepted = accepted_by(field.type)
            yield _error((*path, name), "is required", kind="missing", accepted=accepted)


def _dict_faults(
    types_of: tuple[Any, ...], untrusted: dict[Any, object], path: KeyPath, looks: Iterator[int]
) -> Iterator[FieldFault]:
    key_type, value_type = types_of
    for key, value in untrusted.items():
        try:
            msgspec.convert(key, key_type)
        except msgspec.ValidationError:
            yield _error((*path, str(key)), f"the name must be {accepted_by(key_type)}")
            continue
        yield from _faults(value_type, value, (*path, str(key)), looks)


def _unknown(path: KeyPath, allowed: list[str]) -> FieldFault:
    close = difflib.get_close_matches(str(path[-1])[:_SHOWN_MAX], allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return _error(path, f"is not known{hint}", kind="unknown", accepted=", ".join(allowed))


def _error(
    path: KeyPath,
    message: str,
    *,
    kind: FaultKind = "invalid",
    accepted: str = "",
) -> FieldFault:
    return FieldFault(field_path(path), message, kind, accepted, path)


def _clean(text: str) -> str:
    """msgspec's message without its own path, short and printable."""
    return printable(_AT_PATH.sub("", text), 300)


def _strip(annotation: Any) -> Any:
    """The type inside Annotated[…], X | None and X | UnsetType; other unions as they are."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {typing.Union, types.UnionType}:
            members = [
                member
                for member in typing.get_args(annotation)
                if member not in {type(None), msgspec.UnsetType}
            ]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        else:
            return annotation


def _allows_none(annotation: Any) -> bool:
    try:
        msgspec.convert(None, annotation)
    except msgspec.ValidationError:
        return False
    return True


def _describe(described: msgspec.inspect.Type) -> str:
    match described:
        case msgspec.inspect.Metadata(type=inner, extra=extra):
            own = (extra or {}).get("accepted")
            return own if isinstance(own, str) else _describe(inner)
        case msgspec.inspect.UnionType(types=members):
            parts = [
                _describe(member)
                for member in members
                if not isinstance(member, msgspec.inspect.NoneType)
            ]
            nullable = any(isinstance(member, msgspec.inspect.NoneType) for member in members)
            return " or ".join(parts + ["null"] * nullable)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType(ge=low, le=high):
            return "a whole number" + _range(low, high)
        case msgspec.inspect.FloatType(ge=low, le=high):
            return "a number" + _range(low, high)
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return "text" + (f" of {low or 0} to {high} characters" if high is not None else "")
        case msgspec.inspect.LiteralType(values=values):
            return "one of " + ", ".join(show(value) for value in values)
        case msgspec.inspect.EnumType(cls=enumeration):
            return "one of " + ", ".join(show(member.value) for member in enumeration)
        case (
            msgspec.inspect.ListType(item_type=item)
            | msgspec.inspect.VarTupleType(item_type=item)
            | msgspec.inspect.SetType(item_type=item)
            | msgspec.inspect.FrozenSetType(item_type=item)
        ):
            each = _describe(item)
            return f"a list, each {each}" if each else "a list"
        case msgspec.inspect.StructType() | msgspec.inspect.DictType():
            return "a table"
        case msgspec.inspect.UUIDType():
            return "a UUID"
        case msgspec.inspect.DateTimeType():
            return "a time as in RFC 3339"
        case msgspec.inspect.NoneType():
            return "null"
        case _:
            return ""


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    if low is not None:
        return f", at least {_number(low)}"
    return f", at most {_number(high)}" if high is not None else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
