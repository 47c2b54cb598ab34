"""Switch a migration over to post-copy: the guest runs at the destination at once.

It fetches the rest of its memory from there, so it always finishes, however busy the guest. From
then on it cannot be aborted, and a network that breaks stops the guest until pmigctl recover. Only
a migration that was started with --postcopy can do so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import acting
from pmigd.cli.command import Command

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises CliError."""
    return acting.post(args, client, output, action="postcopy", asked="post-copy requested")


COMMAND = Command(
    name="postcopy",
    help="run the guest at the destination now, and send the rest after it",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
