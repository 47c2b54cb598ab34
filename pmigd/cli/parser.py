"""The command line as argparse sees it. Completion is generated from this same parser."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pmigd import __version__
from pmigd.cli import commands

if TYPE_CHECKING:
    from collections.abc import Container

_EPILOG = """\
An ID may be shortened as long as it is unique, or be a guest's name when exactly one open migration
has it.

exit codes:
  0    succeeded
  1    the migration failed
  2    wrong usage
  3    refused before it began (not valid, not allowed, queue full, no such migration)
  4    the migration was cancelled
  5    unresolved: the outcome is not known, an operator has to look
  6    the daemon is not reachable
  130  interrupted by Ctrl-C; a migration that was followed goes on
  143  ended by SIGTERM; the same

environment:
  PMIGD_SOCKET  the daemon's socket, where --socket is not given
  NO_COLOR      no colours
  TRACEPARENT   the trace that a migration belongs to, as the W3C writes it
  LC_ALL, LANG  bars are lines where these say UTF-8, else ASCII
  TERM          dumb: plain lines, as in a pipe
"""


def build(wanted: Container[str] | None = None) -> argparse.ArgumentParser:
    """The whole parser, or with the arguments of the ``wanted`` commands alone, which is quicker.

    Unambiguous beginnings of options are refused: they may not stay so.
    """
    parser = argparse.ArgumentParser(
        prog="pmigctl",
        description="Live migration of this host's guests, by way of pmigd.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    everywhere = _add_global(parser, socket=None, as_json=False)
    everywhere.add_argument(
        "--version",
        action="version",
        version=f"pmigctl {__version__}",
        help="print the version and stop",
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for command in commands.COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog,
            usage=None if command.usage is None else f"pmigctl {command.name} {command.usage}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        if wanted is not None and command.name not in wanted:
            continue
        command.add_arguments(sub)
        # Accepted after the command as well. SUPPRESS, because a default here would overwrite what
        # was given before the command.
        _add_global(sub, socket=argparse.SUPPRESS, as_json=argparse.SUPPRESS)
        sub.set_defaults(run=command.run)
    return parser


def _add_global(
    parser: argparse.ArgumentParser, *, socket: object, as_json: object
) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("everywhere")
    group.add_argument("-h", "--help", action="help", help="show this and stop")
    group.add_argument(
        "--socket",
        metavar="PATH",
        default=socket,
        help="the daemon's socket (default: $PMIGD_SOCKET or /run/pmigd/pmigd.sock)",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=as_json,
        help="one JSON object, or one a line for what goes on",
    )
    return group
