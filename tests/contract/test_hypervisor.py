"""The same promises, kept by real libvirt and by the simulated one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from contrib.lab import Guest as LabSpec
from contrib.lab import Lab, LabGuest, missing
from contrib.simulator import domains, loop
from contrib.simulator.hypervisor import SimulatedHypervisor
from contrib.simulator.libvirtd import Libvirtd
from contrib.simulator.loop import Life
from contrib.simulator.world import MIB, Guest, World
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.adapters.libvirt.translate import Notice
from pmigd.core.model import Domain, Target
from tests.contract.cases import CASES, Pair

Case = Callable[[Pair], Awaitable[None]]
_numbers = itertools.count(1)


def _named(case: Case) -> str:
    return case.__name__


# Simulated


class _SimulatedHands:
    def __init__(self, world: World) -> None:
        self._world = world

    async def guest(self, persistent: bool = False) -> Domain:
        number = next(_numbers)
        domain = Domain(f"c{number}", f"00000000-0000-4000-8000-{number:012x}")
        self._world.add(Guest(domain, 16 * MIB, 0, MIB, persistent), "hosta")
        return domain

    async def destroy(self, side: str, domain: Domain) -> None:
        daemon = self._world.daemons["hosta" if side == "source" else "hostb"]
        daemon.guest_ends(daemon.find(domain.uuid), "destroyed")

    async def suspend(self, domain: Domain) -> None:
        daemon = self._world.daemons["hosta"]
        await daemon.call(lambda: domains.suspend(daemon, domain.uuid, pmigd=False))


async def _with_simulated(case: Case) -> None:
    world = World(("hosta", "hostb"), Random(1))
    life = Life("test")
    pair: Pair
    found = []
    for name, side in (("hosta", "source"), ("hostb", "there")):
        found.append(
            SimulatedHypervisor(
                world,
                Libvirtd(world, world.machines[name]),
                life,
                notify=lambda notice, side=side: pair.told[side].append(notice),  # type: ignore[misc]
                connection_changed=lambda connected: None,
                owner_of=lambda uuid: "",
            )
        )
    pair = Pair(
        found[0], found[1], Target("hostb", "qemu+tcp://hostb/system"), _SimulatedHands(world)
    )
    runs = [life.spawn(hypervisor.run()) for hypervisor in found]
    await asyncio.sleep(0.1)
    try:
        await case(pair)
    finally:
        for run in runs:
            run.cancel()
    assert not world.wrong


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_simulated(case: Case) -> None:
    loop.run(_with_simulated(case))


# Real


class _RealHands:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.started: dict[str, LabGuest] = {}

    async def guest(self, persistent: bool = False) -> Domain:
        spec = LabSpec(name=f"c{next(_numbers)}", fill_mib=16, persistent=persistent)
        made = await _aside(lambda: self._lab.guest(spec, on=self._lab.hosts[0]))
        uuid = self._lab.hosts[0].virsh("domuuid", spec.name).strip()
        self.started[spec.name] = made
        return Domain(spec.name, uuid)

    async def destroy(self, side: str, domain: Domain) -> None:
        host = self._lab.hosts[0 if side == "source" else 1]
        await _aside(lambda: host.virsh("destroy", domain.name))

    async def suspend(self, domain: Domain) -> None:
        await _aside(lambda: self._lab.hosts[0].virsh("suspend", domain.name))

    def clear(self) -> None:
        for made in self.started.values():
            made.destroy()


async def _aside(work: Callable[[], Any]) -> Any:
    """What blocks, not on the loop that libvirt's events come on."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


class _NoHost:
    async def look(self, question: object, *, arriving: bool = False) -> None:
        return None

    async def where_leads(self, host: str) -> None:
        return None


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if lacking := missing():
        pytest.fail("no lab here: " + "; ".join(lacking))
    with Lab(2, name="contract") as lab:
        yield lab


@pytest.fixture
async def pair(lab: Lab) -> AsyncIterator[Pair]:
    hands = _RealHands(lab)
    made: Pair
    found = [
        LocalHypervisor(
            host.libvirt_uri,
            notify=lambda notice, side=side: made.told[side].append(notice),
            connection_changed=lambda connected: None,
            utc_now=lambda: datetime.now(UTC),
            own_host=_NoHost(),
        )
        for host, side in zip(lab.hosts, ("source", "there"), strict=True)
    ]
    made = Pair(found[0], found[1], Target("hostb", lab.hosts[1].uri_from_peer), hands)
    runs = [asyncio.ensure_future(hypervisor.run()) for hypervisor in found]

    async def connected() -> bool:
        return all(hypervisor.connected for hypervisor in found)

    await made.until(connected, "both connections")
    yield made
    for run, hypervisor in zip(runs, found, strict=True):
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
        await hypervisor.close()
    await _aside(hands.clear)


@pytest.mark.hypervisor
@pytest.mark.parametrize("case", CASES, ids=_named)
async def test_real(case: Case, pair: Pair) -> None:
    await case(pair)
    assert all(isinstance(n, Notice) for told in pair.told.values() for n in told)
