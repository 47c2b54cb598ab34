"""Move a guest to another host and wait for the outcome.

The migration belongs to pmigd: whatever becomes of this command, it goes on. Ctrl-C asks whether to
abort it or to leave it running; a second Ctrl-C leaves. In post-copy it can only be left.
"""

from __future__ import annotations

import os

from pmigd.cli import exits, options
from pmigd.cli.command import Command
from pmigd.cli.migration import Migration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

_EPILOG = """\
examples:
  pmigctl migrate web1 hostb
      live, to the peer called hostb, keeping web1 as persistent as it is
  pmigctl migrate web1 hostb --bandwidth 200 --timeout 600 --timeout-suspend
      at 200 MiB/s; pause the guest after ten minutes if it has not moved by then
  pmigctl migrate web1 hostb --max-downtime 1000 --auto-converge
      a busy guest: it may pause for a second, and is slowed down while it is not caught up with
  pmigctl migrate web1 hostb --postcopy --timeout 300 --timeout-postcopy
      after five minutes it runs at hostb at once and fetches the rest of its memory from there
  pmigctl migrate web1 hostb --parallel-connections 4 --tls
      encrypted, over four connections
  pmigctl migrate web1 hostb --copy-storage-all --migrate-disks vda
      with a copy of one disk, for which hostb has an empty one of the same size
  pmigctl migrate web1 hostb --detach
      only print the ID; follow it later with: pmigctl watch ID
  pmigctl --json migrate web1 hostb | jq -r .migration.state
      one JSON object for every event
"""

_TRACEPARENT_MAX = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_route(parser)
    options.add(parser, options.MIGRATE)


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Submit, then follow unless told not to. Raises ClientError."""
    from pmigd.cli.interrupts import Interrupts

    body = options.body(args, options.MIGRATE)
    with Interrupts() as interrupts:
        migration = _submit(client, output, body, getattr(args, "idempotency_key", None))
        if getattr(args, "detach", False):
            if output.json:
                output.object(migration.raw)
            else:
                output.line(migration.id)
            return exits.SUCCEEDED
        if not output.json:
            output.line(f"{migration.domain}: migration {migration.id} {migration.route}")
        # Only now, while the daemon is at it already: most of them take longer than a submission.
        from pmigd.cli.feed import Feed
        from pmigd.cli.follow import Follower, view_for

        view = view_for(output, verbose=getattr(args, "verbose", False))
        with Feed(client, migration.id) as feed:
            interrupts.tell(feed.interrupt)
            return Follower(client, output, view, submitted=True).run(feed, migration.id)


def _submit(client: Client, output: Output, body: JsonObject, key: str | None) -> Migration:
    """Ask for it. Raises ClientError."""
    from pmigd.client.errors import OutcomeUnknownError

    def told(reason: str) -> None:
        output.note(f"lost the daemon before it answered ({reason}); asking again")

    try:
        return Migration(client.submit(key=key, traceparent=_trace(), told=told, **body).raw)
    except OutcomeUnknownError as error:
        error.problem["remedy"] = (
            "look with pmigctl list --all once the daemon is back, or repeat the command with"
            f" --idempotency-key {error.key}, which returns the first migration if there is one"
        )
        raise


def _trace() -> str | None:
    """The trace that this command is part of; what is not one is for the daemon to ignore."""
    text = os.environ.get("TRACEPARENT", "")
    fits = text.isascii() and text.isprintable() and 0 < len(text) <= _TRACEPARENT_MAX
    return text if fits else None


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=options.UNITS + _EPILOG,
    usage="DOMAIN DESTINATION [option ...]",
)
