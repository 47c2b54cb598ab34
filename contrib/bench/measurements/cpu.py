"""What watching costs: CPU time while one migration is throttled to a trickle.

Only the middle of a migration is measured, so that start-up and end do not count.
While virsh is measured there is no pmigd, or libvirtd's time would be that of two.
"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from contrib.bench.process import cpu_seconds
from contrib.bench.stage import (
    command_pmigctl,
    command_virsh,
    settle,
    stage,
    stop_pmigd,
)
from contrib.bench.stats import Figure, per_minute
from contrib.lab import Guest
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contrib.bench.stage import Settings
    from contrib.lab import Host, Lab, LabGuest

BANDWIDTH_MIB_S = 2
SECONDS = 15.0
QUICK_SECONDS = 4.0
IDLE_SECONDS = 8.0
_LEAD_S = 2.0


def run(settings: Settings) -> list[Figure]:
    """One throttled migration with each tool, and pmigd with nothing to do."""
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    # Half as much again: the throttle lets more pass than it says.
    fill = int(1.5 * BANDWIDTH_MIB_S * (2 * _LEAD_S + seconds))
    spec = Guest(name="slow", memory_mib=fill + 16, fill_mib=fill, dirty_pages_per_tick=0)
    limit = ("--bandwidth", str(BANDWIDTH_MIB_S))
    with stage() as lab:
        a, b = lab.hosts
        guest = lab.guest(spec, on=a)
        settle(guest, a)
        settings.tell("cpu: pmigd without work")
        idle = _spent({"pmigd": a.pmigd.pid}, IDLE_SECONDS)
        settings.tell("cpu: watched by pmigd and shown by pmigctl")
        pids = {"pmigd": a.pmigd.pid, "peer": b.pmigd.pid, "libvirtd": a.libvirtd.pid}
        ours = _watch(guest, a, command_pmigctl(guest.name, b, *limit), pids, seconds)
        settings.tell("cpu: watched and shown by virsh")
        stop_pmigd(lab)
        pids = {"libvirtd": a.libvirtd.pid}
        theirs = _watch(guest, a, command_virsh(guest.name, b, *limit), pids, seconds)
        settings.tell("cpu: watched by nobody")
        nobody = _unwatched(lab, guest, seconds, limit)
    unit = "s/min"
    return [
        Figure(
            name="watching: pmigd at the source / virsh",
            unit=unit,
            ours=[ours["pmigd"]],
            theirs=[theirs["tool"]],
        ),
        Figure(
            name="watching: libvirtd at the source",
            unit=unit,
            ours=[ours["libvirtd"]],
            theirs=[theirs["libvirtd"]],
            note=f"{nobody['libvirtd']:.3f} when nobody watches",
        ),
        Figure(
            name="showing: pmigctl / (in virsh's above)",
            unit=unit,
            ours=[ours["tool"]],
        ),
        Figure(name="watching: pmigd at the destination", unit=unit, ours=[ours["peer"]]),
        Figure(name="pmigd without work", unit=unit, ours=[idle["pmigd"]]),
    ]


def _watch(
    guest: LabGuest, source: Host, argv: Sequence[str], pids: Mapping[str, int], seconds: float
) -> dict[str, float]:
    """CPU seconds per minute of each process, and of the program as "tool"."""
    process = source.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_job(guest, source)
        time.sleep(_LEAD_S)
        return _spent({"tool": process.pid, **pids}, seconds)
    finally:
        _end(guest, source)
        process.wait(20)


def _unwatched(
    lab: Lab, guest: LabGuest, seconds: float, limit: tuple[str, ...]
) -> dict[str, float]:
    """libvirtd's own time: started by virsh, which is then killed. libvirt goes on alone."""
    a, b = lab.hosts
    process = a.popen(
        command_virsh(guest.name, b, *limit), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for_job(guest, a)
    process.kill()
    process.wait(10)
    time.sleep(_LEAD_S)
    try:
        return _spent({"libvirtd": a.libvirtd.pid}, seconds)
    finally:
        _end(guest, a)


def _end(guest: LabGuest, source: Host) -> None:
    # That the job is over already must not hide an error that is on its way up.
    source.run(["virsh", "domjobabort", guest.name], check=False)


def _wait_for_job(guest: LabGuest, source: Host) -> None:
    until(
        lambda: "Outgoing migration" in source.virsh("domjobinfo", guest.name),
        "the migration's job",
        timeout=20,
        interval=0.1,
    )


def _spent(pids: Mapping[str, int], seconds: float) -> dict[str, float]:
    began = time.monotonic()
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return {
        name: per_minute(cpu_seconds(pid) - before[name], elapsed) for name, pid in pids.items()
    }
