"""Guests whose QEMU does not answer: whatever is asked about them, the others do not feel it.

QEMU is stopped by SIGSTOP: then libvirt's questions to it do not come back, as with a guest whose
storage is away. First pmigd as a whole, then the hypervisor that it is made of, on real libvirtd.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from pmigd.adapters.libvirt import calls, perform
from pmigd.adapters.libvirt.connections import KEEP
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.core.model import Domain, Flow, Job, Plan, Power, Request, Target
from pmigd.core.plan import make_plan
from pmigd.core.ports import NotMade, Settings
from pmigd.core.problem import Code, Refused
from pmigd.daemon.ownhost import LocalHost

pytestmark = pytest.mark.hypervisor

HANGING = 2
ABORTS = 20
SOON_S = 2.0


@contextlib.contextmanager
def stopped(host: Host, *guests: LabGuest) -> Iterator[Callable[[], None]]:
    """The guests' QEMUs answer nothing, until the block ends or what it is given is called."""
    pids = [g.qemu_pid(host) for g in guests]

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def all_stand() -> bool:
        stats = (Path(f"/proc/{pid}/stat").read_text() for pid in pids)
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(all_stand, "the guests' QEMUs to stand still", timeout=5)
    try:
        yield go_on
    finally:
        go_on()


def hanging(a, slow, number: int) -> tuple[list[LabGuest], list[str]]:
    """Guests in pre-copy, to be stopped there."""
    guests = [slow() for _ in range(number)]
    ids = [a.submit(g, bandwidth_mib_s=1)["id"] for g in guests]
    for iden in ids:
        a.wait(iden, "precopy", also=lambda m: m["progress"] is not None)
    return guests, ids


def abort_a_third(a, iden: str) -> float:
    """How long it took to be rid of a running migration."""
    a.wait(iden, "precopy", timeout=30)
    began = time.monotonic()
    a.abort(iden)
    a.end(iden, "cancelled", timeout=15)
    return time.monotonic() - began


@pytest.mark.long
@pytest.mark.timeout(300)
def test_another_guest_is_submitted_migrated_and_aborted_as_if_they_were_not_there(
    a, slow, guest
) -> None:
    third = guest(memory_mib=48, fill_mib=24, tick_hz=19)
    guests, ids = hanging(a, slow, HANGING)
    reconnects = a.call("GET", "/v1/status")["libvirt"]["reconnects"]
    took, submitted = [], []
    with stopped(a.host, *guests):
        # Every look that was out has become overdue, and stays out.
        until(
            lambda: a.metric("pmigd_executor_threads_overdue", pool="look") == HANGING,
            "their looks to be overdue",
            timeout=20,
        )
        for _ in range(ABORTS):
            began = time.monotonic()
            iden = a.submit(third, bandwidth_mib_s=1)["id"]
            submitted.append(time.monotonic() - began)
            took.append(abort_a_third(a, iden))
        # One look out for each, and no more; the third one's are not among them.
        assert a.metric("pmigd_executor_threads_overdue", pool="look") == HANGING
        assert a.metric("pmigd_executor_queue_length", pool="look") == 0
        listed = {d["name"] for d in a.call("GET", "/v1/domains")["items"]}
        assert listed >= {g.name for g in guests}
    assert sorted(took)[int(0.95 * (len(took) - 1))] < SOON_S, took
    assert max(submitted) < SOON_S, submitted
    assert third.where() == [a.host]
    assert third.heartbeats.memory_ok

    # They go on where they were, and can be watched and aborted again.
    for iden, g in zip(ids, guests, strict=True):
        a.abort(iden)
        a.end(iden, "cancelled", timeout=20)
        assert g.where() == [a.host]
    assert a.metric("pmigd_executor_threads_busy", pool="look") == 0
    assert a.call("GET", "/v1/status")["libvirt"]["reconnects"] == reconnects


def test_an_abort_of_a_guest_that_hangs_is_done_when_it_answers_again(a, slow) -> None:
    (g,), (iden,) = hanging(a, slow, 1)
    with stopped(a.host, g) as go_on:
        until(
            lambda: a.metric("pmigd_executor_threads_busy", pool="look") > 0,
            "a look to be out",
            timeout=5,
        )
        a.abort(iden)
        until(
            lambda: a.metric("pmigd_executor_threads_busy", pool="command") == 1,
            "the abort to be out",
            timeout=5,
        )
        go_on()
        began = time.monotonic()
        a.end(iden, "cancelled", timeout=15)
        assert time.monotonic() - began < SOON_S
    assert g.where() == [a.host]
    assert a.metric("pmigd_executor_threads_busy", pool="command") == 0


def workers(a) -> dict[str, Any]:
    """What is said of libvirtd's workers."""
    rows = a.call("GET", "/v1/limits")["resources"]
    return next(row for row in rows if row["resource"] == "worker")


