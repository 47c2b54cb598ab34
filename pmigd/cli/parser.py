"""The command line as argparse sees it. Completion is generated from this same parser."""

from __future__ import annotations

import argparse
import os

from pmigd import __version__
from pmigd.cli import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pmigd.cli.command import Command

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


def build() -> argparse.ArgumentParser:
    """The whole parser. Unambiguous beginnings of options are refused: they may not stay so."""
    parser = argparse.ArgumentParser(
        prog="pmigctl",
        description="Live migration of this host's guests, by way of pmigd.",
        epilog=_EPILOG,
        formatter_class=_Help,
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
        title="commands",
        metavar="COMMAND",
        dest="command",
        required=True,
        parser_class=_CommandParser,
    )
    for name, words in commands.HELP.items():
        subparsers.add_parser(name, help=words)
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as argparse would make it.

    argparse asks shutil, and for every argument that is declared; it takes a tenth of a short run.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class _CommandParser(argparse.ArgumentParser):
    """The parser of one command, made when anything is asked of it.

    A run uses one of them, and all of them together take longer than most commands.
    """

    def __init__(self, *, prog: str) -> None:
        self.__dict__["_prog"] = prog

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there, so whatever is asked first makes the parser."""
        prog: str | None = self.__dict__.pop("_prog", None)
        if prog is None:
            raise AttributeError(name)
        self._make(prog, commands.load(prog.rpartition(" ")[2]))
        return getattr(self, name)

    def _make(self, prog: str, command: Command) -> None:
        super().__init__(
            prog=prog,
            description=command.description,
            epilog=command.epilog,
            usage=None if command.usage is None else f"{prog} {command.usage}",
            formatter_class=_Help,
            allow_abbrev=False,
            add_help=False,
        )
        command.add_arguments(self)
        # Accepted after the command as well. SUPPRESS, because a default here would overwrite what
        # was given before the command.
        _add_global(self, socket=argparse.SUPPRESS, as_json=argparse.SUPPRESS)
        self.set_defaults(run=command.run)


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
