"""Two real hosts whose guests migrate in every way, and what a real Prometheus saw of it.

It is played once. After that nothing runs but Prometheus, and everything asks it about the same
moment, at which some migrations ran and one waited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from contrib.dashboards.questions import View
from contrib.dashboards.traffic import Seen, Traffic, hosts
from contrib.lab import Prometheus, missing

INSTANCE: Final = "hosta:9718"


@dataclass(frozen=True)
class Watched:
    """Prometheus, and what it saw."""

    prometheus: Prometheus
    seen: Seen

    def view(self, dashboard: str) -> View:
        """As somebody who looks at a dashboard: all hosts, or the first one."""
        return self.seen.view(*([] if dashboard == "pmigd-fleet" else [INSTANCE]))


@pytest.fixture(scope="session")
def watched() -> Iterator[Watched]:
    lacking = missing(tls=True, prometheus=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    with hosts(2, "observability") as (lab, prometheus):
        traffic = Traffic(lab, prometheus)
        seen = traffic.play()
        traffic.stop()
        yield Watched(prometheus, seen)
