"""Show how pmigd itself is: version, libvirt, journal, limits, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import exits
from pmigd.cli.command import Command
from pmigd.cli.output import groups

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises CliError."""
    answer = client.get("/v1/status")
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    for text in groups(answer):
        output.line(text)
    return exits.SUCCEEDED


COMMAND = Command(
    name="status",
    help="how pmigd itself is",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
