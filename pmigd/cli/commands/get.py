"""Show the settings that are in force for a migration: what pmigctl set changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import acting, exits, ids, settings
from pmigd.cli.client import migration_path
from pmigd.cli.command import Command
from pmigd.cli.output import groups

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises CliError."""
    answer = client.get(migration_path(ids.resolve(client, args.id), "settings"))
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    known = {key: settings.value(key, value) for key, value in answer.items()}
    for text in groups(known):
        output.line(text)
    return exits.SUCCEEDED


COMMAND = Command(
    name="get",
    help="the settings in force: the counterpart of set",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
