"""Close an unresolved migration by saying what really happened.

pmigd could not find out where the guest runs. Look at both hosts first: what is said here is
believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import exits, ids
from pmigd.cli.client import migration_path
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output

_EPILOG = """\
example:
  pmigctl resolve web1 --as succeeded
      web1 was seen running on the destination, and only there
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("id", metavar="ID", help="the migration")
    parser.add_argument(
        "--as",
        dest="verdict",
        required=True,
        choices=("succeeded", "failed"),
        help="succeeded: the guest runs on the destination; failed: it stayed on the source",
    )


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Say it. Raises CliError."""
    migration_id = ids.resolve(client, args.id)
    answer = client.post(migration_path(migration_id, "resolve"), {"as": args.verdict})
    if output.json:
        output.object(answer)
    else:
        output.line(f"{Migration(answer).domain}: {Migration(answer).state}")
    return exits.SUCCEEDED


COMMAND = Command(
    name="resolve",
    help="close an unresolved migration as succeeded or failed",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
