"""The rows of :mod:`pmigd.core.fields` as types that msgspec checks, and structs made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar, cast, get_origin

import msgspec
from msgspec import Meta

from pmigd.core.fields import Row, rows

S = TypeVar("S", bound=msgspec.Struct)
_NONE: Final[Mapping[type, Any]] = {}
Member = tuple[str, Any] | tuple[str, Any, Any]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What a client sends; unknown fields are refused."""


def made_of(members: Iterable[Member]) -> Callable[[type[S]], type[S]]:
    """A decorator: the struct that is decorated, with these members, which its body need not name.

    A member is a name, a type and, if it may be left out, a default.
    """

    def make(base: type[S]) -> type[S]:
        made = msgspec.defstruct(
            base.__name__,
            list(members),
            bases=(base,),
            namespace={"__doc__": base.__doc__},
            module=base.__module__,
            kw_only=True,
            frozen=True,
        )
        return cast(type[S], made)

    return make


def members_of(table: type, parts: Mapping[type, Any] = _NONE) -> list[Member]:
    """Every row of `table`; `parts` are the structs of the objects inside it."""
    found: list[Member] = []
    for row in rows(table):
        kind = annotated(row, parts.get(row.type))
        default = None if row.nullable else row.default
        found.append((row.name, kind) if row.required else (row.name, kind, default))
    return found


def annotated(row: Row, part: Any = None) -> Any:
    """The type of `row`, with its words and what it takes; `part` is the struct of an object."""
    about = row.about
    kind = bounded(row) if part is None else part
    extra = {"accepted": about.accepted} if about.accepted else None
    says = about.says + (" Administrators only." if about.admin else "")
    meta = Meta(description=says, extra=extra, max_length=about.most)
    return Annotated[kind | None if row.nullable else kind, meta]


def bounded(row: Row) -> Any:
    """The bare type of a row that is no object, with what it takes."""
    about = row.about
    if about.between is not None:
        least, most = about.between
        return Annotated[row.type, Meta(ge=least, le=most)]
    if about.text is None:
        return row.type
    text = about.text
    kind = Annotated[
        str,
        Meta(
            min_length=1,
            max_length=text.longest,
            pattern=text.pattern or None,
            extra={"accepted": text.accepted} if text.accepted else None,
        ),
    ]
    return tuple[kind, ...] if get_origin(row.type) is tuple else kind
