"""The words in which a request field is described; the table itself is :mod:`pmigd.core.request`.

Whatever has to know the fields goes through :func:`rows`: the schema of the socket and its parsing,
libvirt's flags and parameters, the versions they need, roles, the configured defaults, pmigctl's
options and their completion, OpenAPI and the pages. Nothing here knows a field by its name. This is
imported whenever pmigctl parses a request: it stays small, and its classes are of the kind that is
made the fastest.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING
from enum import Enum
from types import NoneType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

Version = tuple[int, int, int]
T = TypeVar("T")

OLDEST_LIBVIRT: Final[Version] = (9, 0, 0)
OLDEST_QEMU: Final[Version] = (7, 2, 0)
"""What pmigd is for: that something needs no more than these is not worth a word to people."""


MOST_DIGITS: Final = 40
"""Of a number that somebody writes; no field takes as large a one."""


class Unit(NamedTuple):
    """What a number counts.

    `suffix` is how the names of its fields end, `metavar` how pmigctl's help writes a value. With
    `scale` people may write another unit behind a number: it says how much each is, and `one` how
    much a number without is; `others` names them where it must be said which there are.
    """

    words: str = ""
    suffix: str = ""
    metavar: str = "N"
    one: int = 1
    scale: Mapping[str, int] = {}
    others: str = ""

    def read(self, text: str, *, whole: bool) -> int | float:
        """The number that somebody wrote: "5m", "1.5GiB/s", "300". Raises ValueError, saying why.

        With `whole` it must be a whole number in this unit: nothing is rounded.
        """
        number = text.strip()
        unit = number.lstrip("+-0123456789.")
        each = self.scale.get(unit.strip()) if unit else self.one
        before, _, behind = number.removesuffix(unit).strip().partition(".")
        digits = (before[1:] if before[:1] in ("+", "-") else before) + behind
        kind = "a whole number" if whole else "a number"
        if each is None or not digits.isdecimal() or len(digits) > MOST_DIGITS:
            of = f" of {self.words}" if self.words else ""
            others = f", nor one with its unit: {self.others}" if self.others else ""
            raise ValueError(f"{text!r} is not {kind}{of}{others}")
        amount = int(before + behind) * each
        one: int = 10 ** len(behind) * self.one
        if amount % one == 0:
            return amount // one
        if whole:
            raise ValueError(
                f"{text!r} is {amount / one:g} {self.words}".rstrip() + f", not {kind}"
            )
        return amount / one


def _sizes(*ends: str) -> dict[str, int]:
    """How much K, KiB and KB are, and so on up to T, with each of `ends` behind them."""
    return {
        name + end: base**power
        for power, letter in enumerate("KMGT", 1)
        for name, base in (
            *((letter, 1024), (letter.lower(), 1024)),
            *((f"{letter}iB", 1024), (f"{letter.lower()}ib", 1024), (f"{letter}B", 1000)),
        )
        for end in ends
    }


_TIMES: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIMES_SAID: Final = ", ".join(_TIMES)
COUNT: Final = Unit()
MS: Final = Unit("ms", "_ms", "MS", 1, _TIMES, _TIMES_SAID)
SECONDS: Final = Unit("seconds", "_s", "S", 1000, _TIMES, _TIMES_SAID)
BYTES: Final = Unit("bytes", "_bytes", "BYTES", 1, _sizes(""), "KiB, MiB, GiB, TiB")
MIB_S: Final = Unit(
    "MiB/s", "_mib_s", "MIB_S", 1024**2, _sizes("", "/s"), "KiB/s, MiB/s, GiB/s, TiB/s"
)
PERCENT: Final = Unit("percent", "", "PERCENT", 1, {"%": 1})


class Text(NamedTuple):
    """What a text, or each of a list of texts, is like.

    `metavar` is how pmigctl's help writes it; FILE means that pmigctl is given a file that holds
    it. `address` is what form an address must have besides: "host", "graphics", or the schemes of a
    URI for data.
    """

    metavar: str
    longest: int
    pattern: str = ""
    accepted: str = ""
    address: str = ""


class Group(NamedTuple):
    """A heading in pmigctl's help, with what its options are about."""

    title: str
    teaches: str


