"""Move guests to another host, with asyncio; pmigd says how many move at a time.

python -m contrib.examples.move_all DESTINATION GUEST...
"""

from __future__ import annotations

import asyncio
import sys

from pmigd.client import AsyncClient, ClientError


async def main(destination: str, *domains: str) -> int:
    """How many did not arrive."""
    client = AsyncClient()
    arrived = await asyncio.gather(*(move(client, domain, destination) for domain in domains))
    return arrived.count(False)


async def move(client: AsyncClient, domain: str, destination: str) -> bool:
    """Whether one arrived. What became of it is told."""
    try:
        accepted = await client.submit(domain, destination)
        ended = await client.wait(accepted.id)
    except ClientError as error:
        print(f"{domain}: {error} [{error.code}]", file=sys.stderr)
        return False
    print(f"{domain}: {ended.state}", flush=True)
    return ended.succeeded


if __name__ == "__main__":
    sys.exit(min(asyncio.run(main(*sys.argv[1:])), 125))
