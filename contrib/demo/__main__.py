"""`python -m contrib.demo`: run the demonstration; 0 if everything was as it must be."""

from __future__ import annotations

import argparse
import sys

from contrib.demo.show import show
from contrib.lab import LabError, LabUnavailable


def main() -> int:
    """Run the command line; its exit code."""
    argparse.ArgumentParser(prog="python -m contrib.demo", description=__doc__).parse_args()
    try:
        return show()
    except LabUnavailable as error:
        print("The demonstration cannot run here. Missing:", file=sys.stderr)
        for item in error.missing:
            print(f"  {item}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"The demonstration failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything is cleaned up.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
