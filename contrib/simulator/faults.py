"""Makes what a scenario says go wrong, and puts it right again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import libvirt

from contrib.simulator import domains
from contrib.simulator.journal import FULL, READ_ONLY
from contrib.simulator.migrating import migrate
from contrib.simulator.scenario import Fault, Kind
from contrib.simulator.world import ASLEEP, RUNNING, SHUTOFF, Copy

if TYPE_CHECKING:
    from contrib.simulator.run import Run


HOUR_S = 3600.0


async def befall(run: Run, fault: Fault) -> None:
    """Let it happen, wait as long as it lasts, and end it."""
    run.world.note(f"FAULT: {_words(run, fault)}")
    heal = _BEGIN[fault.kind](run, fault)
    if heal is None:
        return
    done = False

    def once() -> None:
        nonlocal done
        if not done:
            done = True
            heal()

    run.heals.append(once)
    await asyncio.sleep(fault.for_s)
    if not done:
        run.world.note(f"over: {fault.kind} ({run.names[fault.host]})")
    once()


def _words(run: Run, fault: Fault) -> str:
    match fault.kind:
        case Kind.CUT | Kind.MESSAGES:
            where = f"between {run.names[fault.host]} and {run.names[fault.peer]}"
        case (
            Kind.BREAK_STREAM
            | Kind.HANG_QEMU
            | Kind.END_GUEST
            | Kind.DESTROY_GUEST
            | Kind.SLEEP
            | Kind.START_AGAIN
            | Kind.VIRSH_ABORT
            | Kind.VIRSH_MIGRATE
            | Kind.VIRSH_SUSPEND
        ):
            where = f"{run.guests[fault.guest].name}, seen from {run.names[fault.host]}"
        case _:
            where = f"on {run.names[fault.host]}"
    return f"{fault.kind} ({where}), for {fault.for_s:g} s"


_Heal = Callable[[], None] | None


def _kill_pmigd(run: Run, f: Fault) -> _Heal:
    name = run.names[f.host]
    if not run.kill_pmigd(name):
        return None
    return lambda: run.start_pmigd(name)


def _stop_pmigd(run: Run, f: Fault) -> _Heal:
    name = run.names[f.host]
    run.begin(run.stop_pmigd(name))
    return lambda: run.start_pmigd(name)


def _kill_libvirtd(run: Run, f: Fault) -> _Heal:
    daemon = run.world.daemons[run.names[f.host]]
    daemon.kill()
    return daemon.start


def _freeze(run: Run, f: Fault) -> _Heal:
    daemon = run.world.daemons[run.names[f.host]]
    daemon.freeze()
    return daemon.thaw


def _slow(run: Run, f: Fault) -> _Heal:
    daemon = run.world.daemons[run.names[f.host]]
    daemon.slow = f.strength

    def fast() -> None:
        daemon.slow = 1.0

    return fast


def _refuse(run: Run, f: Fault) -> _Heal:
    daemon = run.world.daemons[run.names[f.host]]
    daemon.refuses = round(f.strength)

    def obey() -> None:
        daemon.refuses = 0

    return obey


def _cut(run: Run, f: Fault) -> _Heal:
    a, b = run.names[f.host], run.names[f.peer]
    run.world.network.cut(a, b)
    return lambda: run.world.network.mend(a, b)


def _break_stream(run: Run, f: Fault) -> _Heal:
    for copy in run.world.copies_of(run.guests[f.guest]):
        if copy.job is not None:
            copy.job.fail("connection reset by peer")
    return None


def _copy(run: Run, f: Fault) -> Copy | None:
    uuid = run.guests[f.guest].domain.uuid
    return run.world.machines[run.names[f.host]].copies.get(uuid)


def _hang(run: Run, f: Fault) -> _Heal:
    copy = _copy(run, f)
    if copy is None or not copy.active:
        return None
    copy.answers.clear()

    def go_on() -> None:
        copy.answers.set()
        if copy.job is not None:
            copy.job.changed()

    return go_on


def _end(run: Run, f: Fault) -> _Heal:
    copy = _copy(run, f)
    if copy is not None and copy.executes:
        run.world.daemons[copy.host].guest_ends(copy, "shut down")
    return None


def _destroy(run: Run, f: Fault) -> _Heal:
    copy = _copy(run, f)
    daemon = run.world.daemons[run.names[f.host]]
    if copy is not None and copy.active and daemon.up and not daemon.frozen:
        daemon.guest_ends(copy, "destroyed")
    return None


def _sleep(run: Run, f: Fault) -> _Heal:
    copies = run.world.executing(run.guests[f.guest])
    if len(copies) != 1:
        return None
    copy = copies[0]
    copy.state = ASLEEP

    def wake() -> None:
        if copy.state == ASLEEP:
            copy.state = RUNNING
            if copy.job is not None:
                copy.job.changed()

    return wake


def _start_again(run: Run, f: Fault) -> _Heal:
    guest = run.guests[f.guest]
    copy, daemon = _copy(run, f), run.world.daemons[run.names[f.host]]
    others = [c for c in run.world.copies_of(guest) if c.active]
    if copy is not None and copy.defined and copy.state == SHUTOFF and not others and daemon.up:
        guest.ended = ""
        guest.life += 1
        copy.life = guest.life
        run.world.begin_run(copy)
        run.world.start(copy, libvirt.VIR_DOMAIN_RUNNING_BOOTED, "somebody")
        daemon.lifecycle(copy, libvirt.VIR_DOMAIN_EVENT_STARTED, 0)
    return None


def _full(run: Run, f: Fault) -> _Heal:
    disk = run.disks[run.names[f.host]]
    disk.error = FULL if f.strength != 2 else READ_ONLY

    def free() -> None:
        disk.error = None

    return free


def _disk_hangs(run: Run, f: Fault) -> _Heal:
    disk = run.disks[run.names[f.host]]
    disk.hangs = True

    def go_on() -> None:
        disk.hangs = False

    return go_on


def _disk_slow(run: Run, f: Fault) -> _Heal:
    disk = run.disks[run.names[f.host]]
    disk.slow = f.strength

    def fast() -> None:
        disk.slow = 1.0

    return fast


def _clock(run: Run, f: Fault) -> _Heal:
    machine = run.world.machines[run.names[f.host]]
    machine.clock_s = HOUR_S if f.strength > 2 else -HOUR_S

    def right() -> None:
        machine.clock_s = 0.0

    return right


def _messages(run: Run, f: Fault) -> _Heal:
    a, b = run.names[f.host], run.names[f.peer]
    chances = run.chances[frozenset((a, b))]
    chances.lost = 0.3 if f.strength != 10 else 0.0
    chances.doubled = 0.3
    chances.late_s = 3.0 if f.strength > 10 else 0.1

    def reliable() -> None:
        chances.lost = chances.doubled = chances.late_s = 0.0

    return reliable


def _virsh_abort(run: Run, f: Fault) -> _Heal:
    daemon = run.world.daemons[run.names[f.host]]
    uuid = run.guests[f.guest].domain.uuid
    run.begin(_quiet(daemon.call(lambda: domains.abort(daemon, uuid, by="somebody"))))
    return None


def _virsh_migrate(run: Run, f: Fault) -> _Heal:
    guest = run.guests[f.guest]
    for copy in run.world.executing(guest):
        daemon = run.world.daemons[copy.host]
        target = run.names[f.peer] if copy.host != run.names[f.peer] else run.names[f.host]
        if target != copy.host:
            uuid = guest.domain.uuid
            run.begin(_quiet(daemon.call(lambda: migrate(daemon, uuid, target, None))))  # noqa: B023
            break
    return None


def _virsh_suspend(run: Run, f: Fault) -> _Heal:
    copies = run.world.executing(run.guests[f.guest])
    if len(copies) != 1 or copies[0].job is not None:
        return None
    copy = copies[0]
    daemon, uuid = run.world.daemons[copy.host], copy.guest.domain.uuid
    run.begin(_quiet(daemon.call(lambda: domains.suspend(daemon, uuid, pmigd=False))))
    return lambda: run.resume_by_hand(copy.guest)


async def _quiet(call: asyncio.Future[None]) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        await call


_BEGIN: dict[Kind, Callable[[Run, Fault], _Heal]] = {
    Kind.KILL_PMIGD: _kill_pmigd,
    Kind.STOP_PMIGD: _stop_pmigd,
    Kind.KILL_LIBVIRTD: _kill_libvirtd,
    Kind.FREEZE_LIBVIRTD: _freeze,
    Kind.SLOW_LIBVIRTD: _slow,
    Kind.REFUSE: _refuse,
    Kind.CUT: _cut,
    Kind.BREAK_STREAM: _break_stream,
    Kind.HANG_QEMU: _hang,
    Kind.END_GUEST: _end,
    Kind.DESTROY_GUEST: _destroy,
    Kind.SLEEP: _sleep,
    Kind.START_AGAIN: _start_again,
    Kind.DISK_FULL: _full,
    Kind.DISK_HANGS: _disk_hangs,
    Kind.DISK_SLOW: _disk_slow,
    Kind.CLOCK: _clock,
    Kind.MESSAGES: _messages,
    Kind.VIRSH_ABORT: _virsh_abort,
    Kind.VIRSH_MIGRATE: _virsh_migrate,
    Kind.VIRSH_SUSPEND: _virsh_suspend,
}
