"""What every measurement needs: two hosts with pmigd, and both tools to move guests with."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrib.lab import Lab
from contrib.lab.config_text import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from contrib.lab import Host, LabGuest

MAX_OUTGOING = 8
PMIGCTL = (str(Path(sys.executable).with_name("pmigctl")),)
"""As it is installed: `python -m pmigd.cli` loads more."""
VIRSH = ("virsh",)


@dataclass(frozen=True)
class Settings:
    """How much is measured, and where progress is told."""

    pairs: int = 5
    quick: bool = False
    tell: Callable[[str], None] = lambda _text: None


@contextlib.contextmanager
def stage(
    hosts: int = 2,
    *,
    leases: bool = False,
    libvirtd: Mapping[str, Any] | None = None,
    pmigd: Mapping[str, Any] | None = None,
) -> Iterator[Lab]:
    """A fresh lab with pmigd on all hosts; `libvirtd` and `pmigd` change their configuration.

    With `leases` every pmigd asks the others' before it starts anything.
    """
    config = merge({"limits": {"max_outgoing": MAX_OUTGOING}}, pmigd or {})
    with Lab(hosts, libvirtd=libvirtd, pmigd=config, leases=leases, name="bench") as lab:
        start_pmigd(lab)
        yield lab


def start_pmigd(lab: Lab) -> None:
    """Start it on every host, and wait until it is ready."""
    for host in lab.hosts:
        host.pmigd.start(wait_ready=False)
    for host in lab.hosts:
        host.pmigd.wait_ready()


def stop_pmigd(lab: Lab) -> None:
    """Stop it on every host: virsh is measured as it is where there is no pmigd."""
    for host in lab.hosts:
        host.pmigd.stop()


def shape(lab: Lab, mib_s: float) -> None:
    """Limit what arrives at every host, and only that: heartbeats share no queue with it."""
    for host in lab.hosts:
        lab.link(host).shape(mib_s, direction="in")


def command_pmigctl(guest: str, destination: Host, *options: str) -> list[str]:
    """Migrate with pmigctl; a persistent guest is moved as `command_virsh` moves it."""
    return [*PMIGCTL, "migrate", *options, guest, destination.name]


def command_virsh(guest: str, destination: Host, *options: str) -> list[str]:
    """Migrate with virsh and the flags that pmigd uses for a persistent guest."""
    flags = ("--live", "--p2p", "--persistent", "--undefinesource", "--verbose")
    return [*VIRSH, "migrate", *flags, *options, guest, destination.uri_from_peer]


def settle(guest: LabGuest, at: Host) -> None:
    """Let a guest that has arrived run on for a moment."""
    guest.heartbeats.wait(guest.spec.tick_hz // 2, host=at.name, timeout=30)


def in_turn(round_number: int, ours: Callable[[], None], theirs: Callable[[], None]) -> None:
    """Do both; who is first changes from round to round, so that no drift favours one."""
    first, second = (ours, theirs) if round_number % 2 == 0 else (theirs, ours)
    first()
    second()
