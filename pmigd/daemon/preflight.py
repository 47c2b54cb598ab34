"""The looks before the call: what this host, the guest and the destination say about a migration.

Reads only. The same looks are taken for ``check``, which lists everything that was found, and right
before every start, which is ended by what blocks. What they mean is decided in
:mod:`pmigd.core.checks`. The destination is reached once, and this host is looked at meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from pmigd.core import autostart, checks
from pmigd.core.autostart import Flags
from pmigd.core.checks import Checked, Destination
from pmigd.core.defects import hurting
from pmigd.core.facts import DestinationFacts, GuestFacts, HostFacts, Question
from pmigd.core.finding import Finding, anyway, from_problem
from pmigd.core.model import Domain, Power, Request, Target
from pmigd.core.plan import make_plan
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Problem, Refused
from pmigd.core.versions import too_old
from pmigd.wire.peer import Examination

AskPmigd = Callable[[Target, Question], Awaitable[Examination | Problem | None]]
"""Asks the destination's pmigd what only that sees; a problem is why it does not say, and None
stands for a destination without one."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, and whose libvirt answered at the destination, if one did.

    `unknown_there`: libvirt there has no such domain, not even a definition.
    `silent` is why the destination's pmigd did not answer. That keeps a migration waiting for its
    lease, and so is a finding of a check; one that has its lease is not ended by it. `autostart`:
    whether the guest starts with the destination; None: that has no definition of it.
    """

    findings: list[Finding]
    destination: HostFacts | None = None
    silent: Problem | None = None
    unknown_there: bool = False
    autostart: bool | None = None

    @property
    def all(self) -> list[Finding]:
        """What there is to say to somebody who asks whether a migration would go well now."""
        if self.silent is None:
            return self.findings
        return [*self.findings, from_problem(self.silent, "destination")]


async def check(
    hypervisor: Hypervisor, ask_pmigd: AskPmigd, request: Request, target: Target
) -> Checked:
    """Everything found; one look that fails never hides another."""
    try:
        guest = await hypervisor.examine_guest(request.domain, request.xml)
    except Refused as refused:
        missing = from_problem(refused.problem, "domain")
        examined = await examine(hypervisor, ask_pmigd, request, target, None)
        return Checked([missing, *examined.all])
    examined = await examine(hypervisor, ask_pmigd, request, target, guest)
    return Checked(examined.all, checks.predict(request, guest))


async def examine(
    hypervisor: Hypervisor,
    ask_pmigd: AskPmigd,
    request: Request,
    target: Target,
    guest: GuestFacts | None,
) -> Examined:
    """What speaks against moving `guest`; without one, against the destination alone."""
    if guest is None:
        question = Question(Domain(request.domain, ""), request.dname or request.domain)
    else:
        question = checks.ask(request, target, guest)
    source, own_host = hypervisor.facts, hypervisor.own_host
    there, control, here, told = await asyncio.gather(
        _there(hypervisor, target, question),
        hypervisor.inspect_here(question),
        own_host.look(question),
        ask_pmigd(target, question),
    )
    found = [] if guest is None else checks.check_guest(request, guest, source, here)
    silent = told if isinstance(told, Problem) else None
    if isinstance(there, Problem):
        found = _judged(request, [*found, from_problem(there, "destination")])
        return Examined(found, silent=silent)
    local = None
    if isinstance(told, Examination):
        found += checks.check_pmigd(target, there.host, told.host_uuid)
        local = told.local if told.host_uuid == there.host.host_uuid else None
    leads = None
    if checks.goes_by_hostname(request, target):
        leads = await own_host.where_leads(there.host.hostname)
    destination = Destination(there, source, local, here, control, leads)
    found += checks.check_destination(request, target, guest, question, destination)
    found += _autostart(request, target, guest, there)
    found += too_old(request, source, there.host)
    found += hurting(request, source, there.host)
    unknown = there.view.power is Power.ABSENT and not there.known_as
    return Examined(_judged(request, found), there.host, silent, unknown, autostart=there.autostart)


def _judged(request: Request, found: list[Finding]) -> list[Finding]:
    """What was found, as far as the request lets it keep the guest from starting."""
    return anyway(found) if request.start_anyway else found


def _autostart(
    request: Request, target: Target, guest: GuestFacts | None, there: DestinationFacts
) -> Iterator[Finding]:
    if guest is None:
        return
    flags, active = Flags(guest.autostart, there.autostart), not guest.view.gone
    plan = make_plan(
        request,
        target,
        guest_is_persistent=guest.view.persistent,
        guest_is_active=active,
        flags=flags,
    )
    yield from autostart.check(plan, flags, there.known_as, active=active)


async def _there(
    hypervisor: Hypervisor, target: Target, question: Question
) -> DestinationFacts | Problem:
    try:
        return await hypervisor.inspect_peer(target, question)
    except Refused as refused:
        return refused.problem
