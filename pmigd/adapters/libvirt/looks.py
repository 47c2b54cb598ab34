"""What a libvirt daemon says about its domains, in the core's words. Reads only; blocks.

Every function takes a connection of whichever side. Which of libvirt's answers need the guest's
QEMU, and so hang with it, is said where it matters: only its job's statistics and its settings do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import libvirt

from pmigd.adapters.libvirt import translate
from pmigd.adapters.libvirt.failures import connection_broke
from pmigd.core.fields import MIB_S
from pmigd.core.model import Direction, Domain, Job, Power, Sample, View
from pmigd.core.ports import DomainFacts, Settings
from pmigd.core.request import SET, UNLIMITED_MIB_S

_KEEP_COMPLETED: Final = (
    libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
)
_OPERATION: Final = {
    Direction.OUTGOING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
    Direction.INCOMING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
}
_NO_ANSWER: Final = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_TIMEOUT)

UtcNow = Callable[[], datetime]
"""Stamps samples."""


def identity(domain: libvirt.virDomain) -> Domain:
    """Its name and UUID; no question to the daemon."""
    return Domain(domain.name(), domain.UUIDString())


def find(connection: libvirt.virConnect, name_or_uuid: str) -> libvirt.virDomain:
    """A domain by UUID, or else by name; does not need the guest."""
    if len(name_or_uuid) == len("00000000-0000-0000-0000-000000000000"):
        with contextlib.suppress(libvirt.libvirtError):
            return connection.lookupByUUIDString(name_or_uuid)
    return connection.lookupByName(name_or_uuid)


def listing(connection: libvirt.virConnect) -> list[DomainFacts]:
    """All domains; their jobs are not asked for, so that no guest can hold it up.

    Only active ones are asked one by one: a host may have thousands of definitions.
    """
    found = {}
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            known = DomainFacts(identity(domain), state(domain))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            continue  # it ended or left since the list was made
        found[known.domain.uuid] = known
    shutoff = View(Power.SHUTOFF, persistent=True)
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE):
        named = identity(domain)
        found.setdefault(named.uuid, DomainFacts(named, shutoff))
    return list(found.values())


def state(domain: libvirt.virDomain) -> View:
    """The domain's state without its job; does not need the guest."""
    power, because = translate.power_of(*domain.state(0)[:2])
    run = max(0, domain.ID())
    return View(power, because, Job.NONE, persistent=bool(domain.isPersistent()), run=run)


def view(domain: libvirt.virDomain) -> tuple[View, bool]:
    """The domain's state and job, and whether its job statistics can be asked for.

    The job is asked for first (see :mod:`pmigd.core.verdict`): a state from before the end of a job
    could hide that the guest was stopped for the switch-over.
    """
    job, answers = _job_and_answers(domain)
    seen = replace(state(domain), job=job)
    return seen, answers or seen.power is Power.SHUTOFF


def job_of(domain: libvirt.virDomain) -> Job:
    """The job that libvirt has on it now."""
    return _job_and_answers(domain)[0]


def look(
    connection: libvirt.virConnect, domain: Domain, completed: Direction | None, utc_now: UtcNow
) -> tuple[View, Sample | None]:
    """This side's copy, and the final statistics of a migration in direction `completed`."""
    if not domain.uuid:
        return View(Power.ABSENT), None  # a domain that this host does not have either
    try:
        found = connection.lookupByUUIDString(domain.uuid)
        seen, job_stats_work = view(found)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return View(Power.ABSENT), None
        raise
    final: Sample | None = None
    if completed is not None and job_stats_work and seen.job is Job.NONE:
        with contextlib.suppress(libvirt.libvirtError):
            stats = found.jobStats(_KEEP_COMPLETED)
            # What is kept may be about an earlier migration that went the other way.
            if stats.get("operation") == _OPERATION[completed]:
                final = translate.sample_of(stats, utc_now())
    return seen, final


def statistics(
    connection: libvirt.virConnect, domain: Domain, utc_now: UtcNow
) -> tuple[Job, Sample | None]:
    """The job, and its figures if it is an outgoing migration; needs the guest's QEMU."""
    try:
        found = connection.lookupByUUIDString(domain.uuid).jobStats(0)
    except libvirt.libvirtError as error:
        return _job_without_stats(error), None
    job = translate.job_of(found)
    if job is not Job.OUTGOING:
        return job, None
    return job, translate.sample_of(found, utc_now())


def settings(connection: libvirt.virConnect, domain: Domain) -> Settings:
    """The settings in force; None for what this libvirt or QEMU does not tell. Needs QEMU."""
    found = connection.lookupByUUIDString(domain.uuid)
    told: dict[str, int | None] = {}
    for row in SET:
        change = row.about.change
        flags = getattr(libvirt, change.flag) if change.flag else 0
        value = _told(partial(getattr(found, f"migrateGet{change.call}"), flags))
        told[row.key] = _limit(value) if row.about.unit is MIB_S else value
    return Settings(**told)


def _told(question: Callable[[], int | None]) -> int | None:
    """The answer, or None: some of the binding's getters return None where others raise."""
    try:
        return question()
    except libvirt.libvirtError as error:
        if connection_broke(error) or error.get_error_code() in _NO_ANSWER:
            raise
        return None


def _limit(mib_s: int | None) -> int | None:
    """libvirt tells "unlimited" by the largest speed that it knows."""
    return 0 if mib_s is not None and mib_s >= UNLIMITED_MIB_S else mib_s


def _job_and_answers(domain: libvirt.virDomain) -> tuple[Job, bool]:
    try:
        return translate.job_of(domain.jobStats(0)), True
    except libvirt.libvirtError as error:
        return _job_without_stats(error), False


def _job_without_stats(error: libvirt.libvirtError) -> Job:
    """What it means that a domain's job statistics were refused."""
    match error.get_error_code():
        case libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
            # "migration statistics are available only on the source host"
            return Job.INCOMING
        case libvirt.VIR_ERR_NO_DOMAIN | libvirt.VIR_ERR_OPERATION_INVALID:
            return Job.NONE
        case _:
            raise error
