"""The only place that asks what time it is.

Durations and deadlines use the monotonic clock, records use UTC.  The two are never subtracted
from one another.  Everything else takes a :class:`Clock`, or the time itself, as a parameter.
"""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clocks.  A test passes an object with the same methods."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds since some fixed moment; the same clock as the asyncio loop's ``time()``."""
        return time.monotonic()

    def monotonic_us(self) -> int:
        """The same in whole microseconds, as systemd's MONOTONIC_USEC wants it."""
        return time.monotonic_ns() // 1000

    def utc_now(self) -> datetime:
        """The present moment in UTC, for records.  It can jump when the clock is set."""
        return datetime.now(UTC)

    def unix_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, for identifiers."""
        return time.time_ns() // 1_000_000
