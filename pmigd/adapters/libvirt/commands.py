"""What pmigd makes libvirt do about a running migration, beside the migrate call itself.

Everything here blocks, and looks right before it acts, in the same thread, at what allows it: that
libvirt is in the state that the command is for, and then that it is still wanted. So a late command
never hits what came after. What is raised as NotMade was proven not to have been done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import libvirt

from pmigd.adapters.libvirt.failures import connection_broke, problem_of, words_of
from pmigd.adapters.libvirt.looks import job_of, view
from pmigd.core.model import Because, Domain, Job, Power
from pmigd.core.ports import NotMade, Settings
from pmigd.core.problem import Code, Problem, Refused
from pmigd.core.request import SET, UNLIMITED_MIB_S

May = Callable[[libvirt.virDomain], bool]
Act = Callable[[libvirt.virDomain], object]

_IN_POSTCOPY: Final = (Because.POSTCOPY, Because.POSTCOPY_FAILED)


def leaves(domain: libvirt.virDomain) -> bool:
    """Whether libvirt has an outgoing migration of it."""
    return job_of(domain) is Job.OUTGOING


def rests(domain: libvirt.virDomain) -> bool:
    """Whether it is paused and nothing goes on about it."""
    seen, _ = view(domain)
    paused = seen.power is Power.PAUSED and seen.because not in _IN_POSTCOPY
    return paused and seen.job is Job.NONE


def carry_out(
    connection: libvirt.virConnect,
    domain: Domain,
    *,
    may: May,
    wanted: Callable[[], bool],
    begin: Callable[[], bool],
    act: Act,
) -> bool:
    """Do `act` if libvirt `may`, and `begin`, asked last, says that it is still wanted.

    False: libvirt may not. Raises NotMade, or Refused with libvirt's reason.
    """
    try:
        found = connection.lookupByUUIDString(domain.uuid)
        if not _look(may, found, wanted):
            return False
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise NotMade(_problem(error)) from error
    if not begin():
        raise not_wanted()
    try:
        act(found)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            # Something else has the domain's lock: libvirt did not begin.
            raise NotMade(_problem(error)) from error
        if not connection_broke(error) and not _still(may, found):
            return False  # it ended between the two calls
        raise Refused(_problem(error)) from error
    return True


def _look(may: May, found: libvirt.virDomain, wanted: Callable[[], bool]) -> bool:
    """What `may` says, however long it takes.

    libvirt gives up after half a minute when an earlier question hangs with the guest's QEMU.
    """
    while True:
        try:
            return may(found)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_TIMEOUT:
                raise
            if not wanted():
                raise not_wanted() from error


def set_each(domain: libvirt.virDomain, settings: Settings) -> None:
    """Change those that are not None, in order; the first refusal ends it."""
    for row in SET:
        value = getattr(settings, row.key)
        change = row.about.change
        if value is not None:
            told = value or UNLIMITED_MIB_S if change.unlimited else value
            flags = getattr(libvirt, change.flag) if change.flag else 0
            getattr(domain, f"migrateSet{change.call}")(told, flags)


def not_wanted() -> NotMade:
    """It was withdrawn in time."""
    return NotMade(Problem(Code.CANCELLED, "It was withdrawn before libvirt was called."))


def unreachable(error: libvirt.libvirtError) -> NotMade:
    """There is no connection to make the call on."""
    return NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, words_of(error)))


def _still(may: May, found: libvirt.virDomain) -> bool:
    try:
        return may(found)
    except libvirt.libvirtError as error:
        return error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN


def _problem(error: libvirt.libvirtError) -> Problem:
    problem = problem_of(error)
    if problem.code is Code.CONNECTION_BROKE:
        return Problem(Code.LIBVIRT_UNAVAILABLE, problem.detail)
    return problem
