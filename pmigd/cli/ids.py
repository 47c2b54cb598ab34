"""From what a person types to one migration: an ID, a unique prefix of one, or a guest's name.

Never guesses: what fits more than one migration is refused with the candidates named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pmigd.cli.errors import RefusedError
from pmigd.cli.figures import plain
from pmigd.cli.migration import OPEN_STATES, Migration

if TYPE_CHECKING:
    from pmigd.cli.client import Client

OPEN_QUERY = tuple(("state", state) for state in OPEN_STATES)

_FULL = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_SHOWN = 10


def resolve(client: Client, text: str) -> str:
    """The full ID of what ``text`` names. Raises RefusedError, UnreachableError."""
    prefix = text.strip().lower()
    if _FULL.fullmatch(prefix):
        return prefix
    if not prefix:
        raise _unknown(text, [])
    running = [Migration(item) for item in client.items("/v1/migrations", OPEN_QUERY)]
    fitting = [m for m in running if m.id.startswith(prefix) or _named(m, text)]
    finished: list[Migration] = []
    if not fitting:
        kept = [Migration(item) for item in client.items("/v1/migrations")]
        fitting = [m for m in kept if m.id.startswith(prefix)]
        finished = [m for m in kept if _named(m, text)]
    if len(fitting) == 1:
        return fitting[0].id
    if fitting:
        raise _ambiguous(text, fitting)
    raise _unknown(text, finished)


def _named(migration: Migration, text: str) -> bool:
    domain = migration.raw.get("domain")
    return isinstance(domain, dict) and domain.get("name") == text


def _describe(migrations: list[Migration]) -> str:
    shown = [f"{m.id} ({m.domain} {m.route}, {m.state})" for m in migrations[:_SHOWN]]
    if len(migrations) > _SHOWN:
        shown.append(f"and {len(migrations) - _SHOWN} more")
    return ", ".join(shown)


def _ambiguous(text: str, fitting: list[Migration]) -> RefusedError:
    return RefusedError(
        {
            "title": "Ambiguous ID",
            "detail": f"{plain(text)} fits {len(fitting)} migrations: {_describe(fitting)}",
            "code": "ambiguous_id",
            "remedy": "Give more of the ID.",
            "retryable": False,
            "errors": [],
        }
    )


def _unknown(text: str, finished: list[Migration]) -> RefusedError:
    detail = f"no ID begins with, and no open migration has the guest, {plain(text)}"
    remedy = "See pmigctl list --all."
    if finished:
        detail = f"{plain(text)} has no open migration; kept ones: {_describe(finished)}"
        remedy = "Give the ID of the one you mean."
    return RefusedError(
        {
            "title": "Unknown migration",
            "detail": detail,
            "code": "unknown_migration",
            "remedy": remedy,
            "retryable": False,
            "errors": [],
        }
    )
