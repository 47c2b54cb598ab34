"""Two full hosts that send each other everything at once, by virsh and by pmigd.

libvirtd has five workers on either host. Every `virsh migrate` holds one of them while it waits for
one of the other host, so that soon nobody has any. With pmigd every third guest is aborted once, in
the middle of its transfer, and sent off again.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contrib.bench.stage import VIRSH, command_virsh, stage, stop_pmigd
from contrib.bench.stats import Figure
from contrib.lab import Guest, LabError, api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from contrib.bench.stage import Settings
    from contrib.lab import Host, Lab, LabGuest

WORKERS = 5
SIZES = (6, 12)
FILL_MIB = 32
BANDWIDTH_MIB_S = 16  # so that the transfer lasts long enough to abort it
VIRSH_SECONDS = 60.0
PMIGD_SECONDS = 240.0
ABORT_SECONDS = 10.0
_LIMITS = {"max_outgoing": 20, "max_incoming": 20}  # only the workers are to be scarce


@dataclass(frozen=True)
class _Move:
    """One guest, where it is and where it shall go."""

    guest: LabGuest
    source: Host
    destination: Host
    is_aborted_once: bool

    @property
    def arrived(self) -> bool:
        """It is heard from the destination. libvirtd, which may be stuck, is not asked."""
        last = self.guest.heartbeats.last
        return last is not None and last.host == self.destination.name


@dataclass
class _Outcome:
    """What became of one storm."""

    arrived: int = 0
    seconds: float = 0.0
    keepalive_losses: int = 0
    aborts: list[float] = field(default_factory=list)
    note: str = ""


def run(settings: Settings) -> list[Figure]:
    """As many guests each way, all at once, as `SIZES` says."""
    if settings.quick:
        return [Figure.left_out("guests that arrive", "guests")]
    found: list[Figure] = []
    for size in SIZES:
        name = f"{size} guests each way"
        settings.tell(f"{name}, by pmigd")
        ours = _by_pmigd(size)
        settings.tell(f"{name}, by virsh, for {VIRSH_SECONDS:.0f} s at most")
        theirs = _by_virsh(size)
        found += [
            Figure(
                name=f"{name}: arrived of {2 * size}",
                unit="guests",
                ours=[ours.arrived],
                theirs=[theirs.arrived],
                paired=False,
                note=theirs.note,
            ),
            Figure(
                name=f"{name}: until all had arrived",
                unit="s",
                ours=[ours.seconds],
                theirs=[theirs.seconds] if theirs.arrived == 2 * size else [],
                note=ours.note,
            ),
            Figure(
                name=f"{name}: keepalive losses",
                unit="",
                ours=[ours.keepalive_losses],
                theirs=[theirs.keepalive_losses],
                paired=False,
            ),
            Figure(name=f"{name}: from abort to cancelled", unit="s", ours=ours.aborts),
        ]
    return found


def _begin(lab: Lab, size: int) -> list[_Move]:
    """The guests of both hosts, in turns."""
    a, b = lab.hosts
    moves = []
    for number in range(size):
        for source, destination in ((a, b), (b, a)):
            spec = Guest(
                name=f"{source.name}-{number}",
                tick_hz=19,
                dirty_pages_per_tick=0,
                fill_mib=FILL_MIB,
            )
            guest = lab.guest(spec, on=source)
            moves.append(_Move(guest, source, destination, is_aborted_once=number % 3 == 1))
    return moves


def _keepalive_lines(lab: Lab) -> int:
    """Times that a libvirtd says that the other side of a connection did not answer."""
    return sum(
        "keepalive" in line for host in lab.hosts for line in host.libvirtd.log().splitlines()
    )


def _by_virsh(size: int) -> _Outcome:
    with stage(libvirtd={"max_workers": WORKERS}) as lab:
        stop_pmigd(lab)
        moves = _begin(lab, size)
        began = time.monotonic()
        limit = ("--bandwidth", str(BANDWIDTH_MIB_S))
        clients = [
            move.source.popen(
                command_virsh(move.guest.name, move.destination, *limit),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for move in moves
        ]
        while time.monotonic() - began < VIRSH_SECONDS:
            if all(move.arrived for move in moves):
                break
            time.sleep(0.2)
        outcome = _Outcome(
            arrived=sum(move.arrived for move in moves),
            seconds=time.monotonic() - began,
            keepalive_losses=_keepalive_lines(lab),
        )
        if outcome.arrived < len(moves):
            outcome.note = f"virsh: given up after {VIRSH_SECONDS:.0f} s, {_abort_one(moves)}"
        for client in clients:
            client.kill()
            client.wait(10)
        return outcome


def _abort_one(moves: Sequence[_Move]) -> str:
    """What virsh can do about one that hangs."""
    stuck = next(move for move in moves if not move.arrived)
    try:
        stuck.source.run([*VIRSH, "domjobabort", stuck.guest.name], timeout=ABORT_SECONDS)
    except LabError as error:
        if "did not end within" in str(error):
            return f"domjobabort without an answer for {ABORT_SECONDS:.0f} s"
        return "domjobabort refused"
    return "domjobabort answered"


def _by_pmigd(size: int) -> _Outcome:
    with stage(leases=True, libvirtd={"max_workers": WORKERS}, pmigd={"limits": _LIMITS}) as lab:
        moves = _begin(lab, size)
        outcome = _Outcome()
        began = time.monotonic()
        idens = {move.guest.name: _send(move) for move in moves}
        to_abort = {move.guest.name: move for move in moves if move.is_aborted_once}
        while not all(move.arrived for move in moves):
            if time.monotonic() - began > PMIGD_SECONDS:
                outcome.note = f"given up after {PMIGD_SECONDS:.0f} s"
                break
            for move in _in_transfer(lab, to_abort.values()):
                name = move.guest.name
                del to_abort[name]
                seconds = _abort(move, idens[name])
                if seconds is not None:
                    outcome.aborts.append(seconds)
                    idens[name] = _send(move)
            time.sleep(0.05)
        outcome.seconds = time.monotonic() - began
        outcome.arrived = sum(move.arrived and _succeeded(move, idens) for move in moves)
        outcome.note = outcome.note or f"{len(outcome.aborts)} aborted once meanwhile"
        outcome.keepalive_losses = _keepalive_lines(lab) + sum(
            api.call(host, "GET", "/v1/status")["libvirt"]["reconnects"] for host in lab.hosts
        )
        return outcome


def _send(move: _Move) -> str:
    return api.submit(
        move.source, move.guest.name, move.destination.name, bandwidth_mib_s=BANDWIDTH_MIB_S
    )


def _succeeded(move: _Move, idens: Mapping[str, str]) -> bool:
    return bool(api.end(move.source, idens[move.guest.name])["state"] == "succeeded")


def _in_transfer(lab: Lab, moves: Iterable[_Move]) -> list[_Move]:
    names = {m["domain"]["name"] for host in lab.hosts for m in api.in_state(host, "precopy")}
    return [move for move in moves if move.guest.name in names]


def _abort(move: _Move, iden: str) -> float | None:
    """Seconds until it was cancelled; None if it had arrived before."""
    began = time.monotonic()
    try:
        api.abort(move.source, iden)
    except LabError:
        if api.end(move.source, iden)["state"] == "succeeded":
            return None
        raise
    ended = api.end(move.source, iden)
    return time.monotonic() - began if ended["state"] == "cancelled" else None
