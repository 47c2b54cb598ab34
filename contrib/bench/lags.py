"""How late a daemon's event loop was, by its own probe, which looks four times a second."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from contrib.lab import api

if TYPE_CHECKING:
    from contrib.lab import Host

_BUCKET = re.compile(r'^pmigd_event_loop_lag_seconds_bucket{le="(.+)"} (\S+)$', re.MULTILINE)


class Lags:
    """How late the probe woke up, from now on."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before = self._buckets()

    def most_ms(self) -> float:
        """A bound that it never exceeded: the histogram's."""
        grown = {le: n - self._before[le] for le, n in self._buckets().items()}
        return min(le for le, n in grown.items() if n == grown[math.inf]) * 1000

    def _buckets(self) -> dict[float, float]:
        text = api.call(self._host, "GET", "/metrics")
        return {float(le): float(n) for le, n in _BUCKET.findall(text)}
