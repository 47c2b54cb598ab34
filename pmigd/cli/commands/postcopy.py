"""Switch a migration over to post-copy: the guest runs at the destination at once.

It fetches the rest of its memory from there, so it always finishes, however busy the guest. From
then on it cannot be aborted, and a network that breaks stops the guest until pmigctl recover. Only
a migration that was started with --postcopy can do so.
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
    return acting.tell(output, client.postcopy(client.find(args.id)), asked="post-copy requested")


COMMAND = Command(
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
