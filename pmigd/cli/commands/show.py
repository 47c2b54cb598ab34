"""Show one migration in full: what was asked, where it stands, what was done and why."""

from __future__ import annotations

from datetime import UTC, datetime

from pmigd.cli import exits
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration, action
from pmigd.cli.output import groups, key_values, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject


_GROUPS = ("waiting_for", "progress", "result", "problem", "actions", "request")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", help="the migration")


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch it and show it. Raises ClientError."""
    found = client.migration(client.find(args.id)).raw
    if output.json:
        output.object(found)
        return exits.SUCCEEDED
    for text in describe(found, datetime.now(UTC)):
        output.line(text)
    return exits.SUCCEEDED


def describe(raw: JsonObject, now: datetime) -> list[str]:
    """The lines of one migration. Fields that are null are left out, unknown ones are shown."""
    migration = Migration(raw)
    own = {k: v for k, v in raw.items() if k not in _GROUPS and v not in (None, [], {})}
    domain = own.get("domain")
    if isinstance(domain, dict):
        own["domain"] = f"{domain.get('name')} ({domain.get('uuid')})"
    if migration.percent is not None:
        own["percent"] = migration.percent
    lines = groups(own)
    if (waiting := migration.waiting(now)) is not None:
        lines += ["", "waits for:", f"  {waiting}"]
    if owed := migration.owed_words(now):
        lines += ["", "asked for and not done yet:", f"  {owed}"]
    for key in ("progress", "result"):
        values = raw.get(key)
        if isinstance(values, dict):
            lines += _group(key, {k: v for k, v in values.items() if v is not None})
    if migration.problem is not None:
        lines += _problem(migration.problem)
    if migration.actions:
        lines += ["", "actions:", *(f"  {action(entry)}" for entry in migration.actions)]
    request = raw.get("request")
    if isinstance(request, dict):
        lines += _group("request", {k: v for k, v in request.items() if v not in (None, [], {})})
    return lines


def _group(title: str, values: JsonObject) -> list[str]:
    return ["", f"{title}:", *(f"  {text}" if text else "" for text in groups(values))]


def _problem(problem: JsonObject) -> list[str]:
    first = ("title", "detail", "code", "remedy", "retryable")
    values = {k: one_line(problem[k]) for k in first if problem.get(k) not in (None, "")}
    if isinstance(problem.get("retryable"), bool):
        values["retryable"] = "yes" if problem["retryable"] else "no"
    lines = ["", "problem:", *(f"  {text}" for text in key_values(values))]
    errors = problem.get("errors")
    return lines + [
        f"  {one_line(error.get('field'))}: {one_line(error.get('message'))}"
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
