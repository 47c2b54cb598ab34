"""Write again, or check, every file that is generated from the code.

python -m contrib.docs            write them
python -m contrib.docs --check    name those that are out of date, and exit 1
"""

from __future__ import annotations

import sys
from pathlib import Path

from contrib.docs.generated import outdated, write


def main(arguments: list[str]) -> int:
    """Write, or check."""
    root = Path(__file__).parents[2]
    if arguments == ["--check"]:
        stale = outdated(root)
        for path in stale:
            print(f"{path} is out of date: make docs")
        return 1 if stale else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for path in write(root):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
