"""The definition of one metric family, from which the metric and its documentation are made.

A family is defined once. The registry's objects, the fresh families of a scrape and docs/metrics.md
all come from that definition, so none of them can say something else than the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

MetricType = Literal["counter", "gauge", "histogram", "summary"]

_UNITS: Final = (
    ("_bytes_per_second", "bytes per second"),
    ("_timestamp_seconds", "seconds since 1970"),
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_ratio", "0 to 1"),
)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. `name` is the one on the wire, a counter's ``_total`` included.

    `absent` says when there is no sample; empty: there always is one.
    """

    name: str
    kind: MetricType
    meaning: str
    labels: tuple[str, ...] = ()
    absent: str = ""
    buckets: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """The unit that the name states; empty for plain counts and truth values."""
        stem = self.name.removesuffix("_total")
        return next((unit for suffix, unit in _UNITS if stem.endswith(suffix)), "")

    def counter(self, registry: CollectorRegistry) -> Counter:
        """The counter, registered."""
        return Counter(self.name, self.meaning, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """The gauge, registered."""
        return Gauge(self.name, self.meaning, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """The histogram, registered."""
        return Histogram(
            self.name, self.meaning, self.labels, buckets=self.buckets, registry=registry
        )

    def summary(self, registry: CollectorRegistry) -> Summary:
        """The summary (sum and count), registered."""
        return Summary(self.name, self.meaning, self.labels, registry=registry)

    def gauges(self) -> GaugeMetricFamily:
        """An empty gauge family for one scrape."""
        return GaugeMetricFamily(self.name, self.meaning, labels=self.labels)

    def counters(self) -> CounterMetricFamily:
        """An empty counter family for one scrape."""
        return CounterMetricFamily(self.name, self.meaning, labels=self.labels)
