"""Resume a post-copy migration that is broken (state postcopy_paused).

The guest is at the destination and stands still as soon as it needs memory that is left on the
source. Mend the network between them first; what was sent is not sent a second time. What virsh
calls migrate --postcopy-resume.
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
    return acting.post(args, client, output, action="recover", asked="recovery requested")


COMMAND = Command(
    name="recover",
    help="resume a post-copy migration that is broken",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
