"""What it costs that ten thousand migrations wait.

What is decided is measured by itself, in this process. Everything else is measured on a daemon
whose one slot is held by a migration that gets no further, with its journal on a disk. Every
request is for a domain of its own, as it must be; these are defined, but do not run.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from contrib.bench import holding
from contrib.bench.lags import Lags
from contrib.bench.process import resident_mib
from contrib.bench.stage import settle, stage, start_pmigd, stop_pmigd
from contrib.bench.stats import Figure, percentile
from contrib.lab import Guest, api
from pmigd.core.admission import Door, LeaseStanding, Standing
from pmigd.core.holdings import Held, Limits, Resource
from pmigd.core.model import Direction, MigrationId, Now
from pmigd.core.queue import Entry
from pmigd.daemon.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contrib.bench.stage import Settings
    from contrib.lab import Host

LENGTHS = (100, 1_000, 10_000)
DECISIONS = 300
REQUESTS = 10_000
ANSWERS = 40
HANDOVERS = 20
PLUG = Guest(name="plug", tick_hz=19, dirty_pages_per_tick=0)
_DESTINATIONS = 8
_SLOTS = 8
_DISK = "/var/tmp"  # the lab's own file systems are in memory
_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>
"""


def run(settings: Settings) -> list[Figure]:
    """Decisions by the length of the queue, then a daemon with a long one."""
    found = []
    for length in LENGTHS:
        settings.tell(f"queue: decisions with {length} queued")
        full, moving = _when_all_are_full(length), _when_one_goes(length)
        found += [
            Figure(name=f"decision, {length} queued, 8 full destinations", unit="us", ours=full),
            Figure(name=f"decision, {length} queued, one comes, one goes", unit="us", ours=moving),
        ]
    if settings.quick:
        return [*found, Figure.left_out(f"a daemon with {REQUESTS} queued", "ms")]
    return found + _daemon(settings)


# Deciding


def _gate(length: int) -> Gate:
    """`length` wait for eight destinations in turn; nothing runs."""
    now = Now(0.0, datetime.now(UTC))
    gate = Gate("hosta", blocked=lambda: None, coming=lambda _: None, now=lambda: now)
    gate.limits = Limits(usable={Resource.OUTGOING_SLOT: _SLOTS, Resource.WORKER: 15})
    gate.window = _SLOTS
    for number in range(length):
        gate.queue.put(_entry(number))
    return gate


def _entry(number: int) -> Entry:
    return Entry(float(number), MigrationId(f"{number:08}"), f"peer{number % _DESTINATIONS}")


def _when_all_are_full(length: int) -> list[float]:
    """There is room here, and as many as may wait at each destination wait there."""
    gate = _gate(length)
    for destination in range(_DESTINATIONS):
        name = f"peer{destination}"
        gate.doors[name] = Door(leases=True)
        for entry in gate.queue.to(name)[: gate.window]:
            gate.leases[entry.id] = LeaseStanding(Standing.WAITING, since=0.0)
    return _microseconds(lambda _: gate.decide())


def _when_one_goes(length: int) -> list[float]:
    """All slots but one are taken; one is submitted, the next one found and sent off."""
    gate = _gate(length)
    for number in range(_SLOTS - 1):
        gate.account.put(f"runs{number}", Held(Direction.OUTGOING))

    def step(number: int) -> None:
        gate.queue.put(_entry(length + number))
        (iden,) = gate.decide().start
        gate.take(iden)
        gate.account.drop(iden)

    return _microseconds(step)


def _microseconds(step: Callable[[int], object]) -> list[float]:
    times = []
    for number in range(DECISIONS):
        began = time.perf_counter()
        step(number)
        times.append((time.perf_counter() - began) * 1e6)
    return times


# A daemon


def _daemon(settings: Settings) -> list[Figure]:
    """Fill the queue of hosta's pmigd, list it, and let some go."""
    names = [f"q{number}" for number in range(REQUESTS)]
    with (
        tempfile.TemporaryDirectory(dir=_DISK, prefix="pmigd-bench-") as disk,
        stage(pmigd={"limits": {"max_outgoing": 1}}) as lab,
    ):
        source, destination = lab.hosts
        stop_pmigd(lab)
        holding.install(destination)
        source.configure_pmigd({"daemon": {"state_dir": disk}})
        start_pmigd(lab)
        settings.tell(f"queue: {REQUESTS} domains")
        _define(source, names)
        plug = lab.guest(PLUG, on=source)
        settle(plug, source)
        with holding.held(destination, "migrate") as wait:
            first = api.submit(source, plug.name, destination.name)
            wait()
            settings.tell(f"queue: {REQUESTS} requests")
            empty_mib, lags = resident_mib(source.pmigd.pid), Lags(source)
            idens, submits = _submit(source, destination, names)
            submit_lag_ms, full_mib = lags.most_ms(), resident_mib(source.pmigd.pid)
            lags = Lags(source)
            pages = _answers(source, "/v1/migrations?limit=200")
            page_lag_ms = lags.most_ms()
            scrapes = _answers(source, "/metrics")
            queued = api.call(source, "GET", "/v1/limits")["queued"]
        settings.tell("queue: the first ones go")
        api.end(source, first, "succeeded")
        ended = [api.end(source, iden, "succeeded") for iden in idens[:HANDOVERS]]
        starts = api.handovers(ended, source)
    tenth = REQUESTS // 10
    every_kib = (full_mib - empty_mib) * 1024 / REQUESTS
    note = f"{queued} were queued in the end"
    return [
        Figure(name="submit, median", unit="ms", ours=[percentile(submits, 50)], note=note),
        Figure(name="submit, 99th percentile", unit="ms", ours=[percentile(submits, 99)]),
        Figure(name="submit, median of the first tenth", unit="ms", ours=submits[:tenth]),
        Figure(name="submit, median of the last tenth", unit="ms", ours=submits[-tenth:]),
        Figure(name="memory of a queued request", unit="KiB", ours=[every_kib]),
        Figure(name="page of 200, all queued", unit="ms", ours=pages),
        Figure(name="scrape, all queued", unit="ms", ours=scrapes),
        Figure(name="event loop late, submitting, at most", unit="ms", ours=[submit_lag_ms]),
        Figure(name="event loop late, listing, at most", unit="ms", ours=[page_lag_ms]),
        Figure(name="next start, all queued, offline", unit="ms", ours=starts),
    ]


def _define(host: Host, names: Sequence[str]) -> None:
    """Define a domain of each name, in one virsh for all."""
    directory = host.path("/run/lab/queued")
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text(_DOMAIN.format(name=name))
    commands = "".join(f"define /run/lab/queued/{name}\n" for name in names)
    host.run(["virsh"], input=commands, timeout=300.0)


def _submit(source: Host, destination: Host, names: Sequence[str]) -> tuple[list[str], list[float]]:
    """Submit one after the other: their ids, and the milliseconds that each took."""
    idens: list[str] = []
    times: list[float] = []
    for name in names:
        began = time.perf_counter()
        idens.append(api.submit(source, name, destination.name, offline=True, live=False))
        times.append((time.perf_counter() - began) * 1000)
    return idens, times


def _answers(source: Host, path: str) -> list[float]:
    """Milliseconds that one answer takes, again and again."""
    times = []
    for _ in range(ANSWERS):
        began = time.perf_counter()
        api.call(source, "GET", path)
        times.append((time.perf_counter() - began) * 1000)
    return times
