"""What every command's module offers as ``COMMAND``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pmigd.cli.client import Client
    from pmigd.cli.output import Output


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``run`` returns the exit code or raises CliError."""

    name: str
    help: str
    description: str | None
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Client, Output], int]
    epilog: str | None = None
    usage: str | None = None  # what follows the name, where argparse's would fill the screen
