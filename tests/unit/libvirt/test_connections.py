"""A few connections for many calls: one call at a time each, and what hangs holds up no other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pmigd.adapters.libvirt.connections import KEEP, SLOW_S, Connections
from pmigd.adapters.pool import Withdrawn


class Line:
    """A connection of this test's."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.closed = 0

    def isAlive(self) -> bool:  # noqa: N802 - libvirt's name
        return self.alive


class World:
    """What opens, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.opened: list[Line] = []
        self.fault: Exception | None = None
        self.connections = Connections(self._open, self._close)

    def _open(self) -> Line:
        if self.fault is not None:
            raise self.fault
        self.opened.append(Line(len(self.opened)))
        return self.opened[-1]

    @staticmethod
    def _close(line: Line) -> None:
        line.closed += 1

    @property
    def open(self) -> list[int]:
        """The numbers of those that were opened and not closed."""
        return [line.number for line in self.opened if not line.closed]

    def call(self) -> int:
        """A call that comes back; which connection it was made on."""
        with self.connections.lend(lambda: True) as line:
            return line.number

    def hang(self) -> contextlib.ExitStack:
        """A call that is out until what it gives is closed."""
        call = contextlib.ExitStack()
        call.enter_context(self.connections.lend(lambda: True))
        return call


@pytest.fixture
def world(monkeypatch) -> World:
    world = World()
    monkeypatch.setattr("pmigd.adapters.libvirt.connections.monotonic", lambda: world.now)
    return world


@contextlib.contextmanager
def began(function: Callable[[], object]) -> Iterator[threading.Thread]:
    """`function` runs meanwhile, and has ended afterwards."""
    thread = threading.Thread(target=function)
    thread.start()
    yield thread
    thread.join(5)
    assert not thread.is_alive()


def test_calls_one_after_the_other_share_one_connection(world) -> None:
    assert [world.call() for _ in range(20)] == [0] * 20
    assert world.open == [0]


def test_no_connection_has_two_calls_and_calls_that_come_back_wait_for_each_other() -> None:
    world, counting, busy, most = World(), threading.Lock(), [], []

    def call() -> None:
        with world.connections.lend(lambda: True) as line:
            with counting:
                assert line not in busy
                busy.append(line)
                most.append(len(busy))
            time.sleep(0.001)
            with counting:
                busy.remove(line)

    threads = [threading.Thread(target=call) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 40
    assert max(most) <= KEEP
    assert len(world.opened) <= KEEP


def test_a_call_that_hangs_keeps_its_connection_and_others_get_another(world) -> None:
    calls = []
    for _ in range(5):
        calls += [world.hang() for _ in range(KEEP)]
        world.now += SLOW_S + 0.1
    assert len(world.open) == 5 * KEEP
    assert world.call() == 5 * KEEP
    assert world.call() == 5 * KEEP, "those that come back go on sharing"
    for call in calls:
        call.close()
    assert len(world.open) == KEEP, "what is idle beyond need was closed"
    assert all(line.closed <= 1 for line in world.opened)


def test_a_call_waits_for_those_that_will_be_back_and_no_longer_once_they_are_slow(world) -> None:
    calls = [world.hang() for _ in range(KEEP)]
    with began(world.call):
        calls[0].close()  # it finds room
    assert len(world.opened) == KEEP
    calls[0] = world.hang()
    with began(world.call) as waiting:
        assert waiting.is_alive()
        world.now += SLOW_S + 0.1
    assert len(world.opened) == KEEP + 1
    for call in calls:
        call.close()


def test_what_is_not_wanted_any_more_does_not_wait_on(world) -> None:
    calls, answers = [world.hang() for _ in range(KEEP)], iter([True, True, False])
    with pytest.raises(Withdrawn), world.connections.lend(lambda: next(answers)):
        pytest.fail("it was made")
    for call in calls:
        call.close()
    assert world.call() == 0


def test_one_that_cannot_be_opened_is_told_to_its_caller_and_the_next_tries_anew(world) -> None:
    world.fault = OSError("no")
    for _ in range(2 * KEEP):
        with pytest.raises(OSError, match="no"):
            world.call()
    world.fault = None
    assert world.call() == 0
    assert world.connections.number == 1


def test_one_that_was_lost_is_lent_no_more_and_closed_after_its_call(world) -> None:
    call = world.hang()
    world.opened[0].alive = False
    assert world.call() == 1
    assert world.opened[0].closed == 0, "the call may still be in it"
    call.close()
    assert world.opened[0].closed == 1
    world.opened[1].alive = False
    assert world.call() == 2
    assert world.open == [2]


def test_at_the_end_the_idle_ones_are_closed(world) -> None:
    world.call()
    world.connections.close()
    assert world.open == []
