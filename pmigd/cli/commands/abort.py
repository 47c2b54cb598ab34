"""Ask pmigd to abort a migration. The guest stays (or goes on running) where it is.

Returns when the request is accepted; the migration ends a moment later. In post-copy it is refused:
the guest runs at the destination already, and part of its memory exists only there.
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
    return acting.tell(output, client.abort(client.find(args.id)), asked="abort requested")


COMMAND = Command(
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
