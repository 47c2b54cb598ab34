"""What every command's module offers as ``COMMAND``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pmigd.cli.output import Output
    from pmigd.client import Client


class Command:
    """One command. ``run`` returns the exit code or raises ClientError.

    ``usage`` is what follows the name, where argparse's own would fill the screen.
    """

    __slots__ = ("add_arguments", "description", "epilog", "run", "usage")

    def __init__(
        self,
        *,
        description: str | None,
        add_arguments: Callable[[argparse.ArgumentParser], None],
        run: Callable[[argparse.Namespace, Client, Output], int],
        epilog: str | None = None,
        usage: str | None = None,
    ) -> None:
        self.description = description
        self.add_arguments = add_arguments
        self.run = run
        self.epilog = epilog
        self.usage = usage
