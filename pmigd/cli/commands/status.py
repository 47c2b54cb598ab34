"""Show how pmigd itself is: first in a few words, then everything it says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from pmigd.cli import exits, figures
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration
from pmigd.cli.output import groups, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final

    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

PAGE: Final = 200
"""As many as the daemon tells at once, newest first: the head of a longer queue is not in it."""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises ClientError."""
    answer = client.get("/v1/status")
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    now = datetime.now(UTC)
    queued = _object(answer, "migrations").get("queued")
    first = _first(client) if isinstance(queued, int) and 0 < queued <= PAGE else None
    for text in [*_summary(answer, first, now), "", *groups(answer)]:
        output.line(text)
    return exits.SUCCEEDED


def _first(client: Client) -> Migration | None:
    """The queued migration whose turn is next."""
    items = client.get("/v1/migrations", [("state", "queued"), ("limit", str(PAGE))]).get("items")
    queued = [Migration(m) for m in items if isinstance(m, dict)] if isinstance(items, list) else []
    return min(queued, key=lambda m: (m.place, m.id), default=None)


def _summary(status: JsonObject, first: Migration | None, now: datetime) -> list[str]:
    """A few lines that say it all to somebody in a hurry."""
    head = f"{one_line(status.get('name'))}: {_readiness(status)}"
    head += f"; pmigd {one_line(status.get('version'))}"
    if status.get("started_at"):
        head += f", up for {figures.age(status['started_at'], now)}"
    limits, migrations = _object(status, "limits"), _object(status, "migrations")
    lines = [head]
    if limits:
        lines.append(f"running: {_of(limits, 'outgoing')} out, {_of(limits, 'incoming')} in")
    if migrations.get("queued"):
        line = f"queued: {migrations['queued']}"
        if first is not None and (waiting := first.waiting(now)) is not None:
            line += f"; the first, {first.domain}, waits for {waiting}"
        lines.append(line)
    elif migrations:
        lines.append("queued: none")
    if migrations.get("unresolved"):
        lines.append(
            f"UNRESOLVED: {migrations['unresolved']}; look at both hosts:"
            " pmigctl list --state unresolved"
        )
    return lines + [
        f"CERTIFICATE: {one_line(fault.get('file'))} ({one_line(fault.get('key'))})"
        f" {one_line(fault.get('detail'))}; wanted: {one_line(fault.get('accepted'))}"
        for fault in status.get("certificates") or []
        if isinstance(fault, dict)
    ]


def _readiness(status: JsonObject) -> str:
    if status.get("ready"):
        return "ready"
    missing = _object(status, "missing")
    reasons = [f"{one_line(part)}: {one_line(why)}" for part, why in missing.items()]
    return f"NOT READY ({'; '.join(reasons) or 'it does not say why'})"


def _of(limits: JsonObject, direction: str) -> str:
    held, limit = limits.get(f"held_{direction}"), limits.get(f"max_{direction}")
    return f"{figures.by_unit('held', held)} of {figures.by_unit('max', limit)}"


def _object(value: JsonObject, key: str) -> JsonObject:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
