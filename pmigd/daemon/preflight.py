"""The looks before the call: what this host, the guest and the destination say about a migration.

Reads only. The same looks are taken for ``check``, which lists everything that was found, and right
before every start, which is ended by the first thing that blocks.
"""

from __future__ import annotations

from pmigd.core.finding import Finding, from_problem
from pmigd.core.model import Domain, Job, Request, Target, View
from pmigd.core.ports import DomainFacts, HostFacts, Hypervisor
from pmigd.core.problem import Code, Problem, Refused
from pmigd.core.versions import too_old


async def examine(hypervisor: Hypervisor, request: Request, target: Target) -> list[Finding]:
    """Everything found; one look that fails never hides another."""
    found: list[Finding] = []
    domain = Domain(request.domain, "")
    try:
        here = await hypervisor.lookup(request.domain)
    except Refused as refused:
        found.append(from_problem(refused.problem, "domain"))
    else:
        domain = here.domain
        found += [from_problem(problem, "domain") for problem in about_guest(request, here)]
    try:
        host, there = await hypervisor.examine_peer(target, domain)
    except Refused as refused:
        found.append(from_problem(refused.problem, "destination"))
    else:
        problems = about_destination(target, hypervisor.facts, host, there)
        found += [from_problem(problem, "destination") for problem in problems]
        found += too_old(request, hypervisor.facts, host)
    return found


def about_guest(request: Request, here: DomainFacts) -> list[Problem]:
    """What speaks against moving this guest now."""
    found = []
    if here.view.gone and not request.offline:
        found.append(
            Problem(Code.DOMAIN_NOT_RUNNING, f"'{here.domain.name}' is {here.view.power}.")
        )
    if here.view.job is not Job.NONE:
        found.append(Problem(Code.DOMAIN_BUSY, f"libvirt has a job on it: {here.view.job}."))
    return found


def about_destination(
    target: Target, own: HostFacts, host: HostFacts, there: View
) -> list[Problem]:
    """What speaks against moving it there."""
    if host.host_uuid == own.host_uuid or host.hostname == own.hostname:
        detail = f"{target.uri} leads to {host.hostname}, which is this host."
        return [Problem(Code.SAME_HOST, detail)]
    if not there.gone:
        detail = f"{target.name} has it already: {there.power}."
        return [Problem(Code.DESTINATION_HAS_DOMAIN, detail)]
    return []