def test_workers_of_libvirtd_that_a_guest_holds_are_not_given_away(a, slow, guest) -> None:
    # Three for migrations, of which two may leave; the daemon is not asked for what it has in use.
    a.reload({"limits": {"max_outgoing": 8, "reserve_workers": 17, "source": "conf"}})
    (g,), (first,) = hanging(a, slow, 1)
    with stopped(a.host, g) as go_on:
        held = until(lambda: (row := workers(a))["others"] and row, "a look to count", timeout=30)
        assert g.name in held["note"]
        second = a.submit(guest())["id"]
        m = a.wait(second, "queued", also=lambda m: m["waiting_for"]["resource"] == "worker")
        assert m["waiting_for"]["detail"].endswith(f"do not answer: {g.name}")
        assert f"do not answer: {g.name}" in a.ctl("show", second).stdout
        go_on()
        a.end(second)
    assert workers(a)["others"] == 0
    a.abort(first)
    a.end(first, "cancelled")


# The hypervisor itself


class Permit:
    """The permit of a command of this test's."""

    def __init__(self) -> None:
        self.wanted = True


@dataclass
class Ours:
    """hosta's libvirtd as pmigd has it, in this process."""

    host: Host
    hypervisor: LocalHypervisor

    def domain(self, g: LabGuest) -> Domain:
        return Domain(g.name, g.uuid)

    def plan(self, g: LabGuest, **fields: object) -> Plan:
        request = Request(g.name, "hostb", **{"bandwidth_mib_s": 1, **fields})
        target = Target("hostb", "qemu+tcp://hostb/system")
        return make_plan(request, target, guest_is_persistent=True)

    async def sends(self, g: LabGuest) -> None:
        """Until its migration sends memory: before, libvirt has no need to ask QEMU."""
        async with asyncio.timeout(30):
            while True:
                _, sample = await self.hypervisor.sample(self.domain(g))
                if sample is not None and sample.memory_processed_bytes:
                    return
                await asyncio.sleep(0.05)

    def busy(self, name: str) -> int:
        (pool,) = (p for p in self.hypervisor.pools if p.name == name)
        return pool.busy

    async def reach(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def ours(hosts) -> AsyncIterator[Ours]:
    loop, up = asyncio.get_running_loop(), asyncio.Event()
    hypervisor = LocalHypervisor(
        hosts[0].libvirt_uri,
        notify=lambda _: None,
        connection_changed=lambda there: up.set() if there else None,
        utc_now=lambda: datetime.now(UTC),
        own_host=LocalHost.__new__(LocalHost),  # not asked here
    )
    run = loop.create_task(hypervisor.run())
    async with asyncio.timeout(20):
        await up.wait()
    yield Ours(hosts[0], hypervisor)
    hosts[0].libvirtd.thaw()
    run.cancel()
    await asyncio.wait([run])
    await hypervisor.close()


async def refused(look: Awaitable[object]) -> str:
    with pytest.raises(Refused) as caught:
        await look
    assert caught.value.problem.code is Code.LIBVIRT_UNAVAILABLE
    return caught.value.problem.detail


async def test_looks_that_hang_take_a_place_each_and_what_they_took_is_given_back(
    ours, guest, monkeypatch
) -> None:
    monkeypatch.setattr(calls, "LOOK_DEADLINE_S", 2.0)
    sick = [guest(memory_mib=16, tick_hz=19, fill_mib=0) for _ in range(6)]
    well = guest()
    hypervisor, lines = ours.hypervisor, ours.hypervisor._looks.lines
    looks = [ours.domain(g) for g in sick]
    with stopped(ours.host, *sick):
        # The settings are what libvirt has to ask QEMU for, with or without a migration.
        first = await asyncio.gather(*(refused(hypervisor.settings(d)) for d in looks))
        assert all("get_settings" in detail for detail in first)
        assert ours.busy("look") == len(sick)
        took = []
        for domain in looks:
            began = time.monotonic()
            assert f"'{domain.name}' for" in await refused(hypervisor.settings(domain))
            took.append(time.monotonic() - began)
        assert min(took) < calls.LOOK_DEADLINE_S, "it is refused at once"
        assert ours.busy("look") == len(sick), "no second thread for any of them"
        assert lines.number == len(sick)

        began = time.monotonic()
        for _ in range(20):
            assert (await hypervisor.lookup(well.name)).view.power is Power.RUNNING
            assert (await hypervisor.settings(ours.domain(well))).max_downtime_ms
            listed = {d.domain.uuid: d.view.power for d in await hypervisor.domains()}
            assert {listed[d.uuid] for d in looks} == {Power.RUNNING}
        assert time.monotonic() - began < 20 * calls.LOOK_DEADLINE_S, "it is not waited for"
    await ours.reach(lambda: ours.busy("look") == 0)
    assert lines.number == KEEP
    assert (await hypervisor.settings(looks[0])).max_downtime_ms


async def test_a_command_that_hung_is_not_made_if_it_is_not_wanted_any_more(ours, guest) -> None:
    g, permit = guest(memory_mib=64, fill_mib=40), Permit()
    hypervisor, domain = ours.hypervisor, ours.domain(g)
    ticket = hypervisor.perform(domain, ours.plan(g))
    await ours.sends(g)
    with stopped(ours.host, g):
        abort = asyncio.ensure_future(hypervisor.abort_job(domain, permit))
        second = asyncio.ensure_future(hypervisor.suspend(domain, permit))
        await ours.reach(lambda: ours.busy("command") == 1)
        second.cancel()
        permit.wanted = False
        quiet = asyncio.ensure_future(hypervisor.quiet(domain))
        await asyncio.wait([second])
        assert not quiet.done()
    with pytest.raises(NotMade):
        await abort
    async with asyncio.timeout(5):
        await quiet
    assert (await hypervisor.sample(domain))[0] is Job.OUTGOING
    assert (await hypervisor.lookup(g.uuid)).view.power is Power.RUNNING

    assert await hypervisor.abort_job(domain, Permit())
    problem = await ticket.answer()
    assert problem is not None
    assert not ticket.withdraw(), "it was made"


async def test_commands_look_at_what_they_are_for_right_before_they_act(ours, guest) -> None:
    g, permit = guest(), Permit()
    hypervisor, domain = ours.hypervisor, ours.domain(g)
    # No migration: it is not aborted, not switched, not paused for nothing, nothing is set.
    assert not await hypervisor.abort_job(domain, permit)
    assert not await hypervisor.start_postcopy(domain, permit)
    assert not await hypervisor.suspend(domain, permit)
    assert not await hypervisor.change(domain, Settings(max_downtime_ms=77), permit)
    assert not await hypervisor.resume(domain, permit), "it runs"
    assert (await hypervisor.lookup(g.uuid)).view.power is Power.RUNNING
    assert (await hypervisor.settings(domain)).max_downtime_ms != 77

    ours.host.virsh("suspend", g.name)
    assert await hypervisor.resume(domain, permit)
    assert (await hypervisor.lookup(g.uuid)).view.power is Power.RUNNING
    g.destroy()
    assert not await hypervisor.abort_job(domain, permit), "nothing is there"


async def test_during_a_migration_they_act_and_settings_tell_what_is_in_force(ours, guest) -> None:
    g, permit = guest(memory_mib=64, fill_mib=40), Permit()
    hypervisor, domain = ours.hypervisor, ours.domain(g)
    ticket = hypervisor.perform(domain, ours.plan(g))
    await ours.sends(g)
    wanted = Settings(max_downtime_ms=77, bandwidth_mib_s=2)
    assert await hypervisor.change(domain, wanted, permit)
    told = await hypervisor.settings(domain)
    assert (told.max_downtime_ms, told.bandwidth_mib_s) == (77, 2)
    assert await hypervisor.suspend(domain, permit)
    assert (await hypervisor.lookup(g.uuid)).view.power is Power.PAUSED
    assert not await hypervisor.resume(domain, permit), "it has a job"
    unwanted = Permit()
    unwanted.wanted = False
    with pytest.raises(NotMade):
        await hypervisor.abort_job(domain, unwanted)
    assert await hypervisor.abort_job(domain, permit)
    await ticket.answer()
    await ours.reach(lambda: g.states()[ours.host.name] in ("running", "paused"))
    if (await hypervisor.lookup(g.uuid)).view.power is Power.PAUSED:
        assert await hypervisor.resume(domain, permit)


@pytest.mark.parametrize("flow", [Flow.P2P, Flow.DIRECT])
async def test_a_migrate_call_that_cannot_be_opened_in_time_is_never_made(
    ours, guest, monkeypatch, flow
) -> None:
    monkeypatch.setattr(perform, "OPEN_DEADLINE_S", 0.5)
    g = guest()
    ours.host.libvirtd.freeze()
    ticket = ours.hypervisor.perform(ours.domain(g), ours.plan(g, flow=flow))
    with pytest.raises(NotMade) as caught:
        await ticket.answer()
    assert caught.value.problem.code is Code.LIBVIRT_UNAVAILABLE
    assert ticket.withdraw(), "a proof"
    ours.host.libvirtd.thaw()
    await ours.reach(lambda: not perform_threads(g))
    assert "None" in ours.host.virsh("domjobinfo", g.name)
    assert g.where() == [ours.host]


async def test_a_migrate_call_that_is_withdrawn_while_it_opens_is_never_made(ours, guest) -> None:
    g = guest()
    ours.host.libvirtd.freeze()
    ticket = ours.hypervisor.perform(ours.domain(g), ours.plan(g))
    assert ticket.withdraw()
    with pytest.raises(NotMade) as caught:
        await ticket.answer()
    assert caught.value.problem.code is Code.CANCELLED
    ours.host.libvirtd.thaw()
    await ours.reach(lambda: not perform_threads(g))
    assert g.where() == [ours.host]


def perform_threads(g: LabGuest) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == f"pmigd-perform-{g.name}"]
