"""Writes migrations that wait, and says which of them the journal has, until it is killed.

``python writer.py JOURNAL FIRST NUMBER``: migrations FIRST, FIRST + 1, ... of guests of that name,
and as many leases. Each number is printed when it is durable. Number 0 is without end.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from pmigd.adapters.journal import Journal, JournalEntry
from pmigd.core.holdings import Phase
from pmigd.core.leases import Lease
from pmigd.core.model import Domain, MigrationId
from tests.support import build


async def main(path: Path, first: int, number: int) -> None:
    journal = Journal(path)
    await journal.load()
    for one in itertools.count(first) if number == 0 else range(first, first + number):
        domain = Domain(f"web{one}", str(UUID(int=one)))
        iden = f"0192e4a0-0000-7000-8000-{one:012x}"
        migration = replace(build.migration(domain=domain), id=MigrationId(iden))
        lease = Lease(iden, "hostb", domain, Phase.READY, granted=True)
        await asyncio.gather(journal.write(JournalEntry(migration)), journal.keep_leases([lease]))
        print(one, flush=True)
    if number:
        await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
