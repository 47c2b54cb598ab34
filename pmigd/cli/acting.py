"""What the commands share that act on one migration: ask, and say what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import exits, ids
from pmigd.cli.client import migration_path
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.errors import JsonObject
    from pmigd.cli.output import Output


def add_id(parser: argparse.ArgumentParser) -> None:
    """Declare the one argument they have."""
    parser.add_argument("id", metavar="ID", help="the migration")


def post(
    args: argparse.Namespace, client: Client, output: Output, *, action: str, asked: str
) -> int:
    """Ask for ``action``. Raises CliError; a state in which it makes no sense is a refusal."""
    migration_id = ids.resolve(client, args.id)
    return tell(output, client.post(migration_path(migration_id, action)), asked=asked)


def tell(output: Output, answer: JsonObject, *, asked: str) -> int:
    """Show the daemon's answer, the migration: what was asked for, unless it is over already."""
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    migration = Migration(answer)
    output.line(
        f"{migration.domain}: {migration.state}"
        if migration.terminal
        else f"{migration.domain}: {asked} ({migration.state}); pmigctl show {migration.id}"
    )
    return exits.SUCCEEDED
