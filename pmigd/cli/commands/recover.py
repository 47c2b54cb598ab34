"""Resume a post-copy migration that is broken (state postcopy_paused).

The guest is at the destination and stands still as soon as it needs memory that is left on the
source. Mend the network between them first; what was sent is not sent a second time. What virsh
calls migrate --postcopy-resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import acting, figures, ids
from pmigd.cli.client import migration_path
from pmigd.cli.command import Command

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.errors import JsonObject
    from pmigd.cli.output import Output


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises CliError."""
    migration_id = ids.resolve(client, args.id)
    answer = client.post(migration_path(migration_id, "recover"))
    return acting.tell(output, answer, asked=_asked(answer))


def _asked(answer: JsonObject) -> str:
    """What the daemon has made of it: recorded, and why it waits, or nothing."""
    entries = [x for x in answer.get("actions") or [] if x.get("action") == "recover"]
    pending = bool(entries) and entries[-1].get("outcome") == "pending"
    if not pending and answer.get("state") == "postcopy":
        return "nothing to recover, it goes on"
    waits = entries[-1].get("waits") if pending else None
    return "recovery requested" + (f", but {figures.plain(str(waits))}" if waits else "")


COMMAND = Command(
    name="recover",
    help="resume a post-copy migration that is broken",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
