"""What ``migrate``, ``check`` and ``set`` accept, and which request field each option fills.

The options of the fields are made of the rows of :mod:`pmigd.core.request`, help and completion
included; here are those that only the client knows. Values are checked for their type only; what
may be combined with what is for the daemon to say, so that every client hears the same answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_origin

from pmigd.core.fields import Group, Option, Row, Unit
from pmigd.core.request import CHANGES, ROWS

if TYPE_CHECKING:
    from pmigd.client import JsonObject

FILE_MAX_BYTES: Final = 1024**2
"""The daemon takes no larger request."""

UNITS: Final = """\
Numbers take units: --bandwidth 1GiB/s, --timeout 5m, --max-downtime 1.5s. A number alone is in the
unit above, which is virsh's. K, M, G, T are KiB, MiB, GiB, TiB; KB, MB and so on are thousands.

"""
"""For the end of the help."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One option. `field` is the request field that it fills, "object.field" one inside an object,
    None what only the client does. Of options that fill the same field the later one counts, in
    whatever order they are given. Those that share `excludes` may not be given together.
    """

    flags: tuple[str, ...]
    help: str
    field: str | None
    how: dict[str, Any]
    excludes: str | None = None


Table = tuple[tuple[Group, tuple[Argument, ...]], ...]


def of_rows(rows: Iterable[Row]) -> Table:
    """The options of request fields, below their headings."""
    groups: dict[Group, list[Argument]] = {}
    for row in rows:
        if row.group is not None and row.about.options:
            groups.setdefault(row.group, []).extend(_arguments(row))
    return tuple((group, tuple(arguments)) for group, arguments in groups.items())


def _arguments(row: Row) -> Iterator[Argument]:
    about = row.about
    alone = len(about.options) > 1 and not about.together
    for option in about.options:
        text = option.help + (f"; needs {row.newer}" if row.newer else "")
        excludes = row.path if alone else None
        yield Argument(option.flags, text, row.path, _how(row, option), excludes)


def _how(row: Row, option: Option) -> dict[str, Any]:
    """What argparse is to do with an option of a field."""
    if row.is_object:
        return {"action": "store_const", "const": {}}
    if option.value:
        value = int(option.value) if row.is_number else option.value
        return {"action": "store_const", "const": value}
    if row.is_number:
        read = partial(_number, unit=row.about.unit, whole=row.type is int)
        return {"type": read, "metavar": option.metavar or row.about.unit.metavar}
    if get_origin(row.type) is tuple:
        one = option.metavar or (row.about.text.metavar if row.about.text else "NAME")
        return {"type": _names, "metavar": f"{one}[,{one}...]"}
    if row.choices:
        return {"choices": row.choices}
    if row.about.text is None:
        switch = row.nullable or row.default is True
        return {"action": argparse.BooleanOptionalAction if switch else "store_true"}
    metavar = option.metavar or row.about.text.metavar
    return {"metavar": metavar, **({"type": _text_of} if metavar == "FILE" else {})}


def _number(text: str, *, unit: Unit, whole: bool) -> int | float:
    try:
        return unit.read(text, whole=whole)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name between its commas")
    return names


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs time at every start
            content = file.read(FILE_MAX_BYTES + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"cannot read {path}: {reason}") from None
    if len(content) > FILE_MAX_BYTES:
        raise argparse.ArgumentTypeError(f"{path} is larger than 1 MiB")
    return text


_CLIENT: Final = (
    Argument(
        ("--detach",), "print the migration's ID and do not wait", None, {"action": "store_true"}
    ),
    Argument(
        ("--verbose",),
        "show progress; in a pipe, a line for every sample instead of one now and then",
        None,
        {"action": "store_true"},
    ),
    Argument(
        ("--idempotency-key",),
        "a name of your own for this request: repeating it returns the first migration"
        " instead of starting another",
        None,
        {"metavar": "KEY"},
    ),
)
_MIGRATE: Final = Group(
    "this client", "the migration belongs to pmigd: whatever becomes of pmigctl, it goes on."
)
_CHECK: Final = Group(
    "without effect here", "accepted so that any migrate can be checked by changing that one word."
)
_SET: Final = Group("what to change", "at least one; the others stay as they are.")

MIGRATE: Final[Table] = (*of_rows(ROWS), (_MIGRATE, _CLIENT))
CHECK: Final[Table] = (*MIGRATE[:-1], (_CHECK, _CLIENT))
SET: Final[Table] = (
    (
        _SET,
        tuple(
            Argument(option.flags, option.help, row.key, _how(row, option))
            for row in CHANGES
            for option in [Option(row.about.change.option)]
        ),
    ),
)


OFFERS: Final = {
    f"request.{flag.removeprefix('--')}": row.choices
    for row in ROWS
    if get_origin(row.type) is tuple
    for option in row.about.options
    for flag in option.flags[:1]
}
"""What stands in a list, where that is counted, by the names in a namespace."""


def add(parser: argparse.ArgumentParser, table: Table) -> None:
    """Give ``parser`` a table's options. What is not given leaves no trace in the namespace."""
    for group, options in table:
        heading = parser.add_argument_group(group.title, group.teaches)
        exclusive: dict[str, argparse._MutuallyExclusiveGroup] = {}
        for option in options:
            target: argparse._ActionsContainer = heading
            if option.excludes is not None:
                if option.excludes not in exclusive:
                    exclusive[option.excludes] = heading.add_mutually_exclusive_group()
                target = exclusive[option.excludes]
            common: dict[str, Any] = {
                "help": option.help,
                "default": argparse.SUPPRESS,
                "dest": _dest(option),
            }
            target.add_argument(*option.flags, **common, **option.how)


def add_route(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the guest and where to."""
    parser.add_argument("domain", metavar="DOMAIN", help="the guest, by name or UUID")
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="a peer's name (see pmigctl peers), or a libvirt URI that the configuration allows",
    )


def body(args: argparse.Namespace, table: Table) -> JsonObject:
    """A whole request: the guest, where to, and the fields that were given."""
    return {"domain": args.domain, "destination": args.destination, **fields(args, table)}


def fields(args: argparse.Namespace, table: Table) -> JsonObject:
    """The request fields that were given; the daemon's defaults apply to the others."""
    given = vars(args)
    found: JsonObject = {}
    for option in arguments(table):
        if option.field is None or _dest(option) not in given:
            continue
        outer, _, inner = option.field.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = given[_dest(option)]
        elif given[_dest(option)] == {}:
            found.setdefault(outer, {})
        else:
            found[outer] = given[_dest(option)]
    return found


def flags_of(field: str, table: Table) -> list[str]:
    """The options that fill a request field, or something in it."""
    return [
        option.flags[0]
        for option in arguments(table)
        if option.field is not None and f"{option.field}.".startswith(f"{field}.")
    ]


def arguments(table: Table) -> list[Argument]:
    """A table's options, without their headings."""
    return [option for _, options in table for option in options]


def _dest(option: Argument) -> str:
    name = option.flags[0].removeprefix("--")
    # What the client does is read by its name; request fields must not get in the way of it.
    return name.replace("-", "_") if option.field is None else f"request.{name}"
