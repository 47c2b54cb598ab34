"""What was started, and how each is stopped: the last one first, and all within a bounded time.

One that fails, or does not come back in its time, is said, and keeps no other from being stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

EACH_S: Final = 2.0
ALL_S: Final = 4.0
"""Of the 5 s that systemd and whoever waits for a stop are promised."""

Stop = Callable[[], Awaitable[object] | None]

log = structlog.get_logger()


class Stack:
    """The stops of one daemon, which has `all_s` seconds for them together."""

    def __init__(self, all_s: float = ALL_S) -> None:
        self._all_s = all_s
        self._stops: list[tuple[str, Stop, float]] = []

    def push(self, name: str, stop: Stop, *, within_s: float = EACH_S) -> None:
        """`stop` is called before those of all that was pushed until now."""
        self._stops.append((name, stop, within_s))

    async def unwind(self) -> None:
        """Stop all, the last one first. Raises nothing; may be called again for what is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._all_s
        while self._stops:
            name, stop, within_s = self._stops.pop()
            try:
                # With no time left each is still told, and not waited for.
                async with asyncio.timeout_at(min(loop.time() + within_s, end)):
                    if (stopped := stop()) is not None:
                        await stopped
            except TimeoutError:
                log.warning("not stopped in time", part=name)
            except Exception:
                log.exception("not stopped", part=name)
        if loop.time() > end:
            log.error("stopped without waiting any longer", after_s=self._all_s)
