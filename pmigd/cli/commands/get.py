"""Show the settings that are in force for a migration: what pmigctl set changes."""

from __future__ import annotations

from pmigd.cli import acting, exits, settings
from pmigd.cli.command import Command
from pmigd.cli.output import groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises ClientError."""
    answer = client.settings(client.find(args.id))
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    known = {key: settings.value(key, value) for key, value in answer.items()}
    for text in groups(known):
        output.line(text)
    return exits.SUCCEEDED


COMMAND = Command(
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
