"""Pause the guest so that its migration finishes: it writes nothing more while the rest is sent.

It runs again at the destination; if the migration fails or is aborted, here.
"""

from __future__ import annotations

from pmigd.cli import acting
from pmigd.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises ClientError."""
    asked = "pause of the guest requested"
    return acting.tell(output, client.suspend(client.find(args.id)), asked=asked)


COMMAND = Command(
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
