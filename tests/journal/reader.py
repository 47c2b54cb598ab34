"""Prints what a pmigd that starts now finds in a journal: ``python reader.py JOURNAL``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pmigd.adapters.journal import Journal


async def main(path: Path) -> None:
    journal = Journal(path)
    found = await journal.load()
    states = {m.domain.name: m.state.value for m in found.migrations}
    print(json.dumps({"migrations": states, "leases": len(found.leases)}))
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
