"""The machine's clocks."""

import asyncio
from datetime import UTC

from pmigd.adapters.system.clock import Clock


async def test_monotonic_time_is_the_event_loops() -> None:
    clock = Clock()
    before = asyncio.get_running_loop().time()
    now = clock.monotonic()
    assert before <= now <= asyncio.get_running_loop().time()
    assert now <= clock.monotonic_us() / 1e6 + 1e-6


def test_records_are_in_utc_and_agree_with_identifiers() -> None:
    clock = Clock()
    first = clock.unix_ms()
    now = clock.utc_now()
    assert now.tzinfo is UTC
    assert first <= now.timestamp() * 1000 + 1
