"""As many migrations as may run at a time, throttled so that they go on while one measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from contrib.bench.stage import MAX_OUTGOING, settle
from contrib.lab import Guest, api
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from contrib.lab import Host, Lab, LabGuest

BANDWIDTH_MIB_S: Final = 1
_FILL_MIB: Final = 48  # half a minute at the least, for the throttle lets more pass than it says


def ready(lab: Lab) -> list[LabGuest]:
    """The guests, on the first host."""
    source = lab.hosts[0]
    guests = [
        # Heartbeats are not needed here, and eight guests share few cores.
        lab.guest(
            Guest(name=f"g{number}", tick_hz=19, dirty_pages_per_tick=0, fill_mib=_FILL_MIB),
            on=source,
        )
        for number in range(1, MAX_OUTGOING + 1)
    ]
    for guest in guests:
        settle(guest, source)
    return guests


def send(lab: Lab, guests: list[LabGuest]) -> None:
    """Send them all off to the second host; back when all are being transferred."""
    source, destination = lab.hosts
    for guest in guests:
        api.submit(source, guest.name, destination.name, bandwidth_mib_s=BANDWIDTH_MIB_S)
    until(
        lambda: under_way(source) == len(guests),
        f"{len(guests)} migrations at a time",
        timeout=60,
        interval=0.2,
        evidence=source.pmigd.log_tail,
    )


def under_way(source: Host) -> int:
    """How many are being transferred."""
    return len(api.in_state(source, "precopy"))
