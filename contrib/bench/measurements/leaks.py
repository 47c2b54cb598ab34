"""Whether killed daemons leave leases behind: pmigd of either side, killed at every step.

Two guests go from one host to another that takes one at a time. pmigd of the source or of the
destination is killed (SIGKILL) when one of them has come to a certain step, and is started again.
When both have arrived, nothing may be left of their leases.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from contrib.bench import holding
from contrib.bench.stage import settle, stage, start_pmigd, stop_pmigd
from contrib.bench.stats import Figure
from contrib.lab import Guest, api
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contrib.bench.stage import Settings
    from contrib.lab import Host, LabGuest

ROUNDS = 3
FILL_MIB = 24
BANDWIDTH_MIB_S = 6  # where the transfer has to last until the daemon is back
SETTLE_SECONDS = 60.0  # twice as long as a lease lives that nobody renews
_LIMITS = {"max_outgoing": 4, "max_incoming": 1}


@dataclass
class _Journey:
    """Two guests that go from `source` to `destination`, and their migrations."""

    source: Host
    destination: Host
    guests: Sequence[LabGuest]
    idens: list[str] = field(default_factory=list)

    def begin(self, bandwidth_mib_s: int = 0) -> None:
        """Submit both."""
        for guest in self.guests:
            iden = api.submit(
                self.source, guest.name, self.destination.name, bandwidth_mib_s=bandwidth_mib_s
            )
            self.idens.append(iden)

    def come_to(self, state: str) -> None:
        """Wait until one of them is in `state`."""
        until(
            lambda: any(api.migration(self.source, x)["state"] == state for x in self.idens),
            f"a migration in state {state}",
            timeout=30,
            evidence=self.source.pmigd.log_tail,
        )

    def leases(self) -> tuple[int, int]:
        """What the destination has given: granted, waiting."""
        given = api.call(self.destination, "GET", "/v1/limits")["given"]
        return given["granted"], given["waiting"]

    def held(self) -> int:
        """Leases and slots that the destination counts."""
        slots: int = api.call(self.destination, "GET", "/v1/status")["limits"]["held_incoming"]
        return sum(self.leases()) + slots


# The steps. Inside the context one of the two is there; at its end the daemon is dead.


@contextlib.contextmanager
def _waiting(journey: _Journey) -> Iterator[None]:
    journey.begin(BANDWIDTH_MIB_S)
    journey.come_to("precopy")
    until(lambda: journey.leases() == (1, 1), "one that waits", timeout=10)
    yield


@contextlib.contextmanager
def _asked(journey: _Journey) -> Iterator[None]:
    """The question is out, and not answered yet."""
    pmigd = journey.destination.pmigd
    pmigd.freeze()
    journey.begin()
    yield
    if pmigd.alive:
        pmigd.thaw()


@contextlib.contextmanager
def _preparing(journey: _Journey) -> Iterator[None]:
    with holding.held(journey.destination, "migrate") as wait:
        journey.begin()
        wait()
        yield


@contextlib.contextmanager
def _transfer(journey: _Journey) -> Iterator[None]:
    journey.begin(BANDWIDTH_MIB_S)
    journey.come_to("precopy")
    yield


@contextlib.contextmanager
def _finishing(journey: _Journey) -> Iterator[None]:
    """The guest runs at the destination, and the source's libvirtd is not done with it yet."""
    with holding.held(journey.source, "stopped") as wait:
        journey.begin()
        wait()
        yield


@contextlib.contextmanager
def _after(journey: _Journey) -> Iterator[None]:
    """The first one has just ended, and the second one gets its place."""
    journey.begin()
    journey.come_to("succeeded")
    yield


_Step = Callable[[_Journey], AbstractContextManager[None]]

STEPS: Final[dict[str, _Step]] = {
    "waiting": _waiting,
    "asked": _asked,
    "preparing": _preparing,
    "transfer": _transfer,
    "finishing": _finishing,
    "after": _after,
}
QUICK_STEPS = ("preparing",)


@dataclass
class _Found:
    """What came of the kills at one step."""

    kills: int = 0
    arrived: int = 0
    left: int = 0
    clear_s: float = 0.0


def run(settings: Settings) -> list[Figure]:
    """Leases, and slots for them, that are left, by the step at which a daemon was killed."""
    rounds = 1 if settings.quick else ROUNDS
    found = {step: _Found() for step in (QUICK_STEPS if settings.quick else STEPS)}
    with stage(leases=True, pmigd={"limits": _LIMITS}) as lab:
        stop_pmigd(lab)
        for host in lab.hosts:
            holding.install(host)
        start_pmigd(lab)
        a, b = lab.hosts
        spec = Guest(name="g1", tick_hz=19, dirty_pages_per_tick=0, fill_mib=FILL_MIB)
        guests = [lab.guest(each, on=a) for each in (spec, replace(spec, name="g2"))]
        for number in range(rounds):
            for step, result in found.items():
                settings.tell(f"leases: round {number + 1} of {rounds}, {step}")
                # There with the source's daemon killed, and back with the destination's.
                _kill(_Journey(a, b, guests), a, STEPS[step], result)
                _kill(_Journey(b, a, guests), a, STEPS[step], result)
    return [
        Figure(
            name=f"leases left, killed at: {step}",
            unit="",
            ours=[result.left],
            note=f"{result.kills} kills; {result.arrived} of {2 * result.kills} guests arrived; "
            f"nothing held any more {result.clear_s:.1f} s later at most",
        )
        for step, result in found.items()
    ]


def _kill(journey: _Journey, victim: Host, step: _Step, result: _Found) -> None:
    with step(journey):
        victim.pmigd.kill()
    victim.pmigd.start()
    result.kills += 1
    for iden in journey.idens:
        result.arrived += api.end(journey.source, iden)["state"] == "succeeded"
    ended = time.monotonic()
    while (left := journey.held()) and time.monotonic() - ended < SETTLE_SECONDS:
        time.sleep(0.02)
    result.left += left
    result.clear_s = max(result.clear_s, time.monotonic() - ended)
    for guest in journey.guests:
        if guest.where() != [journey.destination]:  # the next journey begins there
            guest.migrate(journey.destination)
        settle(guest, journey.destination)
