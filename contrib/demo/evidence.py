"""What was seen of the migration, and what is wrong with it. Pure: it judges and asks nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contrib.demo.scrape import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contrib.demo.scrape import Sample

LONGEST_PAUSE_S = 5.0
"""Beyond this a guest was not moved but stopped, however slow the machine is."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that was measured of one migration from `source` to `destination`."""

    source: str
    destination: str
    exit_code: int  # pmigctl's
    heard_from: Sequence[str]  # hosts the heartbeat came from, in order
    longest_gap_s: float
    ticks_lost: int
    ticks_repeated: int
    restarts: int
    damaged_pages: int
    pages_checked: int  # at the destination, by the guest itself
    pages: int
    states: Mapping[str, str]  # host -> virsh's word for the guest there
    metrics: Mapping[str, Sequence[Sample]] = field(default_factory=dict)  # host -> its samples


def pmigctl_faults(seen: Evidence) -> list[str]:
    """What is wrong with the outcome as pmigctl told it."""
    if seen.exit_code == 0:
        return []
    return [f"pmigctl ended with {seen.exit_code}: the migration did not succeed"]


def heartbeat_faults(seen: Evidence) -> list[str]:
    """What is wrong with the guest's heartbeat."""
    found = []
    if list(seen.heard_from) != [seen.source, seen.destination]:
        path = " -> ".join(seen.heard_from) or "nowhere"
        found.append(
            f"the heartbeat came from {path}, not from {seen.source} -> {seen.destination}"
        )
    if seen.ticks_lost:
        found.append(f"{seen.ticks_lost} ticks of the heartbeat were lost")
    if seen.ticks_repeated:
        found.append(f"{seen.ticks_repeated} ticks came twice: two copies ran, or time went back")
    if seen.restarts:
        found.append("the guest was rebooted")
    if seen.longest_gap_s > LONGEST_PAUSE_S:
        found.append(f"the heartbeat was silent for {seen.longest_gap_s:.1f} s")
    return found


def memory_faults(seen: Evidence) -> list[str]:
    """What is wrong with the guest's memory."""
    found = []
    if seen.damaged_pages:
        found.append(f"the guest found {seen.damaged_pages} damaged pages")
    if seen.pages_checked < seen.pages:
        found.append(f"the guest checked only {seen.pages_checked} of {seen.pages} pages")
    return found


def copies_faults(seen: Evidence) -> list[str]:
    """What is wrong with where the guest is now."""
    found = []
    running = [host for host, state in seen.states.items() if state == "running"]
    if running != [seen.destination]:
        found.append(
            f"it runs on {' and '.join(running) or 'no host'}, not on {seen.destination} alone"
        )
    for host, state in seen.states.items():
        if host != seen.destination and state != "running":
            found.append(f"{host} still has a copy of it, {state}")
    return found


def metrics_faults(seen: Evidence) -> list[str]:
    """What the metrics lack or say wrongly."""
    found = []
    for host, wanted in (
        (seen.source, EXPECTED["outgoing"]),
        (seen.destination, EXPECTED["incoming"]),
    ):
        samples = seen.metrics.get(host, ())
        for name, least in wanted:
            values = [sample.value for sample in samples if sample.name == name]
            if not values:
                found.append(f"{name} is missing on {host}")
            elif sum(values) < least:
                found.append(f"{name} on {host} is {sum(values):g}, not at least {least:g}")
    return found


def faults(seen: Evidence) -> list[str]:
    """Everything that is wrong."""
    checks = (pmigctl_faults, heartbeat_faults, memory_faults, copies_faults, metrics_faults)
    return [fault for check in checks for fault in check(seen)]
