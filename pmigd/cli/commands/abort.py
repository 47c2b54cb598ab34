"""Ask pmigd to abort a migration. The guest stays (or goes on running) where it is.

Returns when the request is accepted; the migration ends a moment later. In post-copy it is refused:
the guest runs at the destination already, and part of its memory exists only there.
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
    return acting.post(args, client, output, action="abort", asked="abort requested")


COMMAND = Command(
    name="abort",
    help="abort a migration that is running or queued",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
