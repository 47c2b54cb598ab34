"""pmigd as it is, and how long each turn of its event loop is at work.

``python -m tests.support.measured FILE`` and pmigd's arguments. FILE gets a line for every turn
that took more than a few milliseconds of the processor: what others had to wait for, however busy
the machine was with other things.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import pmigd.daemon.main

TOLD_S: Final = 0.005


def main(file: Path, arguments: list[str]) -> int:
    """Run pmigd, measured."""
    turn = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]
    said = file.open("w", buffering=1)

    def measured(loop: asyncio.BaseEventLoop) -> None:
        began = time.thread_time()
        turn(loop)
        took = time.thread_time() - began
        if took > TOLD_S:
            said.write(f"{took}\n")

    asyncio.BaseEventLoop._run_once = measured  # type: ignore[attr-defined]
    return pmigd.daemon.main.main(arguments)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
