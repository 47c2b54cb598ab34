"""How long a slot that has become free stays empty while somebody waits for it.

Every guest leaves hostb, which sends one at a time, for one of two hosts, and comes back to it,
which takes one at a time: so the slot is first one of the same host, whose pmigd just takes the
next, then one at the destination, which has to hear that it is free and to tell another host.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from contrib.bench.stage import settle, stage, start_pmigd, stop_pmigd
from contrib.bench.stats import Figure
from contrib.lab import Guest, api

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrib.bench.stage import Settings
    from contrib.lab import Host

GUESTS = 10
QUICK_GUESTS = 3
LONG_GUESTS = 5
LONG_FILL_MIB = 36
LONG_BANDWIDTH_MIB_S = 3  # so that it takes longer than hostb leaves between two scans of libvirt
_ONE_SLOT = {"limits": {"max_outgoing": 1, "max_incoming": 1}}
_MANY_SLOTS = {"limits": {"max_outgoing": 20, "max_incoming": 20}}


def run(settings: Settings) -> list[Figure]:
    """From the end of one migration to the start of the next, by whose slot it is."""
    # Without a process of QEMU each takes a tenth of the time; who starts when is the same.
    offline = settings.quick
    names = [f"g{number}" for number in range(QUICK_GUESTS if settings.quick else GUESTS)]
    with stage(3, leases=True, pmigd=_MANY_SLOTS) as lab:
        a, b, c = lab.hosts
        stop_pmigd(lab)
        b.configure_pmigd(_ONE_SLOT | {"security": {"allow_uris": [_unleased(a), _unleased(c)]}})
        start_pmigd(lab)
        for name in names:
            guest = lab.guest(_guest(name), on=b, start=not offline)
            if offline:
                b.virsh("define", "/dev/stdin", input=guest.xml)
            else:
                settle(guest, b)
        settings.tell("handover: hostb's own slot, peers without pmigd")
        alone = _leave(b, (_unleased(a), _unleased(c)), names, offline)
        settings.tell("handover: hostb's slot, asked for by two other hosts")
        across = _come((a, c), b, names, offline)
        settings.tell("handover: hostb's own slot, peers asked for a lease")
        leased = _leave(b, (a.name, c.name), names, offline)
        after_long = []
        if not settings.quick:
            settings.tell("handover: hostb's slot, asked for by two other hosts, long transfers")
            names = [f"long{number}" for number in range(LONG_GUESTS)]
            for name, source in zip(names, cycle((a, c)), strict=False):
                settle(lab.guest(_guest(name, LONG_FILL_MIB), on=source), source)
            after_long = _come((a, c), b, names, offline, LONG_BANDWIDTH_MIB_S)
    note = "offline migrations: --quick" if offline else ""
    long = "next start, slot at the destination, long transfers"
    return [
        Figure(name="next start, slot at home", unit="ms", ours=alone, note=note),
        Figure(name="next start, slot at home, then a lease", unit="ms", ours=leased),
        Figure(name="next start, slot at the destination", unit="ms", ours=across),
        Figure(name=long, unit="ms", ours=after_long)
        if after_long
        else Figure.left_out(long, "ms"),
    ]


def _guest(name: str, fill_mib: int = 0) -> Guest:
    return Guest(name=name, tick_hz=19, dirty_pages_per_tick=0, fill_mib=fill_mib)


def _unleased(host: Host) -> str:
    """A host by its address is nobody's peer: its pmigd is not asked."""
    return f"qemu+tcp://{host.address}/system"


def _leave(
    source: Host, destinations: Sequence[str], names: Sequence[str], offline: bool
) -> list[float]:
    idens = [
        _submit(source, name, destination, offline)
        for name, destination in zip(names, cycle(destinations), strict=False)
    ]
    return api.handovers([_arrived(source, iden) for iden in idens], source)


def _come(
    sources: Sequence[Host],
    destination: Host,
    names: Sequence[str],
    offline: bool,
    bandwidth_mib_s: int = 0,
) -> list[float]:
    submitted = [
        (source, _submit(source, name, destination.name, offline, bandwidth_mib_s))
        for name, source in zip(names, cycle(sources), strict=False)
    ]
    return api.handovers([_arrived(source, iden) for source, iden in submitted], *sources)


def _submit(
    source: Host, name: str, destination: str, offline: bool, bandwidth_mib_s: int = 0
) -> str:
    return api.submit(
        source,
        name,
        destination,
        live=not offline,
        offline=offline,
        bandwidth_mib_s=bandwidth_mib_s,
    )


def _arrived(source: Host, iden: str) -> dict[str, Any]:
    return api.end(source, iden, "succeeded", timeout=120)
