"""From what a person types to one migration: an ID, a unique prefix of one, or a guest's name.

Never guesses: what fits more than one migration is refused with the candidates named.
"""

from __future__ import annotations

from pmigd.client.errors import RefusedError
from pmigd.client.migration import OPEN_STATES, Migration
from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pmigd.client.calls import Calls

_LENGTHS = (8, 4, 4, 4, 12)
_HEX = frozenset("0123456789abcdef")
_SHOWN = 10


async def find(calls: Calls, text: str) -> str:
    """The full ID of what ``text`` names. Raises RefusedError, UnreachableError."""
    prefix = text.strip().lower()
    if _whole(prefix):
        return prefix
    if not prefix:
        raise _unknown(text, [])
    running = [m async for m in calls.migrations(OPEN_STATES)]
    fitting = [m for m in running if m.id.startswith(prefix) or m.domain == text]
    finished: list[Migration] = []
    if not fitting:
        kept = [m async for m in calls.migrations()]
        fitting = [m for m in kept if m.id.startswith(prefix)]
        finished = [m for m in kept if m.domain == text]
    if len(fitting) == 1:
        return fitting[0].id
    if fitting:
        raise _ambiguous(text, fitting)
    raise _unknown(text, finished)


def _whole(text: str) -> bool:
    parts = text.split("-")
    return tuple(map(len, parts)) == _LENGTHS and all(map(_HEX.issuperset, parts))


def _describe(migrations: list[Migration]) -> str:
    shown = [
        f"{m.id} ({m.domain} {m.source}->{m.destination}, {m.state})" for m in migrations[:_SHOWN]
    ]
    if len(migrations) > _SHOWN:
        shown.append(f"and {len(migrations) - _SHOWN} more")
    return ", ".join(shown)


def _ambiguous(text: str, fitting: list[Migration]) -> RefusedError:
    return _refused(
        "Ambiguous ID",
        f"{text} fits {len(fitting)} migrations: {_describe(fitting)}",
        "ambiguous_id",
        "Give more of the ID.",
    )


def _unknown(text: str, finished: list[Migration]) -> RefusedError:
    detail = f"no ID begins with, and no open migration has the guest, {text}"
    remedy = "See pmigctl list --all."
    if finished:
        detail = f"{text} has no open migration; kept ones: {_describe(finished)}"
        remedy = "Give the ID of the one you mean."
    return _refused("Unknown migration", detail, "unknown_migration", remedy)


def _refused(title: str, detail: str, code: str, remedy: str) -> RefusedError:
    return RefusedError(
        {
            "title": title,
            "detail": printable(detail),
            "code": code,
            "remedy": remedy,
            "retryable": False,
            "errors": [],
        }
    )
