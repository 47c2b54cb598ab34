"""The looks before the call: what this host, the guest and the destination say about a migration.

Reads only. The same looks are taken for ``check``, which lists everything that was found, and right
before every start, which is ended by what blocks. What they mean is decided in
:mod:`pmigd.core.checks`. The destination is reached once, and this host is looked at meanwhile.
"""

from __future__ import annotations

import asyncio

from pmigd.core import checks
from pmigd.core.checks import Checked, Destination
from pmigd.core.facts import DestinationFacts, GuestFacts, Question
from pmigd.core.finding import Finding, from_problem
from pmigd.core.model import Domain, Request, Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Problem, Refused
from pmigd.core.versions import too_old


async def check(hypervisor: Hypervisor, request: Request, target: Target) -> Checked:
    """Everything found; one look that fails never hides another."""
    try:
        guest = await hypervisor.examine_guest(request.domain, request.xml)
    except Refused as refused:
        missing = from_problem(refused.problem, "domain")
        return Checked([missing, *await examine(hypervisor, request, target, None)])
    found = await examine(hypervisor, request, target, guest)
    return Checked(found, checks.predict(request, guest))


async def examine(
    hypervisor: Hypervisor, request: Request, target: Target, guest: GuestFacts | None
) -> list[Finding]:
    """What speaks against moving `guest`; without one, against the destination alone."""
    if guest is None:
        question = Question(Domain(request.domain, ""), request.dname or request.domain)
    else:
        question = checks.ask(request, target, guest)
    source, own_host = hypervisor.facts, hypervisor.own_host
    there, control, here = await asyncio.gather(
        _there(hypervisor, target, question),
        hypervisor.inspect_here(question),
        own_host.look(question),
    )
    found = [] if guest is None else checks.check_guest(request, guest, source, here)
    if isinstance(there, Problem):
        return [*found, from_problem(there, "destination")]
    leads = None
    if checks.goes_by_hostname(request, target):
        leads = await own_host.where_leads(there.host.hostname)
    destination = Destination(there, source, None, here, control, leads)
    found += checks.check_destination(request, target, guest, question, destination)
    return found + too_old(request, source, there.host)


async def _there(
    hypervisor: Hypervisor, target: Target, question: Question
) -> DestinationFacts | Problem:
    try:
        return await hypervisor.inspect_peer(target, question)
    except Refused as refused:
        return refused.problem
