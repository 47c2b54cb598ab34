"""How long a migration takes and how long the guest stands still, by pmigctl and by virsh.

Both move the same guest there and back in turn; a pair is two migrations in the
same direction. While virsh is measured there is no pmigd at all, so that what
pmigd's watching costs is on its own account. Another guest goes there and back
after every start of pmigd, and once by virsh, for what is slow only the first time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrib.bench.process import timed
from contrib.bench.stage import (
    command_pmigctl,
    command_virsh,
    in_turn,
    settle,
    shape,
    stage,
    start_pmigd,
    stop_pmigd,
)
from contrib.bench.stats import Figure, pause
from contrib.lab import Guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from contrib.bench.process import Run
    from contrib.bench.stage import Settings
    from contrib.lab import Heartbeats, Host, LabGuest

    _Command = Callable[[str, Host], list[str]]

TICK_HZ = 100
LINK_MIB_S = 80.0
RATIO_AIM = 1.03
"""Of the wall times: what a person waits for, from the command's start to its end."""

WARM = Guest(name="warm", tick_hz=19, dirty_pages_per_tick=0)
TINY = Guest(name="tiny", tick_hz=TICK_HZ, dirty_pages_per_tick=0)
IDLE = Guest(name="idle", tick_hz=TICK_HZ, memory_mib=208, fill_mib=192, dirty_pages_per_tick=0)
WRITING = Guest(
    name="writing",
    tick_hz=TICK_HZ,
    memory_mib=208,
    fill_mib=144,
    working_set_mib=48,
    dirty_pages_per_tick=64,
)


class _Times:
    """What one tool's migrations took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.pauses_ms: list[float] = []


def tiny(settings: Settings) -> list[Figure]:
    """A guest that is moved at once: what is left is what the tools add."""
    return _compare(settings, TINY, link_mib_s=None)


def idle(settings: Settings) -> list[Figure]:
    """One pass over the memory, as fast as the link carries."""
    return _compare(settings, IDLE, link_mib_s=LINK_MIB_S)


def writing(settings: Settings) -> list[Figure]:
    """Several passes, because the guest writes meanwhile."""
    return _compare(settings, WRITING, link_mib_s=LINK_MIB_S)


def _compare(settings: Settings, spec: Guest, *, link_mib_s: float | None) -> list[Figure]:
    ours, theirs = _Times(), _Times()
    with stage() as lab:
        a, b = lab.hosts
        warm = lab.guest(WARM, on=a)
        guest = lab.guest(spec, on=a)
        if link_mib_s is not None:
            shape(lab, link_mib_s)
        stop_pmigd(lab)

        def move(moved: LabGuest, command: _Command, source: Host, destination: Host) -> Run:
            done = timed(source, command(moved.name, destination))
            settle(moved, destination)
            return done

        def there_and_back(command: _Command, times: _Times) -> None:
            for source, destination in ((a, b), (b, a)):
                done = move(guest, command, source, destination)
                gap = guest.heartbeats.longest_gap(done.began).seconds
                times.seconds.append(done.seconds)
                times.pauses_ms.append(pause(gap, spec.tick_hz) * 1000)

        def warm_up(command: _Command) -> None:
            for source, destination in ((a, b), (b, a)):
                move(warm, command, source, destination)

        def by_pmigctl() -> None:
            start_pmigd(lab)
            warm_up(command_pmigctl)
            there_and_back(command_pmigctl, ours)
            stop_pmigd(lab)

        def by_virsh() -> None:
            there_and_back(command_virsh, theirs)

        settle(guest, a)
        warm_up(command_virsh)
        for number in range(settings.pairs):
            settings.tell(f"{spec.name}: round {number + 1} of {settings.pairs}")
            in_turn(number, by_pmigctl, by_virsh)
        beats = guest.heartbeats
        note = _doubts(beats)
    return [
        Figure(
            name=f"{spec.name}: wall time",
            unit="s",
            ours=ours.seconds,
            theirs=theirs.seconds,
            ratio_aim=RATIO_AIM,
            note=note,
        ),
        Figure(
            name=f"{spec.name}: pause",
            unit="ms",
            ours=ours.pauses_ms,
            theirs=theirs.pauses_ms,
        ),
    ]


def _doubts(beats: Heartbeats) -> str:
    """What the guest suffered."""
    found = (
        ("ticks missing", beats.missing),
        ("ticks repeated", beats.duplicated),
        ("reboots", beats.restarts),
        ("damaged pages", beats.errors),
    )
    return ", ".join(f"{number} {what}" for what, number in found if number)
