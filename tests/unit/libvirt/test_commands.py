"""A command looks right before it acts, and what it says was not done was not done."""

from __future__ import annotations

from collections.abc import Callable

import libvirt
import pytest

from pmigd.adapters.libvirt import commands
from pmigd.core.model import Domain
from pmigd.core.ports import NotMade
from pmigd.core.problem import Code, Refused

DOMAIN = Domain("web1", "6f1c4f0e-0d0f-4a55-9f0e-000000000001")


def fault(code: int, domain: int = libvirt.VIR_FROM_QEMU) -> libvirt.libvirtError:
    """An error as libvirt's binding raises it."""
    error = libvirt.libvirtError("no")
    error.err = (code, domain, "no", 2, None, None, None, -1, -1)
    return error


GONE = fault(libvirt.VIR_ERR_NO_DOMAIN)
LOCKED = fault(libvirt.VIR_ERR_OPERATION_TIMEOUT)
REFUSED = fault(libvirt.VIR_ERR_OPERATION_INVALID)
BROKEN = fault(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC)

Answer = bool | libvirt.libvirtError


class World:
    """What libvirt answers, one after the other, and what was done."""

    def __init__(self, *may: Answer, act: libvirt.libvirtError | None = None) -> None:
        self.wanted = True
        self.done = 0
        self._may, self._act = iter(may), act

    def lookupByUUIDString(self, _: str) -> World:  # noqa: N802 - libvirt's name
        return self

    def may(self, _: object) -> bool:
        answer = next(self._may)
        if isinstance(answer, libvirt.libvirtError):
            raise answer
        return answer

    def act(self, _: object) -> None:
        self.done += 1
        if self._act is not None:
            raise self._act

    def carry_out(self, *, begin: Callable[[], bool] | None = None) -> bool:
        return commands.carry_out(
            self,
            DOMAIN,
            may=self.may,
            wanted=lambda: self.wanted,
            begin=begin or (lambda: self.wanted),
            act=self.act,
        )


def test_it_is_done_once_where_libvirt_may() -> None:
    world = World(True)
    assert world.carry_out()
    assert world.done == 1


@pytest.mark.parametrize("answer", [False, GONE])
def test_it_is_not_done_where_libvirt_may_not(answer) -> None:
    world = World(answer)
    assert not world.carry_out()
    assert world.done == 0


def test_a_look_that_only_the_guests_lock_stopped_is_taken_again_not_given_up() -> None:
    """libvirt gives up after 30 s where an earlier question hangs; the guest may hang longer."""
    world = World(LOCKED, LOCKED, True)
    assert world.carry_out()
    assert world.done == 1


def test_nor_for_longer_than_it_is_wanted() -> None:
    world = World(LOCKED, LOCKED)
    world.wanted = False
    with pytest.raises(NotMade):
        world.carry_out()
    assert world.done == 0


def test_it_is_not_done_when_it_is_found_unwanted_after_the_look() -> None:
    world = World(True)
    with pytest.raises(NotMade) as caught:
        world.carry_out(begin=lambda: False)
    assert caught.value.problem.code is Code.CANCELLED
    assert world.done == 0


@pytest.mark.parametrize(
    ("error", "code"), [(BROKEN, Code.LIBVIRT_UNAVAILABLE), (REFUSED, Code.REFUSED_BY_LIBVIRT)]
)
def test_a_look_that_fails_is_a_proof_that_it_was_not_done(error, code) -> None:
    world = World(error)
    with pytest.raises(NotMade) as caught:
        world.carry_out()
    assert caught.value.problem.code is code
    assert world.done == 0


def test_an_act_that_did_not_get_the_guests_lock_was_not_made() -> None:
    with pytest.raises(NotMade) as caught:
        World(True, act=LOCKED).carry_out()
    assert caught.value.problem.code is Code.JOB_LOCK_TIMEOUT


def test_a_refused_act_is_told_unless_what_it_was_for_has_ended() -> None:
    with pytest.raises(Refused) as caught:
        World(True, True, act=REFUSED).carry_out()
    assert not isinstance(caught.value, NotMade)
    assert not World(True, False, act=REFUSED).carry_out()
    assert not World(True, GONE, act=REFUSED).carry_out()


def test_an_act_whose_connection_broke_may_have_been_done() -> None:
    with pytest.raises(Refused) as caught:
        World(True, act=BROKEN).carry_out()
    assert not isinstance(caught.value, NotMade)
    assert caught.value.problem.code is Code.LIBVIRT_UNAVAILABLE
