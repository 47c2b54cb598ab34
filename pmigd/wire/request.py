"""What a client may ask for, and how it becomes a :class:`pmigd.core.request.Request` and back.

The fields are the rows of :mod:`pmigd.core.request`. Unknown ones are refused. Fields of the
contract that this release does not act on are refused too, as not supported, unless they have the
value that means "nothing special": a client that always sends all fields is served as long as it
asks for nothing that is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from pmigd.core.asked import fingerprint
from pmigd.core.fields import Row
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.core.request import CHANGES, FIELDS, SET, Request, Settings
from pmigd.schema.fields import Body, bounded, made_of, members_of
from pmigd.schema.validate import validate

T = TypeVar("T", bound=msgspec.Struct)


def _part(table: type) -> type[msgspec.Struct]:
    doc = {"__doc__": table.__doc__}
    base = msgspec.defstruct(f"{table.__name__}Request", [], bases=(Body,), namespace=doc)
    return made_of(members_of(table))(base)


_PARTS: Final = {row.type: _part(row.type) for row in FIELDS if row.is_object}
"""The objects inside a request."""


@made_of(members_of(Request, _PARTS))
class MigrationRequest(Body, kw_only=True, frozen=True):
    """Body of ``POST /v1/migrations``.

    ``persistent``, ``undefinesource`` and ``autostart`` null follow the guest. ``timeout_s`` and
    ``on_timeout`` null, and ``transport`` null, mean the configured default; 0 seconds is no time
    limit.
    """


@made_of((row.key, bounded(row) | None, None) for row in CHANGES)
class SettingsRequest(Body, kw_only=True, frozen=True):
    """Body of ``PATCH /v1/migrations/{id}``: what is to be changed; null and absent are left."""


class ResolveRequest(Body, kw_only=True, frozen=True):
    """Body of ``POST /v1/migrations/{id}/resolve``: how an operator closes an unresolved one."""

    verdict: Annotated[
        Literal["succeeded", "failed"],
        Meta(description="What the operator found out by looking at both hosts."),
    ] = msgspec.field(name="as")


class NoBody(Body, kw_only=True, frozen=True):
    """Body of an action that has nothing to say; it may be left out."""


LATER_FIELDS: Final[dict[str, tuple[Any, ...]]] = {"policy": ()}
"""Fields of later releases, each with the values besides null that ask for nothing."""


def parse_request(untrusted_body: object, configured: Mapping[str, Any]) -> Request:
    """The validated request; `configured` holds what counts where it says nothing.

    Raises Refused with ``not_supported`` for what later releases bring, or with
    ``invalid_request`` and every wrong field.
    """
    if isinstance(untrusted_body, dict):
        untrusted_body = _without_later_fields(untrusted_body)
    wanted = parse(MigrationRequest, untrusted_body)
    said = {row.name: getattr(wanted, row.name) for row in FIELDS}
    said = {name: value for name, value in said.items() if value is not None}
    for row in FIELDS:
        if row.is_object and row.name in said:
            said[row.name] = row.type(**msgspec.structs.asdict(said[row.name]))
    request = Request(**said)
    for row in FIELDS:
        given = row.about.configured
        if given is not None and row.name in configured.keys() - said.keys():
            value = configured[row.name]
            if given.fits(request, value):
                request = replace(request, **{row.name: value})
    return request


def parse_change(untrusted_body: object) -> tuple[Settings, dict[str, Any]]:
    """What is to be changed on the way: by libvirt, and, by its name, what is pmigd's own.

    Raises Refused (invalid_request).
    """
    wanted = msgspec.structs.asdict(parse(SettingsRequest, untrusted_body))
    given = {name: value for name, value in wanted.items() if value is not None}
    if not given:
        raise refuse(Code.INVALID_REQUEST, "The body must name at least one setting.")
    of_libvirt = {row.key for row in SET}
    theirs = {name: value for name, value in given.items() if name in of_libvirt}
    return Settings(**theirs), {name: given[name] for name in given.keys() - of_libvirt}


def request_view(request: Request) -> MigrationRequest:
    """The request with the defaults filled in. XML may hold secrets: that it was given is all."""
    return MigrationRequest(**{row.name: _shown(row, row.of(request)) for row in FIELDS})


def _shown(row: Row, value: Any) -> Any:
    if value is not None and row.is_object:
        return _PARTS[row.type](**asdict(value))
    return "(given)" if row.about.secret and value else value


def asked(untrusted_body: object) -> str:
    """The same for every repeat of a request, whatever is configured. Raises as `parse_request`."""
    return fingerprint(parse_request(untrusted_body, {}))


def parse(struct_type: type[T], untrusted: object) -> T:
    """`untrusted` as a `struct_type`. Raises Refused with every wrong field."""
    try:
        value, faults = validate(struct_type, untrusted, is_json=True)
    except RecursionError:
        raise refuse(Code.INVALID_REQUEST, "The body is nested too deeply.") from None
    if value is None:
        errors = tuple(FieldError(fault.field, fault.message) for fault in faults)
        detail = "; ".join(f"{error.field or 'the body'} {error.message}" for error in errors[:5])
        raise refuse(Code.INVALID_REQUEST, detail, errors)
    return value


def _without_later_fields(body: dict[Any, Any]) -> dict[Any, Any]:
    later = [
        name
        for name, nothing in LATER_FIELDS.items()
        if body.get(name) is not None and not _is_one_of(body[name], nothing)
    ]
    if later:
        errors = tuple(FieldError(name, "is not supported by this release") for name in later)
        raise refuse(Code.NOT_SUPPORTED, f"Not supported yet: {', '.join(later)}.", errors)
    return {name: value for name, value in body.items() if name not in LATER_FIELDS}


def _is_one_of(value: object, accepted: tuple[Any, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in accepted)
