"""Show the hosts that guests can be sent to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pmigd.cli import exits
from pmigd.cli.command import Command
from pmigd.cli.output import Column, one_line

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises CliError."""
    if output.json:
        output.object(client.get("/v1/peers"))
        return exits.SUCCEEDED
    items = list(client.items("/v1/peers"))
    # Known columns first, whatever else the daemon says after them.
    keys = list(dict.fromkeys(["name", "uri", "migrate_uri", *(k for item in items for k in item)]))
    columns = [Column(k.upper(), drop=0 if k == "name" else i) for i, k in enumerate(keys)]
    output.table(columns, [[_cell(item.get(k)) for k in keys] for item in items])
    return exits.SUCCEEDED


def _cell(value: object) -> str:
    if value in (None, "", [], {}):
        return "-"
    return one_line(json.dumps(value) if isinstance(value, dict | list) else value)


COMMAND = Command(
    name="peers",
    help="the hosts that guests can be sent to",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
