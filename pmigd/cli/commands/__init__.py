"""One module per command, in the order --help shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pmigd.cli.commands import (
    abort,
    check,
    completion,
    diagnose,
    get,
    limits,
    migrate,
    peers,
    postcopy,
    recover,
    resolve,
    show,
    status,
    suspend,
    watch,
)
from pmigd.cli.commands import list as list_
from pmigd.cli.commands import set as set_

if TYPE_CHECKING:
    from pmigd.cli.command import Command

COMMANDS: tuple[Command, ...] = (
    migrate.COMMAND,
    check.COMMAND,
    list_.COMMAND,
    show.COMMAND,
    watch.COMMAND,
    abort.COMMAND,
    postcopy.COMMAND,
    suspend.COMMAND,
    recover.COMMAND,
    set_.COMMAND,
    get.COMMAND,
    resolve.COMMAND,
    limits.COMMAND,
    peers.COMMAND,
    status.COMMAND,
    diagnose.COMMAND,
    completion.COMMAND,
)
