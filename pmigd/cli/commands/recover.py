"""Resume a post-copy migration that is broken (state postcopy_paused).

The guest is at the destination and stands still as soon as it needs memory that is left on the
source. Mend the network between them first; what was sent is not sent a second time. What virsh
calls migrate --postcopy-resume.
"""

from __future__ import annotations

from pmigd.cli import acting
from pmigd.cli.command import Subcommand
from pmigd.core.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client, Migration


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises ClientError."""
    answer = client.recover(client.find(args.id))
    return acting.tell(output, answer, asked=_asked(answer))


def _asked(answer: Migration) -> str:
    """What the daemon has made of it: recorded, and why it waits, or nothing."""
    entries = [x for x in answer.actions if x.get("action") == "recover"]
    pending = bool(entries) and entries[-1].get("outcome") == "pending"
    if not pending and answer.state == "postcopy":
        return "nothing to recover, it goes on"
    waits = entries[-1].get("waits") if pending else None
    return "recovery requested" + (f", but {printable(str(waits))}" if waits else "")


COMMAND = Subcommand(
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
