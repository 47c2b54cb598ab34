"""Show the open migrations: running, queued and unresolved; or all that are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pmigd.cli import exits, listing
from pmigd.cli.command import Command
from pmigd.cli.ids import OPEN_QUERY
from pmigd.cli.migration import STATES, Migration

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output

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
    """Fetch every page and show it. Raises CliError."""
    query: list[tuple[str, str]] = []
    if args.state:
        query += [("state", state) for state in args.state]
    elif not args.all:
        query += OPEN_QUERY
    if args.domain:
        query.append(("domain", args.domain))
    items = list(client.items("/v1/migrations", query))
    if output.json:
        output.object({"items": items, "next_cursor": None})
        return exits.SUCCEEDED
    if output.terminal and not items:
        output.line("no such migrations" if args.all or query[:1] != [OPEN_QUERY[0]] else _NONE)
        return exits.SUCCEEDED
    migrations, now = [Migration(item) for item in items], datetime.now(UTC)
    if output.terminal:
        output.table(listing.columns(ids=True), listing.rows(migrations, now, ids=True))
    else:
        output.table(listing.PLAIN, listing.plain_rows(migrations, now))
    return exits.SUCCEEDED


_NONE = "no open migrations (pmigctl list --all shows finished ones)"


COMMAND = Command(
    name="list",
    help="migrations running and queued, or all that are kept",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
