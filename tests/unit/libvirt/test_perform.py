"""The migrate call is made once or provably never, whatever hangs before it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import libvirt
import pytest

from pmigd.adapters.libvirt import perform
from pmigd.adapters.libvirt.perform import Perform
from pmigd.core.model import Domain, Flow, Request, Target
from pmigd.core.plan import make_plan
from pmigd.core.ports import NotMade
from pmigd.core.problem import Code

HERE, THERE = "qemu:///system", "qemu+tcp://hostb/system"
DOMAIN = Domain("web1", "6f1c4f0e-0d0f-4a55-9f0e-000000000001")


class World:
    """Stands in for `libvirt.open`: which daemon may be opened when, and what was called."""

    def __init__(self) -> None:
        self.may_open = {HERE: threading.Event(), THERE: threading.Event()}
        self.may_return = threading.Event()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.made = 0

    def open(self, uri: str) -> _Connection:
        self.may_open[uri].wait()
        self.opened.append(uri)
        return _Connection(self, uri)

    def let(self, *uris: str) -> None:
        for uri in uris:
            self.may_open[uri].set()


class _Connection:
    def __init__(self, world: World, uri: str) -> None:
        self._world, self._uri = world, uri

    def lookupByUUIDString(self, _: str) -> _Domain:  # noqa: N802 - libvirt's name
        return _Domain(self._world)

    def close(self) -> None:
        self._world.closed.append(self._uri)


class _Domain:
    def __init__(self, world: World) -> None:
        self._world = world

    def migrateToURI3(self, *_: object) -> None:  # noqa: N802 - libvirt's name
        self._world.made += 1
        self._world.may_return.wait()

    migrate3 = migrateToURI3


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(libvirt, "open", world.open)
    monkeypatch.setattr(perform, "OPEN_DEADLINE_S", 0.05)
    yield world
    world.let(HERE, THERE)
    world.may_return.set()


def ticket(flow: Flow = Flow.P2P) -> Perform:
    request = Request("web1", "hostb", flow=flow)
    plan = make_plan(request, Target("hostb", THERE), guest_is_persistent=True)
    return Perform(HERE, DOMAIN, plan, resume=False)


async def reach(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def ended() -> None:
    """Until no thread of a migrate call is left."""
    await reach(lambda: not [t for t in threading.enumerate() if t.name == "pmigd-perform-web1"])


async def not_made(call: Perform) -> Code:
    with pytest.raises(NotMade) as caught:
        await call.answer()
    return caught.value.problem.code


@pytest.mark.parametrize(
    ("flow", "opens", "code"),
    [
        (Flow.P2P, [], Code.LIBVIRT_UNAVAILABLE),
        (Flow.DIRECT, [], Code.LIBVIRT_UNAVAILABLE),
        (Flow.DIRECT, [HERE], Code.DESTINATION_UNREACHABLE),
    ],
)
async def test_what_does_not_open_in_time_is_not_called_even_if_it_opens_later(
    world, flow, opens, code
) -> None:
    world.let(*opens)
    call = ticket(flow)
    assert await not_made(call) is code
    assert call.withdraw(), "the answer was a proof"
    world.let(HERE, THERE)
    await ended()
    assert world.made == 0
    assert sorted(world.closed) == sorted(world.opened)


@pytest.mark.parametrize(("flow", "opens"), [(Flow.P2P, []), (Flow.DIRECT, [HERE])])
async def test_what_is_withdrawn_while_it_opens_is_not_called(
    world, flow, opens, monkeypatch
) -> None:
    monkeypatch.setattr(perform, "OPEN_DEADLINE_S", 60)
    world.let(*opens)
    call = ticket(flow)
    await reach(lambda: world.opened == opens)
    assert call.withdraw()
    assert await not_made(call) is Code.CANCELLED
    world.let(HERE, THERE)
    await ended()
    assert world.made == 0


@pytest.mark.parametrize("flow", [Flow.P2P, Flow.DIRECT])
async def test_a_call_that_was_made_cannot_be_withdrawn_and_has_no_deadline(world, flow) -> None:
    world.let(HERE, THERE)
    call = ticket(flow)
    await reach(lambda: world.made == 1)
    assert not call.withdraw()
    waiting = asyncio.ensure_future(call.answer())
    await asyncio.sleep(2 * perform.OPEN_DEADLINE_S)
    assert not waiting.done()
    world.may_return.set()
    assert await waiting is None
    assert not call.withdraw(), "nor afterwards"
    assert world.made == 1


async def test_withdrawing_and_calling_at_the_same_moment_never_both_happen(
    world, monkeypatch
) -> None:
    monkeypatch.setattr(perform, "OPEN_DEADLINE_S", 60)
    world.may_return.set()
    world.let(THERE)
    for number in range(200):
        world.may_open[HERE].clear()
        world.made = 0
        call = ticket()
        world.let(HERE)
        await asyncio.sleep(0.0001 * (number % 10))
        prevented = call.withdraw()
        await ended()
        assert prevented is (world.made == 0)
