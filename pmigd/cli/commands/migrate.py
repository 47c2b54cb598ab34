"""Move a guest to another host and wait for the outcome.

The migration belongs to pmigd: whatever becomes of this command, it goes on. Ctrl-C asks whether to
abort it or to leave it running; a second Ctrl-C leaves. In post-copy it can only be left.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pmigd.cli import exits, options
from pmigd.cli.command import Command
from pmigd.cli.errors import BrokenError, JsonObject, UnreachableError
from pmigd.cli.migration import Migration

if TYPE_CHECKING:
    import argparse

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output

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

RETRY_S = 60.0
_TRACEPARENT_MAX = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_route(parser)
    options.add(parser, options.MIGRATE)


def run(args: argparse.Namespace, client: Client, output: Output) -> int:
    """Submit, then follow unless told not to. Raises CliError."""
    # Here, because list and show need no threads.
    from pmigd.cli.feed import Feed
    from pmigd.cli.follow import Follower, view_for
    from pmigd.cli.interrupts import Interrupts

    body = options.body(args, options.MIGRATE)
    key = getattr(args, "idempotency_key", None) or os.urandom(16).hex()
    with Interrupts() as interrupts:
        migration = Migration(_submit(client, output, body, key))
        if getattr(args, "detach", False):
            if output.json:
                output.object(migration.raw)
            else:
                output.line(migration.id)
            return exits.SUCCEEDED
        if not output.json:
            output.line(f"{migration.domain}: migration {migration.id} {migration.route}")
        view = view_for(output, verbose=getattr(args, "verbose", False))
        with Feed(client, migration.id) as feed:
            interrupts.tell(feed.interrupt)
            return Follower(client, output, view, submitted=True).run(feed, migration.id)


def _submit(client: Client, output: Output, body: JsonObject, key: str) -> JsonObject:
    """POST the request; repeat it when the connection broke before the answer.

    The daemon may have been restarted between accepting and answering. The idempotency key makes
    the repeat return that same migration; without one a repeat could move a guest twice.
    """
    headers = {"Idempotency-Key": key, **_trace()}
    try:
        return client.post("/v1/migrations", body, headers)
    except BrokenError as error:
        output.note(f"lost the daemon before it answered ({error.reason}); asking again")
        broken = error
    deadline = time.monotonic() + RETRY_S
    pause_s = 0.1
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)
        try:
            return client.post("/v1/migrations", body, headers)
        except UnreachableError:
            continue
    broken.problem["detail"] += "; whether the migration was accepted is not known"
    broken.problem["remedy"] = (
        "look with pmigctl list --all once the daemon is back, or repeat the command with"
        f" --idempotency-key {key}, which returns the first migration if there is one"
    )
    raise broken


def _trace() -> dict[str, str]:
    """The trace that this command is part of; what is not one is for the daemon to ignore."""
    text = os.environ.get("TRACEPARENT", "")
    fits = text.isascii() and text.isprintable() and 0 < len(text) <= _TRACEPARENT_MAX
    return {"traceparent": text} if fits else {}


COMMAND = Command(
    name="migrate",
    help="move a guest to another host and show how it goes",
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=options.UNITS + _EPILOG,
    usage="DOMAIN DESTINATION [option ...]",
)
