"""The simulator finds what it is there to find: faults that are put in on purpose are seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from contrib.simulator import domains, loop
from contrib.simulator.libvirtd import Libvirtd
from contrib.simulator.loop import Life, Stuck
from contrib.simulator.run import Run, run
from contrib.simulator.scenario import Act, Asked, GuestSpec, Scenario, When, Wish
from pmigd.adapters.peer.client import PeerAway
from pmigd.core import autostart, engine
from pmigd.core import events as ev
from pmigd.core.engine import ending
from pmigd.core.model import Migration, Now, Request, State
from pmigd.daemon.granting import Granting

MOVE = Scenario(3, 2, (GuestSpec(0, 64, 0, 8),), (Wish(0, 1, 1.0, Request("", "")),), trouble_s=5.0)


def wrong(scenario: Scenario = MOVE) -> str:
    return " ".join(run(scenario).wrong)


def test_all_is_well_without_a_fault() -> None:
    outcome = run(MOVE)
    assert outcome.ok
    assert outcome.ends[State.SUCCEEDED] == 2


def test_a_success_that_is_said_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    step = engine.step

    def hasty(migration: Migration, event: ev.Event, now: Now) -> engine.Step:
        after = step(migration, event, now)
        if after.migration.state is not State.PRECOPY or after.migration.external:
            return after
        return engine.Step(ending.end(after.migration, State.SUCCEEDED, None, now))

    monkeypatch.setattr(engine, "step", hasty)
    assert "untrue success" in wrong()


def test_a_lease_that_is_never_given_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep(self: Granting, leases: object) -> None:
        return

    monkeypatch.setattr(Granting, "_given_back", keep)
    assert "still held" in wrong()


def test_an_abort_of_somebody_elses_migration_is_seen() -> None:
    async def strike() -> list[str]:
        here = Run(MOVE)
        daemon = here.world.daemons["hosta"]
        uuid = here.guests[0].domain.uuid
        for name in here.names:
            here.start_pmigd(name)
        here.begin(here._wish(0, MOVE.wishes[0]))
        while (copy := here.world.machines["hosta"].copies[uuid]).job is None:
            await asyncio.sleep(0.01)
        assert copy.job.owner
        await daemon.call(lambda: domains.abort(daemon, uuid, by="another"))
        return here.world.wrong

    assert "wrong target" in " ".join(loop.run(strike()))


def test_a_guest_that_is_let_run_from_old_memory_is_seen() -> None:
    async def resume() -> list[str]:
        here = Run(MOVE)
        guest = here.guests[0]
        stale = here.world.machines["hosta"].copies[guest.domain.uuid]
        stale.state = 3
        guest.life += 1
        daemon: Libvirtd = here.world.daemons["hosta"]
        await daemon.call(lambda: domains.resume(daemon, guest.domain.uuid, by="pmigd"))
        return here.world.wrong

    assert "had run elsewhere since" in " ".join(loop.run(resume()))


def test_a_message_that_nobody_answers_is_given_up() -> None:
    async def ask() -> float:
        here = Run(MOVE)
        here.start_pmigd("hosta")
        await asyncio.sleep(4)
        channel = here._channel("hosta", "hostb")
        began = here.world.now
        with pytest.raises(PeerAway):
            await channel.hello()
        return here.world.now - began

    assert loop.run(ask()) < 1


# Time


def test_time_passes_only_when_nothing_is_ready() -> None:
    async def wait() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert loop.run(wait()) == pytest.approx(3600)


def test_a_circle_without_time_is_an_error() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="no time has passed"):
        loop.run(spin())


def test_what_waits_for_nothing_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="nothing will ever happen"):
        loop.run(wait())


def test_a_life_ends_with_all_that_it_began() -> None:
    async def work(done: list[str]) -> None:
        async def child() -> None:
            await asyncio.sleep(1)
            done.append("child")

        _ = asyncio.get_running_loop().create_task(child())
        await asyncio.sleep(1)
        done.append("parent")

    async def play() -> list[str]:
        done: list[str] = []
        killed, other = Life("killed"), Life("other")
        killed.begin(work(done))
        other.begin(work(done))
        await asyncio.sleep(0.5)
        killed.end()
        await asyncio.sleep(2)
        return done

    assert loop.run(play()) == ["child", "parent"] or loop.run(play()) == ["parent", "child"]


def test_an_autostart_that_was_taken_and_is_not_given_back_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(autostart, "want_at_the_end", lambda m, *_: m)
    abort = Asked(Act.ABORT, When(0.1, 0, State.PRECOPY), 0)
    assert "no copy at a boot" in wrong(replace(MOVE, asked=(abort,)))
