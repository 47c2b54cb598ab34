"""Close an unresolved migration by saying what really happened.

pmigd could not find out where the guest runs. Look at both hosts first: what is said here is
believed.
"""

from __future__ import annotations

from pmigd.cli import exits
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client

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
    """Say it. Raises ClientError."""
    answer = client.resolve(client.find(args.id), args.verdict).raw
    if output.json:
        output.object(answer)
    else:
        output.line(f"{Migration(answer).domain}: {Migration(answer).state}")
    return exits.SUCCEEDED


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
