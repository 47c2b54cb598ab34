"""Show the open migrations: running, queued and unresolved; or all that are kept."""

from __future__ import annotations

from datetime import UTC, datetime

from pmigd.cli import exits, listing
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration
from pmigd.client.migration import OPEN_STATES, STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client

_EPILOG = """\
On a terminal IDs are as short as still tells them apart, and columns that do not fit are left out;
pmigctl watch --help says what they mean. "external" marks migrations that somebody started without
pmigd.

examples:
  pmigctl list
  pmigctl list --all --domain web1
  pmigctl list --state failed --state unresolved
  pmigctl --json list --all | jq -r '.items[] | [.id, .state] | @tsv'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--all", action="store_true", help="the finished ones as well")
    parser.add_argument("--domain", metavar="DOMAIN", help="of this guest only")
    parser.add_argument(
        "--state",
        action="append",
        choices=STATES,
        help="in this state only; may be given several times",
    )


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch every page and show it. Raises ClientError."""
    states = args.state or (() if args.all else OPEN_STATES)
    items = [m.raw for m in client.migrations(states, domain=args.domain or None)]
    if output.json:
        output.object({"items": items, "next_cursor": None})
        return exits.SUCCEEDED
    if output.terminal and not items:
        output.line("no such migrations" if args.all or args.state else _NONE)
        return exits.SUCCEEDED
    migrations, now = [Migration(item) for item in items], datetime.now(UTC)
    if output.terminal:
        output.table(listing.columns(ids=True), listing.rows(migrations, now, ids=True))
    else:
        output.table(listing.PLAIN, listing.plain_rows(migrations, now))
    return exits.SUCCEEDED


_NONE = "no open migrations (pmigctl list --all shows finished ones)"


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
