"""What a Prometheus that scrapes every 15 s knows of short migrations afterwards.

Guests go back and forth between two hosts. What is in the counters and histograms of their sources
and in the gauges of those that ended lately is compared with what the migrations themselves say,
and with how many showed in the gauges of migrations under way, which is all that an exporter has
that only looks on.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, repeat
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from contrib.bench.stage import settle, stage
from contrib.bench.stats import Figure
from contrib.lab import Guest, api
from contrib.lab.deadlines import until
from contrib.lab.prometheus import Prometheus

if TYPE_CHECKING:
    from contrib.bench.stage import Settings
    from contrib.lab import Host, LabGuest

GUESTS: Final = 10
TRIPS: Final = 10
INTERVAL_S: Final = 15
AT_ONCE: Final = 2  # from either host: four keep two cores busy
QUICK_GUESTS: Final = 2
QUICK_TRIPS: Final = 2
QUICK_INTERVAL_S: Final = 1
BANDWIDTH_MIB_S: Final = 8
FILLS_MIB: Final = (4, 8, 14, 20)  # so that they take from one to about five seconds

_FINISHED = 'sum(pmigd_migrations_finished_total{{direction="{}",result="completed"}})'
_GROWN = 'sum(increase(pmigd_migrations_finished_total{direction="outgoing"}[$window]))'
_SEEN = 'count(count by (migration) (last_over_time({}{{direction="outgoing"}}[$window])))'
WHERE: Final = {
    "counter, at the source": _FINISHED.format("outgoing"),
    "counter, at the destination": _FINISHED.format("incoming"),
    "increase() of the counter": _GROWN,
    "histogram of durations": 'sum(pmigd_migration_duration_seconds_count{result="completed"})',
    "histogram of pauses": "sum(pmigd_migration_downtime_seconds_count)",
    "gauges of those that ended lately": _SEEN.format("pmigd_recent_migration_info"),
    "gauges of those under way": _SEEN.format("pmigd_migration_info"),
}
"""Where a migration can be known from, and how Prometheus is asked how many are."""


def run(settings: Settings) -> list[Figure]:
    """All of them, then what Prometheus has."""
    guests, trips, interval_s = (
        (QUICK_GUESTS, QUICK_TRIPS, QUICK_INTERVAL_S)
        if settings.quick
        else (GUESTS, TRIPS, INTERVAL_S)
    )
    with stage(pmigd={"limits": {"max_outgoing": AT_ONCE, "max_incoming": AT_ONCE}}) as lab:
        a, b = lab.hosts
        ways = [((a, b), (b, a))[number % 2] for number in range(guests)]
        movers = [lab.guest(_guest(number), on=source) for number, (source, _) in enumerate(ways)]
        for guest, (source, _) in zip(movers, ways, strict=True):
            settle(guest, source)
        prometheus = Prometheus(lab, interval_s=interval_s)
        prometheus.start(timeout=interval_s + 30)
        began = time.time()
        settings.tell(f"record: {guests * trips} migrations, scraped every {interval_s} s")
        with ThreadPoolExecutor(guests) as threads:
            moved = list(threads.map(_shuttle, movers, ways, repeat(trips)))
        ended = time.time()
        until(
            lambda: _scraped_since(ended, prometheus, len(lab.hosts)),
            "a scrape of every host after the end",
            timeout=2 * interval_s + 10,
            interval=0.2,
            evidence=prometheus.log_tail,
        )
        # From before the first migration, or increase() would not see it.
        window = f"{ceil(time.time() - began) + interval_s}s"
        known = {where: _ask(prometheus, asked, window) for where, asked in WHERE.items()}
        scrapes = _ask(prometheus, "sum(count_over_time(up[$window]))", window)
    migrations = [m for each in moved for m in each]
    results = [m["result"] for m in migrations]
    note = f"{ended - began:.0f} s, {scrapes:.0f} scrapes of two hosts"
    return [
        Figure(
            name="short migrations", unit="s", ours=[r["duration_s"] for r in results], note=note
        ),
        Figure(
            name="short migrations: pauses",
            unit="ms",
            ours=[r["downtime_ms"] for r in results if r["downtime_ms"] is not None],
        ),
        *(
            Figure(name=f"in the {where}", unit=f"of {len(migrations)}", ours=[number])
            for where, number in known.items()
        ),
    ]


def _guest(number: int) -> Guest:
    fill_mib = FILLS_MIB[number % len(FILLS_MIB)]
    return Guest(name=f"g{number}", tick_hz=19, dirty_pages_per_tick=0, fill_mib=fill_mib)


def _shuttle(guest: LabGuest, way: tuple[Host, Host], trips: int) -> list[dict[str, Any]]:
    """Go there and back; the migrations at their ends."""
    ended = []
    for source, destination in islice(cycle((way, way[::-1])), trips):
        iden = api.submit(source, guest.name, destination.name, bandwidth_mib_s=BANDWIDTH_MIB_S)
        ended.append(api.end(source, iden, "succeeded", timeout=120))
    return ended


def _scraped_since(moment: float, prometheus: Prometheus, hosts: int) -> bool:
    """Whether the youngest sample of every host was taken after a moment (Unix time)."""
    scraped = prometheus.instant("timestamp(pmigd_libvirt_up)", time.time())
    return len(scraped) == hosts and all(series.points[0][1] > moment for series in scraped)


def _ask(prometheus: Prometheus, expression: str, window: str) -> float:
    """One number; 0 where there is nothing to count."""
    found = prometheus.instant(expression.replace("$window", window), time.time())
    return found[0].points[0][1] if found else 0.0
