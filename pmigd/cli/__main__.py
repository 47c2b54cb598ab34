"""``python -m pmigd.cli`` is pmigctl."""

from pmigd.cli.main import program

program()
