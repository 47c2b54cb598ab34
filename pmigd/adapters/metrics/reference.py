"""Print the list of all metrics: ``python -m pmigd.adapters.metrics.reference``.

The output is ``docs/metrics.md``; a test compares them, and another compares the list with what a
daemon exports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from pmigd.adapters.metrics import api, capacity, host, labels, live, migrations, peers, recent
from pmigd.adapters.metrics.family import Family

_HEAD: Final = """\
# Metrics

Printed by `python -m pmigd.adapters.metrics.reference`; do not edit.

`GET /metrics` is on the API's socket and on the addresses of `metrics.listen`. It is answered from
pmigd's memory in a few milliseconds and never asks libvirt. OpenMetrics is sent to scrapers that
ask for it, and carries exemplars (`migration="ID"`) on the histograms of migrations.

- Counters and histograms are the record: they move when something happens, so a migration shorter
  than the scrape interval is in them. The gauges of single migrations are for looking on.
- All label values of migrations stand at 0 from the start: `increase()` sees the first event.
- Families without a `direction` label are about outgoing migrations: a sum over all hosts counts
  each migration once. Do not add the two directions up.
- An incoming migration is counted and timed at the destination, too. libvirt tells a destination no
  figures on the way, and afterwards only those of pre-copy. Its `peer` and `transport` are what the
  source's pmigd said when it asked for the lease; without one, `peer` is empty and `transport` is
  `native`, as it is for whatever others started: libvirt does not tell.
- A migration that goes on while pmigd is restarted counts as started before and as finished after.
- Buckets and names are an interface: they change only with a major version.
- `metrics.per_domain_metrics = false` leaves out all families whose labels are `domain` or
  `migration`. Exemplars stay: they are no series, and an id names no guest.
- No sample has a timestamp. The file of `metrics.textfile` has the same but for exemplars and for
  what is under Process.
"""
_PAUSE: Final = """\
## The pause

`pmigd_migration_downtime_seconds` and `pmigd_recent_migration_downtime_seconds` hold libvirt's
`downtime_net` where it gives one, else its `downtime`. Both begin when the source's libvirt sees
the guest stop and end when the destination's has started it. `downtime` is a difference of two
hosts' clocks; `downtime_net` leaves that out, and with it the way of the last message. One that is
negative, or longer than the whole migration, is not used and counts in
`pmigd_migration_downtime_discarded_total`.

Against the guest's own heartbeat (250 a second, hosts of the lab on one busy machine), in ms:

| mode | migrations | pauses | `downtime_net` - heartbeat | `downtime` - heartbeat |
|---|---|---|---|---|
| `precopy` | 60 | 13 to 535 | median -3, from -15 to +2 | median -1, from -12 to +4 |
| `postcopy` | 62 | 12 to 249 | median -18, from -219 to -7 | median -18, from -218 to -6 |

So in pre-copy the figure is what the guest feels, to a few milliseconds. In post-copy it ends when
the source has handed the guest over, before the guest runs: take it for a lower bound. Once in 72
post-copies libvirt gave the time of all of post-copy instead (1.2 s for 0.04 s). What a guest waits
for its pages after that is in no figure.
"""

VALUES: Final = (
    ("action", labels.ACTIONS),
    ("direction", labels.DIRECTIONS),
    ("kind (transferred bytes)", labels.KINDS),
    ("kind (pages)", labels.PAGES),
    ("level", labels.LEVELS),
    ("method", (*labels.METHODS, labels.OTHER)),
    ("mode", labels.MODES),
    ("phase", labels.PHASES),
    ("pool", labels.POOLS),
    ("reason (migrations)", labels.REASONS),
    ("reason (peers)", (*labels.PEER_REFUSALS, labels.OTHER)),
    ("reason (scrapes)", (*labels.SCRAPE_REFUSALS, labels.OTHER)),
    ("request", (*labels.PEER_REQUESTS, labels.OTHER)),
    ("resource", (*labels.WAITED, labels.OTHER)),
    ("result", labels.RESULTS),
    ("state", labels.LEASE_STATES),
    ("transport", labels.TRANSPORTS),
    ("usage", labels.USAGES),
)

_PROCFS: Final = "/proc cannot be read"
CLIENT_LIBRARY: Final = (
    Family("process_virtual_memory_bytes", "gauge", "Virtual memory size.", absent=_PROCFS),
    Family("process_resident_memory_bytes", "gauge", "Resident memory size.", absent=_PROCFS),
    Family("process_start_time_seconds", "gauge", "When pmigd was started.", absent=_PROCFS),
    Family("process_cpu_seconds_total", "counter", "CPU time spent.", absent=_PROCFS),
    Family("process_max_fds", "gauge", "Limit of open file descriptors.", absent=_PROCFS),
    Family("process_open_fds", "gauge", "Open file descriptors.", absent=_PROCFS),
    Family(
        "python_info",
        "gauge",
        "1. The Python interpreter.",
        ("implementation", "major", "minor", "patchlevel", "version"),
    ),
    Family(
        "python_gc_objects_collected_total",
        "counter",
        "Objects freed by the garbage collector.",
        ("generation",),
    ),
    Family(
        "python_gc_objects_uncollectable_total",
        "counter",
        "Objects that the garbage collector could not free.",
        ("generation",),
    ),
    Family(
        "python_gc_collections_total",
        "counter",
        "Runs of the garbage collector.",
        ("generation",),
    ),
)

SECTIONS: Final = (
    ("The record of migrations", migrations.FAMILIES),
    ("Migrations under way", live.FAMILIES),
    ("Migrations that ended lately", recent.FAMILIES),
    ("This host", host.FAMILIES),
    ("Limits and leases", capacity.FAMILIES),
    ("Peers", peers.FAMILIES),
    ("API", api.FAMILIES),
    ("Process", CLIENT_LIBRARY),
)


def families() -> Iterator[Family]:
    """Every family that pmigd can export."""
    for _, section in SECTIONS:
        yield from section


def reference_text() -> str:
    """Return the whole page, ending in one newline."""
    lines = [_HEAD, _PAUSE]
    for title, section in SECTIONS:
        lines += [f"## {title}", "", *_table(section), ""]
    lines += ["## Label values", "", "| label | values |", "|---|---|"]
    lines += [f"| {name} | {_code(values)} |" for name, values in VALUES]
    lines += ["", "## Buckets", "", "| histogram | upper bounds |", "|---|---|"]
    lines += [
        f"| `{family.name}` | {' '.join(f'{bound:g}' for bound in family.buckets)} |"
        for family in families()
        if family.buckets
    ]
    return "\n".join(lines) + "\n"


def _table(section: Sequence[Family]) -> Iterator[str]:
    yield "| name | type | unit | labels | meaning | absent |"
    yield "|---|---|---|---|---|---|"
    for family in section:
        cells = (
            f"`{family.name}`",
            family.kind,
            family.unit,
            _code(family.labels),
            family.meaning,
            family.absent or "never",
        )
        yield f"| {' | '.join(cells)} |"


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.stdout.write(reference_text())
