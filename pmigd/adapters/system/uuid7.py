"""Make identifiers that sort by the time they were made: UUID version 7 of RFC 9562.

Time and randomness are passed in.  Within one process each identifier is greater than the one
before, also within a millisecond and when the clock is set back.
"""

from typing import Final
from uuid import UUID

RANDOM_BYTES: Final = 10
"""Bytes of randomness that :meth:`Uuid7Sequence.next` takes: ``os.urandom(RANDOM_BYTES)``."""

_COUNTER_MAX: Final = 0xFFF
_COUNTER_SEED: Final = 0x7FF  # leaves at least 2048 identifiers to a millisecond
_RANDOM_B_BITS: Final = 62


class Uuid7Sequence:
    """The identifiers of one process.  Not for use by several threads at once."""

    __slots__ = ("_counter", "_unix_ms")

    def __init__(self) -> None:
        self._unix_ms = -1
        self._counter = 0

    def next(self, unix_ms: int, randomness: bytes) -> UUID:
        """Return the next identifier.

        ``unix_ms`` is milliseconds since 1970 UTC; where it lags behind the last identifier's,
        that one's time is kept and the 12 bits of ``rand_a`` count on (RFC 9562 6.2, method 1).
        Raises ValueError if ``randomness`` is not :data:`RANDOM_BYTES` long or the time does not
        fit into 48 bits.
        """
        if len(randomness) != RANDOM_BYTES:
            raise ValueError(f"{RANDOM_BYTES} random bytes are needed, not {len(randomness)}")
        if not 0 <= unix_ms < 1 << 48:
            raise ValueError(f"{unix_ms} ms since 1970 does not fit into a UUID")
        if unix_ms > self._unix_ms:
            self._unix_ms = unix_ms
            self._counter = int.from_bytes(randomness[:2]) & _COUNTER_SEED
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            # 2048 or more in one millisecond: borrow the next one, as the RFC allows.
            self._unix_ms += 1
            self._counter = int.from_bytes(randomness[:2]) & _COUNTER_SEED
        random_b = int.from_bytes(randomness[2:]) & ((1 << _RANDOM_B_BITS) - 1)
        value = self._unix_ms << 80 | 0x7 << 76 | self._counter << 64 | 0b10 << 62 | random_b
        return UUID(int=value)
