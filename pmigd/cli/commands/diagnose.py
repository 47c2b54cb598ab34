"""Print a support bundle: one JSON object with all that somebody who helps would ask for.

Versions, configuration, limits, peers and whether they answer, open migrations in full, how the
last ones ended, the journal and its disk, certificates, threads, the last warnings and errors, and
the unit. It has no passwords, keys or XML; look through it all the same before you send it: guests,
hosts and users have their names in it. What could not be had is named under "failed".
"""

from __future__ import annotations

import json

from pmigd.cli import exits
from pmigd.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client

_EPILOG = """\
examples:
  pmigctl diagnose > pmigd-$(hostname)-$(date +%F).json
  pmigctl diagnose | jq '.log[-5:], .failed'
"""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and print. Raises ClientError."""
    answer = client.get("/v1/diagnose")
    if output.json:
        output.object(answer)
    else:
        for text in json.dumps(answer, indent=2).splitlines():
            output.line(text)
    return exits.SUCCEEDED


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
