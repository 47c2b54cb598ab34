"""The peers' versions: asked of their libvirt, remembered for a while, never waited for long."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pmigd.adapters.tasks import Tasks
from pmigd.core.facts import DestinationFacts, HostFacts, Question
from pmigd.core.model import Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Code, refuse
from pmigd.daemon import versions
from pmigd.daemon.versions import AWAY_FOR_S, GOOD_FOR_S, Versions

HERE = HostFacts("hosta", "a", "9.0.0", "QEMU", "7.2.22")
B, C = (Target(name, f"qemu+tls://{name}/system") for name in ("hostb", "hostc"))


class Libvirts:
    """What the peers' libvirt say; an Event is one that says nothing."""

    facts = HERE

    def __init__(self, **said: HostFacts | Exception | asyncio.Event) -> None:
        self.said = said
        self.asked: list[str] = []

    async def inspect_peer(self, target: Target, question: Question) -> DestinationFacts:
        assert (question.domain.uuid, question.wants) == ("", None)
        self.asked.append(target.name)
        said = self.said[target.name]
        if isinstance(said, Exception):
            raise said
        if isinstance(said, asyncio.Event):
            await said.wait()
            said = self.said[target.name]
        return DestinationFacts(host=cast("HostFacts", said))


def of(libvirts: Libvirts, mono: Any = lambda: 1000.0) -> Versions:
    return Versions(cast("Hypervisor", libvirts), mono, Tasks("test"))


async def test_what_was_said_is_good_for_a_while() -> None:
    now = 1000.0
    libvirts = Libvirts(hostb=HERE, hostc=refuse(Code.DESTINATION_UNREACHABLE, "away"))
    known = of(libvirts, lambda: now)
    assert await known.of([B, C]) == {"hostb": HERE}
    assert await known.of([B, C]) == {"hostb": HERE}
    assert sorted(libvirts.asked) == ["hostb", "hostc"]
    now += AWAY_FOR_S
    libvirts.said["hostc"] = HERE
    assert await known.of([B, C]) == {"hostb": HERE, "hostc": HERE}
    assert sorted(libvirts.asked) == ["hostb", "hostc", "hostc"]
    now += GOOD_FOR_S
    libvirts.said["hostb"] = refuse(Code.DESTINATION_UNREACHABLE, "away")
    assert await known.of([B]) == {}


async def test_nobody_waits_for_one_that_takes_long_and_the_next_list_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "WAIT_S", 0.01)
    answer = asyncio.Event()
    libvirts = Libvirts(hostb=HERE, hostc=answer)
    known = of(libvirts)
    assert await known.of([B, C]) == {"hostb": HERE}
    assert await known.of([B, C]) == {"hostb": HERE}
    libvirts.said["hostc"] = HERE
    answer.set()
    while len(known._asking):
        await asyncio.sleep(0)
    assert set(await known.of([B, C])) == {"hostb", "hostc"}
    assert sorted(libvirts.asked) == ["hostb", "hostc"]


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "ASK_DEADLINE_S", 0.01)
    known = of(Libvirts(hostb=HERE, hostc=asyncio.Event()))
    assert await known.of([B, C]) == {"hostb": HERE}
    assert not known._asking


def test_a_peer_is_told_with_what_is_broken_between_here_and_there() -> None:
    known = of(Libvirts())
    assert known.told(None) == {}
    told = known.told(HostFacts("hostb", "b", "11.3.0", "QEMU", "10.0.2"))
    assert (told["libvirt_version"], told["hypervisor_version"]) == ("11.3.0", "10.0.2")
    sides = {defect.code: defect.sides for defect in told["defects"]}
    assert sides["postcopy_cannot_recover"] == ("destination",)
    assert sides["tls_long_transfer"] == ("source",)
    assert sides["postcopy_first_moment"] == ("source", "destination")
    fine = HostFacts("hostb", "b", "12.5.0", "QEMU", "11.0.0")
    known = of(Libvirts())
    cast("Any", known.hypervisor).facts = fine
    assert known.told(fine)["defects"] == ()