class Option(NamedTuple):
    """An option of pmigctl that fills a field, as its row writes it.

    That is "--name[=VALUE] [--alias] [METAVAR]: its help". VALUE is what the field becomes if the
    option takes none itself; without it the field's type says what the option takes. An object is
    switched on, and what else is in it stays.
    """

    text: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names, the chief one first."""
        return tuple(word.partition("=")[0] for word in self._head if word.startswith("--"))

    @property
    def value(self) -> str:
        """What the field becomes; "" is what is given."""
        return self._head[0].partition("=")[2]

    @property
    def metavar(self) -> str:
        """How the help writes its value; "" is as the unit or the kind of text says."""
        return "" if self._head[-1].startswith("--") else self._head[-1]

    @property
    def help(self) -> str:
        """What it does."""
        return self.text.partition(": ")[2]

    @property
    def _head(self) -> list[str]:
        return self.text.partition(": ")[0].split()


class Needs(NamedTuple):
    """The versions that the field needs on both hosts, or on the source; None is any.

    `code` is the finding that says what is too old.
    """

    code: str
    libvirt: Version | None = None
    qemu: Version | None = None
    source_only: bool = False


class Configured(NamedTuple):
    """The key of ``[migration]`` with the field's name, which counts where a request says nothing.

    `fits` says of which requests: the others have the field's own default. `default` and `type` are
    the key's, where they are not the field's.
    """

    says: str
    unit: str = ""
    default: Any = None
    type: Any = None
    fits: Callable[[Any, Any], bool] = lambda _request, _value: True


class Change(NamedTuple):
    """That the field can be changed on the way, by ``pmigctl set`` with this option; "" is never.

    `call` is the name of libvirt's setter and getter behind "migrateSet" and "migrateGet", `flag`
    what they are called with; "" is what pmigd changes itself. `unlimited`: libvirt is told its
    largest number where this is 0. `queued`: of what waits, and only as long as it does. `name` is
    for where it is not the field's own.
    """

    option: str = ""
    call: str = ""
    flag: str = ""
    unlimited: bool = False
    queued: bool = False
    name: str = ""


class Field(NamedTuple):
    """What there is to know of a field besides its name, its type and its default.

    `says` is for readers of the API. Of several `options` only one may be given, unless they go
    `together`: then the later row counts. `group` is for the first of a group. `between` holds the
    least and the largest number, `most` is of a list's entries. `zero` is the word for a 0. `flag`
    is libvirt's, or the flag for each value, and `param` its typed parameter. `admin`: only an
    administrator may give it. `secret`: it is not shown, only that it was given.
    """

    says: str
    options: tuple[Option, ...] = ()
    group: Group | None = None
    together: bool = False
    unit: Unit = COUNT
    between: tuple[int, int] | None = None
    most: int | None = None
    text: Text | None = None
    accepted: str = ""
    zero: str = ""
    flag: str | Mapping[Any, str] = ""
    param: str = ""
    needs: tuple[Needs, ...] = ()
    admin: bool = False
    secret: bool = False
    configured: Configured | None = None
    change: Change = Change()


def about(says: str, *options: str, **facts: Any) -> dict[str, Field]:
    """The metadata of a dataclass field that is a row, with the other `facts` of :class:`Field`."""
    return {"row": Field(says, tuple(map(Option, options)), **facts)}


def row(default: T, says: str, *options: str, **facts: Any) -> T:
    """A dataclass field that is a row, with its default."""
    made: T = dataclasses.field(default=default, metadata=about(says, *options, **facts))
    return made


class Row(NamedTuple):
    """One field, whole. `path` is its name, or "object.name" inside another field's object.

    `type` is without None, which `optional` tells of.
    """

    path: str
    type: Any
    optional: bool
    default: Any
    group: Group | None
    about: Field

    @property
    def name(self) -> str:
        """The name where it stands."""
        return self.path.rpartition(".")[2]

    @property
    def required(self) -> bool:
        """There is no default."""
        return self.default is MISSING

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return self.type in (int, float)

    @property
    def is_object(self) -> bool:
        """Whether it is an object with fields of its own."""
        return dataclasses.is_dataclass(self.type)

    @property
    def nullable(self) -> bool:
        """Whether null may be said for "nothing": that is the default, the configured one first."""
        return self.optional or self.is_number or self.about.configured is not None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are, of a field or of each of its entries; () where not counted."""
        kind = get_args(self.type)[0] if get_origin(self.type) is tuple else self.type
        if isinstance(kind, type) and issubclass(kind, Enum):
            return tuple(member.value for member in kind)
        return get_args(kind) if get_origin(kind) is Literal else ()

    @property
    def newer(self) -> str:
        """What it needs that is newer than pmigd's own needs: "libvirt 10.9"; "" is nothing."""
        libvirt = [need.libvirt for need in self.about.needs if need.libvirt]
        qemu = [need.qemu for need in self.about.needs if need.qemu]
        newest = (
            ("libvirt", max(libvirt, default=OLDEST_LIBVIRT), OLDEST_LIBVIRT),
            ("QEMU", max(qemu, default=OLDEST_QEMU), OLDEST_QEMU),
        )
        found = (f"{what} {has[0]}.{has[1]}" for what, has, oldest in newest if has > oldest)
        return " and ".join(found)

    @property
    def key(self) -> str:
        """The name by which it is changed on the way."""
        return self.about.change.name or self.name

    @property
    def label(self) -> str:
        """That name in words, without its unit: "max downtime"."""
        words = self.key.removesuffix(self.about.unit.suffix).replace("_", " ")
        return words.replace("postcopy", "post-copy")

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of libvirt's that it may set."""
        flag = self.about.flag
        return tuple(flag.values()) if isinstance(flag, Mapping) else (flag,) if flag else ()

    def flag_for(self, value: Any) -> str:
        """The flag that `value` sets; "" is none."""
        flag = self.about.flag
        return flag.get(value, "") if isinstance(flag, Mapping) else flag if value else ""

    def of(self, request: object) -> Any:
        """Its value in `request`; None where the object that it is in is not there."""
        for name in self.path.split("."):
            request = getattr(request, name, None)
        return request

    def given(self, request: object) -> bool:
        """Whether `request` has another value than the default."""
        return self.of(request) not in (None, self.default)


@functools.cache
def rows(table: type, prefix: str = "") -> tuple[Row, ...]:
    """The fields of a dataclass of which each is a row."""
    hints = get_type_hints(table)
    found: list[Row] = []
    group = None
    for field in dataclasses.fields(table):
        said: Field = field.metadata["row"]
        group = said.group or group
        kind = hints[field.name]
        members = () if get_origin(kind) is tuple else get_args(kind)
        kinds = tuple(member for member in members if member is not NoneType)
        optional = len(kinds) < len(members)
        kind = Union[kinds] if optional else kind  # noqa: UP007
        found.append(Row(prefix + field.name, kind, optional, field.default, group, said))
    return tuple(found)


def every(table: type) -> Iterator[Row]:
    """The same, each object followed by the fields inside it, which are of its group."""
    for outer in rows(table):
        yield outer
        if outer.is_object:
            for inner in rows(outer.type, f"{outer.path}."):
                yield inner._replace(group=outer.group)
