"""Print a completion script for your shell."""

from __future__ import annotations

from pmigd.cli import exits
from pmigd.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client

_EPILOG = """\
examples:
  pmigctl completion bash > /etc/bash_completion.d/pmigctl
  pmigctl completion zsh > "${fpath[1]}/_pmigctl"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell")


def run(args: argparse.Namespace, _client: Client, output: Output) -> int:
    """Print it; the daemon is not asked."""
    from pmigd.cli import parser, shells

    output.line(shells.script(args.shell, parser.build()).rstrip("\n"))
    return exits.SUCCEEDED


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
