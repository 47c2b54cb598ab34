"""What a hypervisor promises behind :class:`pmigd.core.ports.Hypervisor`, said once.

Each case runs against real libvirt and QEMU and against the simulated ones: what both do, the
simulator may be believed about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from pmigd.adapters.libvirt.translate import Notice
from pmigd.core import events as ev
from pmigd.core.model import (
    Because,
    Direction,
    Domain,
    Job,
    Plan,
    Postcopy,
    Power,
    Request,
    Target,
    View,
)
from pmigd.core.ports import Hypervisor, NotMade, Settings, Ticket
from pmigd.core.problem import Code, Problem, Refused

PATIENCE_S = 20.0
SLOW_MIB_S = 1


class Hands(Protocol):
    """What people do to guests without pmigd."""

    async def guest(self, **spec: Any) -> Domain:
        """A guest that runs on the source, and has 16 MiB and more to send."""

    async def destroy(self, side: str, domain: Domain) -> None:
        """End it there."""

    async def suspend(self, domain: Domain) -> None:
        """Pause it at the source."""


class Permit:
    """Wanted until it is not."""

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted


YES = Permit()


@dataclass
class Pair:
    """Two hosts' libvirt, and everything that they told."""

    source: Hypervisor
    destination: Hypervisor
    target: Target
    hands: Hands
    told: dict[str, list[Notice]] = field(default_factory=lambda: {"source": [], "there": []})

    def plan(self, **request: Any) -> Plan:
        """A plan to move a guest slowly."""
        given = {"bandwidth_mib_s": SLOW_MIB_S, "unsafe": True, **request}
        return Plan(self.target, Request("", self.target.name, **given), False, False)

    def move(self, domain: Domain, **request: Any) -> Ticket:
        """Make the call."""
        return self.source.perform(domain, self.plan(**request))

    async def here(self, domain: Domain) -> View:
        """The source's copy."""
        return (await self.source.look_here(domain, completed=None))[0]

    async def there(self, domain: Domain) -> View:
        """The destination's."""
        return (await self.destination.look_here(domain, completed=None))[0]

    def events(self, side: str, domain: Domain) -> list[str]:
        """The names of what was told about a guest, repeated passes once."""
        names = [
            type(n.event).__name__ if n.event else f"began {n.began}"
            for n in self.told[side]
            if n.domain == domain
        ]
        return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]

    async def until(self, true: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for it, no longer than a while."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while not await true():
            assert loop.time() < end, f"waited {PATIENCE_S:g} s for {what}"
            await asyncio.sleep(0.05)

    async def until_sending(self, domain: Domain) -> None:
        """Memory is on its way."""

        async def sends() -> bool:
            _, sample = await self.source.sample(domain)
            return sample is not None and sample.memory_total_bytes > 0

        await self.until(sends, "memory to be sent")


async def came_back_with(ticket: Ticket) -> Problem | None:
    """The call's answer, within a while."""
    async with asyncio.timeout(PATIENCE_S):
        return await ticket.answer()


async def a_guest_is_found_by_name_and_by_uuid(pair: Pair) -> None:
    domain = await pair.hands.guest()
    for word in (domain.name, domain.uuid):
        found = await pair.source.lookup(word)
        assert found.domain == domain
        assert (found.view.power, found.view.job) == (Power.RUNNING, Job.NONE)
    assert domain in [facts.domain for facts in await pair.source.domains()]
    with pytest.raises(Refused) as refused:
        await pair.destination.lookup(domain.name)
    assert refused.value.problem.code is Code.DOMAIN_NOT_FOUND
    assert (await pair.there(domain)).power is Power.ABSENT


async def a_guest_on_its_way_has_a_job_at_both_ends(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    here, there = await pair.here(domain), await pair.there(domain)
    assert (here.power, here.job) == (Power.RUNNING, Job.OUTGOING)
    assert (there.power, there.because, there.job) == (
        Power.PAUSED,
        Because.MIGRATION,
        Job.INCOMING,
    )
    assert (await pair.destination.sample(domain)) == (Job.INCOMING, None)
    job, sample = await pair.source.sample(domain)
    assert job is Job.OUTGOING
    assert sample is not None
    assert 0 < sample.memory_remaining_bytes <= sample.memory_total_bytes
    assert not ticket.withdraw()
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(ticket)


async def a_guest_that_arrives_runs_there_and_not_here(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain, bandwidth_mib_s=0)
    assert await came_back_with(ticket) is None
    assert (await pair.here(domain)).gone
    there = await pair.there(domain)
    assert (there.power, there.because, there.job) == (Power.RUNNING, Because.MIGRATED, Job.NONE)

    async def all_told() -> bool:
        return "Completed" in pair.events("source", domain)

    await pair.until(all_told, "the last event")
    # QEMU counts the dirty pages a last time when the guest has been stopped.
    told = ["IterationBegan", "SwitchedOver", "IterationBegan", "Left", "Completed"]
    assert pair.events("source", domain) == told
    assert pair.events("there", domain) == ["began incoming", "Arrived"]


async def a_call_that_is_withdrawn_before_it_was_made_is_never_made(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    assert ticket.withdraw()
    with pytest.raises(NotMade) as not_made:
        await came_back_with(ticket)
    assert not_made.value.problem.code is Code.CANCELLED
    assert (await pair.here(domain)).job is Job.NONE
    assert (await pair.there(domain)).power is Power.ABSENT


async def a_second_migration_of_a_guest_is_refused_at_once(pair: Pair) -> None:
    domain = await pair.hands.guest()
    first = pair.move(domain)
    await pair.until_sending(domain)
    refused = await came_back_with(pair.move(domain))
    assert refused is not None
    assert refused.code is Code.REFUSED_BY_LIBVIRT
    assert (await pair.here(domain)).job is Job.OUTGOING
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(first)


async def an_abort_leaves_the_guest_running_here(pair: Pair) -> None:
    domain = await pair.hands.guest()
    assert not await pair.source.abort_job(domain, YES)  # before
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    assert await pair.source.abort_job(domain, YES)
    answer = await came_back_with(ticket)
    assert answer is not None
    assert answer.code is Code.ABORTED_ELSEWHERE
    here = await pair.here(domain)
    assert (here.power, here.job) == (Power.RUNNING, Job.NONE)

    async def cleaned_up() -> bool:
        return (await pair.there(domain)).power is Power.ABSENT

    await pair.until(cleaned_up, "the destination's copy to end")
    assert pair.events("source", domain) == ["IterationBegan"]
    assert pair.events("there", domain) == ["began incoming", "GuestEnded"]
    assert not await pair.source.abort_job(domain, YES)  # after


async def what_is_not_wanted_any_more_is_not_done(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    no = Permit(wanted=False)
    for command in (
        pair.source.abort_job(domain, no),
        pair.source.suspend(domain, no),
        pair.source.change(domain, Settings(max_downtime_ms=77), no),
    ):
        with pytest.raises(NotMade):
            await command
    here = await pair.here(domain)
    assert (here.power, here.job) == (Power.RUNNING, Job.OUTGOING)
    assert (await pair.source.settings(domain)).max_downtime_ms != 77
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(ticket)


async def nothing_is_done_to_a_guest_that_goes_nowhere(pair: Pair) -> None:
    domain = await pair.hands.guest()
    assert not await pair.source.suspend(domain, YES)
    assert not await pair.source.start_postcopy(domain, YES)
    assert not await pair.source.change(domain, Settings(max_downtime_ms=77), YES)
    assert not await pair.source.resume(domain, YES)
    here = await pair.here(domain)
    assert (here.power, here.job) == (Power.RUNNING, Job.NONE)
    await pair.source.quiet(domain)


async def a_guest_paused_by_hand_is_let_run_on(pair: Pair) -> None:
    domain = await pair.hands.guest()
    await pair.hands.suspend(domain)
    here = await pair.here(domain)
    assert (here.power, here.because, here.alive) == (Power.PAUSED, Because.USER, True)
    assert await pair.source.resume(domain, YES)
    assert (await pair.here(domain)).power is Power.RUNNING


async def a_guest_paused_on_its_way_runs_on_there(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain, bandwidth_mib_s=8)
    await pair.until_sending(domain)
    assert await pair.source.suspend(domain, YES)
    here = await pair.here(domain)
    assert (here.power, here.because) == (Power.PAUSED, Because.MIGRATION)
    assert not await pair.source.resume(domain, YES)  # it has a job
    assert await came_back_with(ticket) is None
    assert (await pair.there(domain)).power is Power.RUNNING


async def a_guest_paused_on_its_way_runs_on_here_after_an_abort(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    assert await pair.source.suspend(domain, YES)
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(ticket)
    here = await pair.here(domain)
    assert (here.power, here.because) == (Power.RUNNING, Because.MIGRATION_CANCELED)


async def settings_are_told_as_they_are_in_force(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    assert (await pair.source.settings(domain)).bandwidth_mib_s == SLOW_MIB_S
    wanted = Settings(max_downtime_ms=77, bandwidth_mib_s=2)
    assert await pair.source.change(domain, wanted, YES)
    told = await pair.source.settings(domain)
    assert (told.max_downtime_ms, told.bandwidth_mib_s) == (77, 2)
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(ticket)


async def postcopy_must_have_been_allowed(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    with pytest.raises(Refused) as refused:
        await pair.source.start_postcopy(domain, YES)
    assert refused.value.problem.code is Code.REFUSED_BY_LIBVIRT
    assert await pair.source.abort_job(domain, YES)
    await came_back_with(ticket)


async def in_postcopy_the_guest_runs_there_and_no_abort_is_accepted(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain, postcopy=Postcopy.ALLOWED, postcopy_bandwidth_mib_s=4)
    await pair.until_sending(domain)
    assert await pair.source.start_postcopy(domain, YES)

    async def switched() -> bool:
        return (await pair.there(domain)).because is Because.POSTCOPY

    await pair.until(switched, "the guest to run there")
    here, there = await pair.here(domain), await pair.there(domain)
    assert (here.power, here.because, here.job) == (Power.PAUSED, Because.POSTCOPY, Job.OUTGOING)
    assert there.power is Power.RUNNING
    with pytest.raises(Refused) as refused:
        await pair.source.abort_job(domain, YES)
    assert refused.value.problem.code is Code.REFUSED_BY_LIBVIRT
    assert await came_back_with(ticket) is None
    assert (await pair.here(domain)).gone

    async def all_told() -> bool:
        return "Completed" in pair.events("source", domain)

    await pair.until(all_told, "the last event")
    told = [name for name in pair.events("source", domain) if name != "SwitchedOver"]
    assert told == ["IterationBegan", "PostcopyBegan", "IterationBegan", "Left", "Completed"]
    assert pair.events("there", domain) == ["began incoming", "PostcopyBegan", "Arrived"]


async def a_guest_that_ends_on_its_way_ends_the_call(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    await pair.hands.destroy("source", domain)
    assert await came_back_with(ticket) is not None
    assert (await pair.here(domain)).gone

    async def cleaned_up() -> bool:
        return (await pair.there(domain)).power is Power.ABSENT

    await pair.until(cleaned_up, "the destination's copy to end")
    assert pair.events("source", domain)[-1] == "GuestEnded"


async def a_copy_that_is_destroyed_there_leaves_the_guest_here(pair: Pair) -> None:
    domain = await pair.hands.guest()
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    await pair.hands.destroy("there", domain)
    assert await came_back_with(ticket) is not None
    here = await pair.here(domain)
    assert (here.power, here.job) == (Power.RUNNING, Job.NONE)


async def final_figures_are_kept_here_of_a_guest_that_stays_defined(pair: Pair) -> None:
    domain = await pair.hands.guest(persistent=True)
    assert await came_back_with(pair.move(domain, bandwidth_mib_s=0)) is None
    view, figures = await pair.source.look_here(domain, completed=Direction.OUTGOING)
    assert (view.power, view.because, view.persistent) == (Power.SHUTOFF, Because.MIGRATED, True)
    assert figures is not None
    assert figures.downtime_ms is not None


async def each_run_of_a_guest_has_a_number_that_stays(pair: Pair) -> None:
    domain = await pair.hands.guest(persistent=True)
    run = (await pair.here(domain)).run
    assert run > 0
    assert (await pair.source.lookup(domain.uuid)).view.run == run
    listed = {found.domain: found.view.run for found in await pair.source.domains()}
    assert listed[domain] == run
    ticket = pair.move(domain)
    await pair.until_sending(domain)
    coming = (await pair.there(domain)).run
    assert coming > 0
    assert (await pair.here(domain)).run == run
    await pair.source.change(domain, Settings(bandwidth_mib_s=0), YES)
    assert await came_back_with(ticket) is None
    assert (await pair.there(domain)).run == coming, "the same, now that it runs"
    assert (await pair.here(domain)).run == 0, "it does not run here"


CASES: tuple[Callable[[Pair], Awaitable[None]], ...] = (
    a_guest_is_found_by_name_and_by_uuid,
    a_guest_on_its_way_has_a_job_at_both_ends,
    a_guest_that_arrives_runs_there_and_not_here,
    a_call_that_is_withdrawn_before_it_was_made_is_never_made,
    a_second_migration_of_a_guest_is_refused_at_once,
    an_abort_leaves_the_guest_running_here,
    what_is_not_wanted_any_more_is_not_done,
    nothing_is_done_to_a_guest_that_goes_nowhere,
    a_guest_paused_by_hand_is_let_run_on,
    a_guest_paused_on_its_way_runs_on_there,
    a_guest_paused_on_its_way_runs_on_here_after_an_abort,
    settings_are_told_as_they_are_in_force,
    postcopy_must_have_been_allowed,
    in_postcopy_the_guest_runs_there_and_no_abort_is_accepted,
    a_guest_that_ends_on_its_way_ends_the_call,
    a_copy_that_is_destroyed_there_leaves_the_guest_here,
    final_figures_are_kept_here_of_a_guest_that_stays_defined,
    each_run_of_a_guest_has_a_number_that_stays,
)
__all__ = ["CASES", "Pair", "ev"]
