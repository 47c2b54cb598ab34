"""Ask pmigd to abort a migration. The guest stays (or goes on running) where it is.

Returns when the request is accepted; the migration ends a moment later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import exits, ids
from pmigd.cli.client import migration_path
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", help="the migration")


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises CliError; a state in which it makes no sense is a refusal."""
    migration_id = ids.resolve(client, args.id)
    answer = client.post(migration_path(migration_id, "abort"))
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    migration = Migration(answer)
    output.line(
        f"{migration.domain}: cancelled"
        if migration.state == "cancelled"
        else f"{migration.domain}: abort requested ({migration.state}); pmigctl show {migration_id}"
    )
    return exits.SUCCEEDED


COMMAND = Command(
    name="abort",
    help="abort a migration that is running or queued",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
