"""`python -m contrib.lab check` and `python -m contrib.lab shell`."""

from __future__ import annotations

import argparse
import sys

from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.requirements import missing
from contrib.lab.shell import shell


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contrib.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what this machine lacks for a lab")
    interactive = commands.add_parser("shell", help="start a lab and open a shell in it")
    interactive.add_argument("--hosts", type=int, default=2, choices=range(1, 27), metavar="N")
    arguments = parser.parse_args()
    try:
        if arguments.command == "check":
            lacking = missing()
            for item in lacking:
                print(f"missing: {item}")
            if not lacking:
                print("the lab can run here")
            return 1 if lacking else 0
        return shell(arguments.hosts)
    except LabUnavailable as error:
        for item in error.missing:
            print(f"missing: {item}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"the lab failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
