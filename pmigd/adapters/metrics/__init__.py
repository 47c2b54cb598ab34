"""What pmigd tells Prometheus: from the controller's memory, never from libvirt.

Counters and histograms are moved when a migration takes a step, so that one which begins and ends
between two scrapes is recorded in full. Gauges are read from a snapshot at the scrape. The list of
all families is docs/metrics.md, printed by ``python -m pmigd.adapters.metrics.reference``.
"""

from pmigd.adapters.metrics.exporter import Metrics
from pmigd.adapters.metrics.snapshot import LeaseState, PoolFigures, Snapshot

__all__ = ["LeaseState", "Metrics", "PoolFigures", "Snapshot"]
