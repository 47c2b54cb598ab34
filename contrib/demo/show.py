"""The demonstration itself, step by step in the order a newcomer understands."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from contrib.demo import evidence, scrape
from contrib.demo.evidence import Evidence
from contrib.lab import Guest, Lab, LabError
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from contrib.lab import Host, LabGuest

# Nearly all of its memory is the working set, so that the guest itself can check
# all of it soon after its arrival: a round takes about five seconds. It writes
# half as fast as the link carries, which makes several passes that still converge.
GUEST = Guest(name="web1", memory_mib=192, working_set_mib=160, dirty_pages_per_tick=160)
LINK_MIB_S = 60.0
MIGRATION_LIMIT_S = 120.0
_STEPS = 6
_MIB = 1 << 20


class _Steps:
    """Numbered lines, flushed at once because pmigctl writes to the same terminal."""

    def __init__(self) -> None:
        self._number = 0

    def step(self, text: str) -> None:
        self._number += 1
        print(f"{self._number}/{_STEPS} {text}", flush=True)

    def say(self, text: str) -> None:
        print(f"    {text}", flush=True)

    def verdict(self, what: str, faults: list[str]) -> None:
        self.say(f"{'WRONG' if faults else 'ok   '}  {what}")
        for fault in faults:
            self.say(f"       {fault}")


def show() -> int:
    """Run it; 0 if everything was as it must be, else 1."""
    steps = _Steps()
    began = time.monotonic()
    steps.step("Starting two hosts, each with its own network, libvirtd and QEMU")
    with Lab(2, name="demo") as lab:
        steps.say(f"{' and '.join(h.name for h in lab.hosts)}, after {lab.start_seconds:.1f} s")
        seen = _migration(lab, steps)
    faults = evidence.faults(seen)
    print()
    if faults:
        print("The demonstration FAILED:")
        for fault in faults:
            print(f"  - {fault}")
        return 1
    seconds = time.monotonic() - began
    print(f"All as it must be. Everything is cleaned up again, after {seconds:.0f} s.")
    return 0


def _migration(lab: Lab, steps: _Steps) -> Evidence:
    source, destination = lab.hosts
    steps.step("Starting pmigd on both: one daemon per host, beside libvirtd")
    for host in lab.hosts:
        host.pmigd.start()

    rate = GUEST.dirty_bytes_per_second / _MIB
    steps.step(
        f"Starting a guest on {source.name}: {GUEST.name}, {GUEST.memory_mib} MiB, which writes "
        f"{rate:.0f} MiB/s all the time"
    )
    guest = lab.guest(GUEST, on=source)
    guest.heartbeats.wait(GUEST.tick_hz, host=source.name)
    steps.say(
        f"its heart beats {GUEST.tick_hz} times a second; it checks every page before it "
        "writes it again"
    )

    # Only towards the destination: there no heartbeat has to share the queue.
    lab.link(destination).shape(LINK_MIB_S, direction="in")
    steps.step(
        f"Moving it while it runs, over a link of {LINK_MIB_S:.0f} MiB/s: "
        f"pmigctl migrate {GUEST.name} {destination.name}"
    )
    started = time.monotonic()
    exit_code = _pmigctl(source, destination)
    ended = time.monotonic()

    steps.step("Asking the guest and both hosts what really happened")
    checked = _wait_for_a_round(guest, destination) if exit_code == 0 else 0
    beats = guest.heartbeats
    metrics = _metrics(lab, finished=exit_code == 0)
    seen = Evidence(
        source=source.name,
        destination=destination.name,
        exit_code=exit_code,
        heard_from=beats.hosts,
        longest_gap_s=beats.longest_gap(started).seconds,
        ticks_lost=beats.missing,
        ticks_repeated=beats.duplicated,
        restarts=beats.restarts,
        damaged_pages=beats.errors,
        pages_checked=min(checked, guest.spec.working_set_mib * _MIB // 4096),
        pages=guest.spec.working_set_mib * _MIB // 4096,
        states=guest.states(),
        metrics=metrics,
    )
    _explain(seen, steps, seconds=ended - started, ticks=beats.count)
    return seen


def _pmigctl(source: Host, destination: Host) -> int:
    """Migrate on this terminal, so that pmigctl shows its own bar; its exit code."""
    program = (
        "import sys; from pmigd.cli.main import main; sys.argv[0] = 'pmigctl'; sys.exit(main())"
    )
    process: subprocess.Popen[bytes] = source.popen(
        [sys.executable, "-c", program, "migrate", GUEST.name, destination.name],
        stdin=subprocess.DEVNULL,
    )
    try:
        return process.wait(MIGRATION_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise LabError(
            f"the migration did not end within {MIGRATION_LIMIT_S:.0f} s\n{source.pmigd.log_tail()}"
        ) from None
    except KeyboardInterrupt:
        # It is in a session of its own, and must give the terminal's cursor back.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        raise


def _wait_for_a_round(guest: LabGuest, destination: Host) -> int:
    """Wait until the guest has checked every page at the destination; how many it checked."""
    spec = guest.spec
    ticks = spec.working_set_mib * _MIB // 4096 // spec.dirty_pages_per_tick + 1

    def heard() -> int:
        return sum(beat.host == destination.name for beat in guest.heartbeats.beats())

    with contextlib.suppress(LabError):  # the evidence will say how far it came
        until(lambda: heard() >= ticks, "the guest's check", timeout=4 * ticks / spec.tick_hz)
    return heard() * spec.dirty_pages_per_tick


def _metrics(lab: Lab, *, finished: bool) -> dict[str, list[scrape.Sample]]:
    """The metrics of both hosts, once they have seen the migration's end."""

    def samples() -> dict[str, list[scrape.Sample]]:
        return {host.name: scrape.parse(scrape.scrape(host)) for host in lab.hosts}

    if finished:
        with contextlib.suppress(LabError):  # what is still missing then is a fault
            until(
                lambda: all(scrape.finished(found) for found in samples().values()),
                "the metrics",
                timeout=10,
                interval=0.2,
            )
    return samples()


def _explain(seen: Evidence, steps: _Steps, *, seconds: float, ticks: int) -> None:
    steps.verdict(
        f"pmigctl: exit code {seen.exit_code}, {seconds:.1f} s", evidence.pmigctl_faults(seen)
    )
    steps.verdict(
        f"heartbeat: {' -> '.join(seen.heard_from)}, {ticks} ticks heard, {seen.ticks_lost} lost, "
        f"longest silence {seen.longest_gap_s * 1000:.0f} ms",
        evidence.heartbeat_faults(seen),
    )
    steps.verdict(
        f"memory: {seen.pages_checked} of {seen.pages} pages checked by the guest after its "
        f"arrival, {seen.damaged_pages} damaged",
        evidence.memory_faults(seen),
    )
    places = ", ".join(f"{state} on {host}" for host, state in seen.states.items())
    steps.verdict(f"copies: {places or 'none'}", evidence.copies_faults(seen))

    steps.step(
        f"Reading what pmigd's metrics keep of it: http://{seen.source}:{scrape.METRICS_PORT}/metrics"
    )
    for line in scrape.record(seen.metrics.get(seen.source, ())):
        steps.say(line)
    steps.say(f"and at the other end, on {seen.destination}:")
    for sample in scrape.counted(seen.metrics.get(seen.destination, ())):
        steps.say(f"  {sample}")
    steps.verdict("metrics", evidence.metrics_faults(seen))
