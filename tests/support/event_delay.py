"""How late libvirt's events come on an idle asyncio loop in debug mode.

    python -m tests.support.event_delay URI DOMAIN safe|plain

A worker thread suspends and resumes the guest ten times on the connection that the events come on,
so that libvirt reads them on that thread; nothing else wakes the loop. Prints the events that came
and the longest delay in seconds as JSON. "plain" is libvirtaio as it ships, "safe" is pmigd's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time

import libvirt
import libvirtaio

from pmigd.adapters.libvirt import eventloop

CALLS = 10
PATIENCE_S = 6.0


async def measure(uri: str, name: str, kind: str) -> dict[str, float]:
    """Count the events and find the longest time from a call's return to its event."""
    loop = asyncio.get_running_loop()
    if kind == "safe":
        eventloop.register(loop)
    else:
        libvirtaio.virEventRegisterAsyncIOImpl(loop)
    came: list[float] = []
    returned: list[float] = []
    done = loop.create_future()

    def on_event(*_: object) -> None:
        came.append(time.monotonic())
        if len(came) == 2 * CALLS and not done.done():
            done.set_result(None)

    def work() -> None:
        connection = libvirt.open(uri)
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None
        )
        domain = connection.lookupByName(name)
        for _ in range(CALLS):
            for call in (domain.suspend, domain.resume):
                call()
                returned.append(time.monotonic())
            time.sleep(0.1)

    threading.Thread(target=work, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done, PATIENCE_S)
    delays = [event - call for event, call in zip(came, returned, strict=False)]
    return {"events": len(came), "longest_s": max(delays, default=float("inf"))}


if __name__ == "__main__":
    result = asyncio.run(measure(*sys.argv[1:4]), debug=True)
    print(json.dumps(result), flush=True)
    # Threads inside libvirt must not hold the process.
    os._exit(0)
