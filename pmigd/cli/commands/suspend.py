"""Pause the guest so that its migration finishes: it writes nothing more while the rest is sent.

It runs again at the destination; if the migration fails or is aborted, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli import acting
from pmigd.cli.command import Command

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises CliError."""
    asked = "pause of the guest requested"
    return acting.post(args, client, output, action="suspend", asked=asked)


COMMAND = Command(
    name="suspend",
    help="pause the guest so that its migration finishes",
    description=__doc__,
    add_arguments=acting.add_id,
    run=run,
)
