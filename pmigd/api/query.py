"""Query parameters and headers: what each one takes, and what a request says in them.

Everything that is wrong with them is told at once. A parameter that a resource does not have is
refused, like an unknown field of a body: it would otherwise be a filter that silently did nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from pmigd.api.problems import Handler
from pmigd.core.model import State
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.core.trace import parse_traceparent
from pmigd.schema.validate import field_path

PAGE_MAX: Final = 200
PAGE_DEFAULT: Final = 50
WAIT_MAX_S: Final = 600.0
KEY_MAX: Final = 200
QUERY: Final = "pmigd.query"
"""Where a request keeps its parsed parameters: a dict by name, without those not given."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
_SHOWN_ERRORS: Final = 20


class Unacceptable(ValueError):  # noqa: N818 - reads as what it says of the text
    """A parameter's text is not what it takes; the message says what it must be."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or header. `parse` makes its value of the untrusted text."""

    name: str
    description: str
    schema: dict[str, Any]
    parse: Callable[[str], object]
    where: str = "query"
    repeatable: bool = False


def reads(parameters: Sequence[Parameter], handler: Handler, *, strict: bool) -> Handler:
    """`handler` for requests whose parameters are right; `strict` refuses unknown ones."""
    query = {p.name: p for p in parameters if p.where == "query"}
    headers = [p for p in parameters if p.where == "header"]

    async def read(request: web.Request) -> web.StreamResponse:
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        for name in dict.fromkeys(request.query):
            if name in query:
                _take(query[name], request.query.getall(name), values, errors)
            elif strict:
                known = ", ".join(query) or "it has none"
                errors.append(FieldError(field_path((name,)), f"is not known; known: {known}"))
        for header in headers:
            _take(header, request.headers.getall(header.name, []), values, errors)
        if errors:
            shown = tuple(errors[:_SHOWN_ERRORS])
            detail = "; ".join(f"{error.field} {error.message}" for error in shown[:5])
            raise refuse(Code.INVALID_REQUEST, detail, shown)
        request[QUERY] = values
        return await handler(request)

    return read


def _take(
    parameter: Parameter,
    untrusted_texts: Sequence[str],
    values: dict[str, Any],
    errors: list[FieldError],
) -> None:
    if not untrusted_texts:
        return
    if not parameter.repeatable and len(untrusted_texts) > 1:
        errors.append(FieldError(parameter.name, "may be given only once"))
        return
    try:
        parsed = [parameter.parse(text) for text in untrusted_texts]
    except Unacceptable as error:
        errors.append(FieldError(parameter.name, str(error)))
    else:
        values[parameter.name] = parsed if parameter.repeatable else parsed[0]


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise Unacceptable(f"must be one of {', '.join(State)}") from None


def _domain(text: str) -> str:
    if not (0 < len(text) <= 256 and text.isprintable()):
        raise Unacceptable("must be a domain's name or UUID")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= PAGE_MAX):
        raise Unacceptable(f"must be a whole number from 1 to {PAGE_MAX}")
    return int(text)


def _cursor(text: str) -> str:
    if not _UUID.match(text):
        raise Unacceptable("must be the next_cursor of a page")
    return text


def _wait(text: str) -> float:
    if not (_NUMBER.match(text) and float(text) <= WAIT_MAX_S):
        raise Unacceptable(f"must be seconds from 0 to {WAIT_MAX_S:g}")
    return float(text)


def _key(text: str) -> str:
    if not (0 < len(text) <= KEY_MAX and text.isprintable()):
        raise Unacceptable(f"must be 1 to {KEY_MAX} printable characters")
    return text


def query_values(request: web.Request) -> Mapping[str, Any]:
    """The parsed parameters of a request, by name; those not given are not in it."""
    values: Mapping[str, Any] = request[QUERY]
    return values


STATE: Final = Parameter(
    "state",
    "Only these states; may be repeated.",
    {"type": "array", "items": {"enum": [state.value for state in State]}},
    _state,
    repeatable=True,
)
DOMAIN: Final = Parameter(
    "domain",
    "Only migrations of this name or UUID.",
    {"type": "string", "minLength": 1, "maxLength": 256},
    _domain,
)
LIMIT: Final = Parameter(
    "limit",
    "Items of a page.",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT},
    _limit,
)
CURSOR: Final = Parameter(
    "cursor", "next_cursor of the page before.", {"type": "string", "format": "uuid"}, _cursor
)
WAIT: Final = Parameter(
    "wait",
    "Seconds to wait for the end.",
    {"type": "number", "minimum": 0, "maximum": WAIT_MAX_S, "default": 0},
    _wait,
)
KEY: Final = Parameter(
    "Idempotency-Key",
    "Makes a repeat return the first one.",
    {"type": "string", "minLength": 1, "maxLength": KEY_MAX},
    _key,
    where="header",
)
TRACEPARENT: Final = Parameter(
    "traceparent",
    "The trace that this belongs to, as the W3C writes it. What is not one, or comes more than"
    " once, is as if not given.",
    {"type": "string"},
    parse_traceparent,
    where="header",
    repeatable=True,
)
