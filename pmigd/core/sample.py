"""One sample of what libvirt says of a migration's job, and what is worked out from its figures.

What each figure is elsewhere, from libvirt to the screens, :mod:`pmigd.core.figures` says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

DISK_RATE_SPAN_S: Final = 5.0
"""Over how long the rate of disks is taken: under a bandwidth limit QEMU copies them in bursts."""


AS_FAST: Final = 0.95
"""From this share of the rate at which memory is sent a guest writes it as fast as it is sent."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Job statistics at one moment. Bytes and bytes per second; None where libvirt is silent.

    Disks are copied first; until they are, libvirt has no figures of memory. ``downtime_ms`` is
    QEMU's expectation while the job runs and the measured pause afterwards; ``downtime_net_ms``
    (afterwards only) leaves the difference of the hosts' clocks out.
    """

    at: datetime
    elapsed_ms: int = 0
    memory_total_bytes: int = 0
    memory_processed_bytes: int = 0
    memory_remaining_bytes: int = 0
    disk_total_bytes: int = 0
    disk_processed_bytes: int = 0
    disk_remaining_bytes: int = 0
    memory_bytes_per_second: int | None = None
    disk_bytes_per_second: int | None = None
    dirty_bytes_per_second: int | None = None
    iteration: int | None = None
    throttle_percent: int | None = None
    downtime_ms: int | None = None
    downtime_net_ms: int | None = None
    downtime_limit_ms: int | None = None
    setup_ms: int | None = None
    constant_pages: int | None = None
    normal_pages: int | None = None
    compressed_pages: int | None = None
    postcopy_requests: int | None = None

    @property
    def bytes_per_second(self) -> int | None:
        """Memory and disks together."""
        rates = (self.memory_bytes_per_second, self.disk_bytes_per_second)
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    @property
    def figures(self) -> tuple[int | None, ...]:
        """What changes as long as anything is sent."""
        return (
            self.memory_processed_bytes,
            self.memory_remaining_bytes,
            self.disk_processed_bytes,
            self.disk_remaining_bytes,
            self.iteration,
        )

    @property
    def outpaced(self) -> bool:
        """Whether the guest writes its memory as fast as it is sent, so that no end is in sight.

        A matter of this moment: it may write less soon, be slowed down, or be sent faster. Nearly
        as fast is as fast: a guest that writes all of its working set in each pass writes in a pass
        what is sent in it, and of the two rates QEMU measures now the one, now the other a little
        higher.
        """
        sent, dirtied = self.memory_bytes_per_second or 0, self.dirty_bytes_per_second or 0
        return 0 < dirtied >= AS_FAST * sent

    @property
    def eta_s(self) -> float | None:
        """Seconds until what is known to remain is sent at the present rates; None: not in sight.

        While disks are copied that is the end of the disks.
        """
        left = []
        if self.memory_total_bytes:
            net = (self.memory_bytes_per_second or 0) - (self.dirty_bytes_per_second or 0)
            left.append((self.memory_remaining_bytes, 0 if self.outpaced else net))
        if self.disk_remaining_bytes:
            left.append((self.disk_remaining_bytes, self.disk_bytes_per_second or 0))
        if not left or any(rate <= 0 for _, rate in left):
            return None
        return max(size / rate for size, rate in left)

    def after(self, earlier: Sample | None) -> Sample:
        """This sample with the rate of its disks, which libvirt does not tell for NBD copies.

        `earlier` is the sample before; without one the rate is the mean since the job began.
        """
        if not self.disk_total_bytes or self.disk_bytes_per_second is not None:
            return self
        if earlier is None or earlier.elapsed_ms >= self.elapsed_ms:
            earlier = Sample(self.at)
        seconds = (self.elapsed_ms - earlier.elapsed_ms) / 1000
        if seconds <= 0:
            return self
        rate = max(0, self.disk_processed_bytes - earlier.disk_processed_bytes) / seconds
        before = earlier.disk_bytes_per_second
        if before is not None and self.disk_remaining_bytes:
            rate = before + (rate - before) * min(1.0, seconds / DISK_RATE_SPAN_S)
        return replace(self, disk_bytes_per_second=round(rate))
