"""What the commands share that act on one migration: ask, and say what was asked for."""

from __future__ import annotations

from pmigd.cli import exits
from pmigd.cli.migration import Migration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Migration as Told


def add_id(parser: argparse.ArgumentParser) -> None:
    """Declare the one argument they have."""
    parser.add_argument("id", metavar="ID", help="the migration")


def tell(output: Output, answer: Told, *, asked: str) -> int:
    """Show the daemon's answer, the migration: what was asked for, unless it is over already."""
    if output.json:
        output.object(answer.raw)
        return exits.SUCCEEDED
    migration = Migration(answer.raw)
    output.line(
        f"{migration.domain}: {migration.state}"
        if migration.terminal
        else f"{migration.domain}: {asked} ({migration.state}); pmigctl show {migration.id}"
    )
    return exits.SUCCEEDED
