"""One module per command, of the same name; each offers a ``COMMAND``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pmigd.cli.command import Command

HELP = {
    "migrate": "move a guest to another host and show how it goes",
    "check": "whether a migration would go well, without starting it",
    "list": "migrations running and queued, or all that are kept",
    "show": "one migration in full",
    "watch": "follow one migration, or all, as they go on",
    "abort": "abort a migration that is running or queued",
    "postcopy": "run the guest at the destination now, and send the rest after it",
    "suspend": "pause the guest so that its migration finishes",
    "recover": "resume a post-copy migration that is broken",
    "set": "change a migration that is running or queued",
    "get": "the settings in force: the counterpart of set",
    "resolve": "close an unresolved migration as succeeded or failed",
    "limits": "what migrations need of this host, and how much of it is left",
    "peers": "the hosts that guests can be sent to, and whether their pmigd answer",
    "status": "how pmigd itself is",
    "diagnose": "a support bundle without secrets, as JSON",
    "completion": "print a completion script for bash or zsh",
}
"""All of them with what --help says of each, in its order."""


def load(name: str) -> Command:
    """A command's own module is imported only when that command is asked for."""
    from importlib import import_module

    command: Command = import_module(f"{__name__}.{name}").COMMAND
    return command
