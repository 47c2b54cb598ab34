"""Change a migration that is running or queued.

Several are changed one after the other, and the first that the hypervisor refuses ends it: pmigctl
get shows what is in force.
"""

from __future__ import annotations

from pmigd.cli import acting, options, settings
from pmigd.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client

_EPILOG = """\
examples:
  pmigctl set web1 --max-downtime 2000 --bandwidth 0
      it may pause for two seconds, and use all of the network
  pmigctl set web1 --priority 100
      it waits, and shall be the next to go
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    acting.add_id(parser)
    options.add(parser, options.SET)
    parser.set_defaults(wrong_usage=parser.error)


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Ask. Raises ClientError, and SystemExit when there is nothing to change."""
    wanted = options.fields(args, options.SET)
    if not wanted:
        flags = [option.flags[0] for _, rows in options.SET for option in rows]
        args.wrong_usage(f"say what to change: at least one of {', '.join(flags)}")
    answer = client.set(client.find(args.id), **wanted)
    changes = ", ".join(settings.phrase(name, value) for name, value in wanted.items())
    return acting.tell(output, answer, asked=f"{changes} requested")


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=options.UNITS + _EPILOG,
)
