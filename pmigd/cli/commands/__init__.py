"""One module per command, in the order --help shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli.commands import abort, completion, migrate, peers, resolve, show, status, watch
from pmigd.cli.commands import list as list_

if TYPE_CHECKING:
    from pmigd.cli.command import Command

COMMANDS: tuple[Command, ...] = (
    migrate.COMMAND,
    list_.COMMAND,
    show.COMMAND,
    watch.COMMAND,
    abort.COMMAND,
    resolve.COMMAND,
    peers.COMMAND,
    status.COMMAND,
    completion.COMMAND,
)
