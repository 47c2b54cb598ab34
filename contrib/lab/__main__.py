"""`python -m contrib.lab check`, `shell`, and `root SUITE`."""

from __future__ import annotations

import argparse
import sys

from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.requirements import missing
from contrib.lab.roots import build_root
from contrib.lab.shell import shell


def _check() -> int:
    lacking = missing()
    for item in lacking:
        print(f"missing: {item}")
    if lacking:
        return 1
    print("the lab can run here")
    for item in missing(tls=True):
        print(f"missing for hosts with TLS: {item}")
    for item in missing(ssh=True):
        print(f"missing for hosts with ssh: {item}")
    return 0


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m contrib.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what this machine lacks for a lab")
    interactive = commands.add_parser("shell", help="start a lab and open a shell in it")
    interactive.add_argument("--hosts", type=int, default=2, choices=range(1, 27), metavar="N")
    root = commands.add_parser("root", help="make the root for hosts of another Debian suite")
    root.add_argument("suite", help="for example trixie")
    arguments = parser.parse_args()
    try:
        if arguments.command == "check":
            return _check()
        if arguments.command == "root":
            build_root(arguments.suite, lambda line: print(line, flush=True))
            return 0
        return shell(arguments.hosts)
    except LabUnavailable as error:
        for item in error.missing:
            print(f"missing: {item}", file=sys.stderr)
        return 1
    except ValueError as error:
        parser.error(str(error))
    except LabError as error:
        print(f"the lab failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
