"""The blocking migrate call: a thread and connections of its own, made once or provably never.

libvirtd reads only five requests of a connection at a time, and behind seven long calls the
connection's keepalive starves and it dies: so a migrate call shares its connections with nobody.
Whether the call is made is decided in one place, right before it, for good.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import libvirt

from pmigd.adapters.libvirt import translate
from pmigd.adapters.libvirt.failures import (
    migrate_problem_of,
    peer_problem_of,
    problem_of,
    words_of,
)
from pmigd.adapters.libvirt.ssh import own_uri
from pmigd.adapters.pool import Turn, outcome_of, start_thread
from pmigd.core.model import Domain, Flow, Plan
from pmigd.core.ports import NotMade
from pmigd.core.problem import Code, Problem, Refused

OPEN_DEADLINE_S: Final = 15.0
"""How long opening the connections may take in all. Past it the call is not made any more, even if
libvirt should answer after all."""


def _stop_the_stream(domain: libvirt.virDomain) -> None:
    """Make QEMU here notice that a post-copy broke, which libvirt knows from the destination.

    Until it has, libvirt refuses to go on, and its QEMU may wait for TCP's long time-outs. One that
    has noticed refuses. Nothing is ended by it: both QEMUs keep what they have.
    """
    with contextlib.suppress(libvirt.libvirtError):
        domain.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)


class Perform:
    """One migrate call: see :class:`pmigd.core.ports.Ticket`."""

    def __init__(self, uri: str, domain: Domain, plan: Plan, *, resume: bool) -> None:
        self._uri = uri
        self._domain = domain
        self._plan = plan
        self._resume = resume
        self._turn = Turn()
        self._silent = Problem(Code.LIBVIRT_UNAVAILABLE, _silence("libvirt"))
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Problem | None] = self._loop.create_future()
        self._answer.add_done_callback(lambda answer: answer.exception())  # heard, if by nobody
        self._patience = self._loop.call_later(OPEN_DEADLINE_S, self._give_up)
        start_thread(f"pmigd-perform-{domain.name}", self._work)

    def withdraw(self) -> bool:
        """Prevent the call if it was not made yet."""
        prevented = self._turn.withdraw()
        if prevented:
            self._settle(None, _not_wanted())
        return prevented

    def answer(self) -> Awaitable[Problem | None]:
        """What the call came back with; cancelling the wait does not end the call."""
        return asyncio.shield(self._answer)

    # On the loop

    def _give_up(self) -> None:
        if self._turn.withdraw():
            self._settle(None, NotMade(self._silent))

    def _settle(self, problem: Problem | None, error: BaseException | None) -> None:
        self._patience.cancel()
        if self._answer.done():
            return
        if error is not None:
            self._answer.set_exception(error)
        else:
            self._answer.set_result(problem)

    # In the thread

    def _work(self) -> None:
        problem, error = outcome_of(self._call)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, problem, error)

    def _call(self) -> Problem | None:
        """Open what is needed, then make the call if it is still wanted."""
        try:
            flags = translate.flags_of(self._plan)
            params = translate.params_of(self._plan)
        except Refused as refused:
            raise NotMade(refused.problem) from refused
        if self._resume:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY_RESUME
        with _opened(self._uri) as connection:
            try:
                domain = connection.lookupByUUIDString(self._domain.uuid)
            except libvirt.libvirtError as error:
                raise NotMade(problem_of(error)) from error
            if self._resume:
                _stop_the_stream(domain)
            if self._plan.request.flow is Flow.P2P:
                return self._make(lambda: domain.migrateToURI3(self._target, params, flags))
            return self._direct(domain, params, flags)

    def _direct(
        self, domain: libvirt.virDomain, params: dict[str, Any], flags: int
    ) -> Problem | None:
        """Be the client of both daemons; neither needs to reach the other's libvirt."""
        self._silent = Problem(Code.DESTINATION_UNREACHABLE, _silence(self._target))
        with _opened(self._target, peer=True) as destination:
            return self._make(lambda: domain.migrate3(destination, params, flags))

    def _make(self, call: Callable[[], object]) -> Problem | None:
        if not self._turn.begin():
            raise _not_wanted()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._patience.cancel)
        try:
            call()
        except libvirt.libvirtError as error:
            return migrate_problem_of(error, self._plan)
        return None

    @property
    def _target(self) -> str:
        return self._plan.target.uri


@contextlib.contextmanager
def _opened(uri: str, *, peer: bool = False) -> Iterator[libvirt.virConnect]:
    try:
        connection = libvirt.open(own_uri(uri) if peer else uri)
    except libvirt.libvirtError as error:
        here = Problem(Code.LIBVIRT_UNAVAILABLE, words_of(error))
        raise NotMade(peer_problem_of(error) if peer else here) from error
    try:
        yield connection
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            connection.close()


def _silence(whose: str) -> str:
    return f"{whose} did not let itself be opened within {OPEN_DEADLINE_S:g} s."


def _not_wanted() -> NotMade:
    return NotMade(Problem(Code.CANCELLED, "It was cancelled before libvirt was called."))
