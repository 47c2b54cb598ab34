"""The simulated libvirt behind :class:`pmigd.core.ports.Hypervisor`, as one pmigd reaches it.

It keeps what the port promises: looks have deadlines, and a guest with an overdue one gets no
other; commands look at what must hold right before they act, and last until they have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import libvirt

from contrib.simulator import domains
from contrib.simulator.libvirtd import Connection, Libvirtd
from contrib.simulator.loop import Life
from contrib.simulator.migrating import migrate, recover
from contrib.simulator.world import Copy, World, no_domain, not_there
from pmigd.adapters.libvirt import translate
from pmigd.adapters.libvirt.failures import peer_problem_of, problem_of, words_of
from pmigd.adapters.libvirt.translate import Notice
from pmigd.core import events as ev
from pmigd.core.facts import (
    DestinationFacts,
    DomainFacts,
    GuestFacts,
    HostFacts,
    Leads,
    LocalFacts,
    Question,
)
from pmigd.core.model import Because, Direction, Domain, Job, Plan, Power, Sample, Target, View
from pmigd.core.ports import NotMade, Permit, Settings
from pmigd.core.problem import Code, Problem, Refused, refuse

T = TypeVar("T")

LOOK_DEADLINE_S: Final = 10.0
LOOKUP_DEADLINE_S: Final = 4.0
OPEN_DEADLINE_S: Final = 10.0
PING_EVERY_S: Final = 1.0
PING_DEADLINE_S: Final = 2.0
PEER_DEADLINE_S: Final = 6.0
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class SimulatedHost:
    """The machine beside its libvirt: it has everything that a guest can want."""

    def __init__(self, utc: Callable[[], datetime]) -> None:
        self._utc = utc

    async def look(self, question: Question, *, arriving: bool = False) -> LocalFacts | None:
        """What only the host itself can see."""
        del question, arriving
        return LocalFacts(self._utc())

    async def where_leads(self, host: str) -> Leads | None:
        """Every name leads to where it says."""
        del host
        return Leads.ELSEWHERE


class SimulatedHypervisor:
    """`daemon` as the pmigd of `life` reaches it. `owner_of` tells whose a call is."""

    def __init__(
        self,
        world: World,
        daemon: Libvirtd,
        life: Life,
        *,
        notify: Callable[[Notice], None],
        connection_changed: Callable[[bool], None],
        owner_of: Callable[[str], str],
    ) -> None:
        self._utc = partial(world.utc, daemon.name)
        self.own_host = SimulatedHost(self._utc)
        self.last_error = "not connected yet"
        self.world = world
        self._daemon = daemon
        self._life = life
        self._notify = notify
        self._connection_changed = connection_changed
        self._owner_of = owner_of
        self._connection: Connection | None = None
        self._answers = False
        self._overdue: dict[str, asyncio.Future[object]] = {}
        self._commands: dict[str, set[asyncio.Task[bool]]] = {}
        self._lost = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        return self._connection is not None and self._answers

    @property
    def facts(self) -> HostFacts:
        """What the daemon says of itself."""
        return facts_of(self._daemon)

    @property
    def hung(self) -> dict[str, int]:
        """Looks that are overdue, by guest."""
        return dict.fromkeys(self._overdue, 1)

    @property
    def threads(self) -> int:
        """Calls that have not come back."""
        return sum(len(out) for out in self._commands.values()) + len(self._overdue)

    # The control connection

    async def run(self) -> None:
        """Keep it up until cancelled."""
        attempt = 0
        while True:
            self._lost = asyncio.Event()
            try:
                async with asyncio.timeout(OPEN_DEADLINE_S):
                    connection = await self._daemon.open()
            except (libvirt.libvirtError, TimeoutError) as error:
                self.last_error = str(error) or "no answer to 'open'"
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._connection, self._answers = connection, True
            self._daemon.listeners[self] = self._hear
            self._daemon.closed[self] = self._lost.set
            self._connection_changed(True)
            await self._stay()
            was_there, self._answers = self._answers, False
            self._connection = None
            if was_there:
                self._connection_changed(False)

    async def _stay(self) -> None:
        """Until the connection is lost, notice when the daemon stops answering, and answers."""
        silent_s = 0.0
        while not self._lost.is_set():
            silent_s = silent_s + PING_EVERY_S if self._daemon.frozen else 0.0
            answers = silent_s < PING_DEADLINE_S
            if answers is not self._answers:
                self._answers = answers
                self.last_error = "libvirt has not answered for 2 s"
                self._connection_changed(answers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()

    def disconnect(self) -> None:
        """The process is gone, or closes in good order."""
        self._daemon.listeners.pop(self, None)
        self._daemon.closed.pop(self, None)

    def _hear(self, copy: Copy, kind: str, event: object, detail: object) -> None:
        """libvirt's callbacks, in libvirt's numbers."""
        domain = copy.guest.domain
        notice: Notice | None
        match kind:
            case "lifecycle":
                notice = translate.lifecycle_notice(domain, int(str(event)), int(str(detail)))
            case "iteration":
                began = ev.IterationBegan(int(str(event)))
                notice = Notice(domain, began, Direction.OUTGOING)
            case _:
                assert isinstance(event, dict)
                sample = translate.sample_of(event, self._utc())
                notice = Notice(domain, ev.Completed(sample))
        if notice is not None:
            self._life.call_soon(self._notify, notice)

    # Looks

    async def _look(
        self,
        name: str,
        uuid: str,
        work: Callable[[], Awaitable[T]],
        deadline_s: float = LOOK_DEADLINE_S,
    ) -> T:
        self._life.check()
        if self._connection is None or not self._answers:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, self.last_error)
        if uuid in self._overdue:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, f"an earlier look at {uuid} is not answered yet")
        call = self._daemon.call(work, self._connection)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(call)
        except TimeoutError:
            self._overdue[uuid] = call  # type: ignore[assignment]
            call.add_done_callback(lambda _: self._overdue.pop(uuid, None))
            words = f"no answer to '{name}' within {deadline_s:g} s"
            raise refuse(Code.LIBVIRT_UNAVAILABLE, words) from None
        except libvirt.libvirtError as error:
            raise Refused(_here(error)) from error

    async def lookup(self, name_or_uuid: str) -> DomainFacts:
        """Find a domain."""
        return await self._look(
            "lookup",
            name_or_uuid,
            lambda: domains.lookup(self._daemon, name_or_uuid),
            LOOKUP_DEADLINE_S,
        )

    async def domains(self) -> list[DomainFacts]:
        """All domains of this host."""
        return await self._look(
            "list", "all", lambda: domains.listing(self._daemon), LOOKUP_DEADLINE_S
        )

    async def sample(self, domain: Domain) -> tuple[Job, Sample | None]:
        """Statistics of the domain's running job."""
        at = self._utc()
        return await self._look(
            "stats", domain.uuid, lambda: domains.stats(self._daemon, domain.uuid, at)
        )

    async def settings(self, domain: Domain) -> Settings:
        """The settings in force."""
        return await self._look(
            "settings", domain.uuid, lambda: domains.settings(self._daemon, domain.uuid)
        )

    async def look_here(
        self, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """This host's copy. Never raises."""
        at = self._utc()
        try:
            return await self._look(
                "view",
                domain.uuid,
                lambda: domains.look(self._daemon, domain.uuid, completed, at),
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None

    async def examine_guest(self, name_or_uuid: str, arriving_xml: str | None) -> GuestFacts:
        """Find a domain and look at it closely."""
        del arriving_xml
        found = await self._look(
            "examine", name_or_uuid, lambda: domains.lookup(self._daemon, name_or_uuid)
        )
        flag = domains.autostart_of(self._daemon, found.domain.uuid)
        return GuestFacts(found.domain, found.view, autostart=flag)

    async def inspect_here(self, question: Question) -> DestinationFacts | None:
        """This host's answer to what a destination is asked."""
        del question
        return None

    # Looks at the peers' daemons

    async def _ask_peer(self, target: Target, work: Callable[[Libvirtd], Awaitable[T]]) -> T:
        self._life.check()
        peer = self.world.daemons[target.name]
        try:
            async with asyncio.timeout(PEER_DEADLINE_S):
                await self.world.network.carry(self._daemon.name, target.name)
                if not peer.up:
                    raise not_there("Connection refused")
                answer = await asyncio.shield(peer.call(lambda: work(peer)))
                await self.world.network.carry(target.name, self._daemon.name)
                return answer
        except TimeoutError:
            words = f"{target.name}: no answer within {PEER_DEADLINE_S:g} s"
            raise refuse(Code.DESTINATION_UNREACHABLE, words) from None
        except libvirt.libvirtError as error:
            raise Refused(peer_problem_of(error)) from error

    async def look_there(
        self, target: Target, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """The destination's copy. Never raises."""
        at = self._utc()
        try:
            return await self._ask_peer(
                target, lambda peer: domains.look(peer, domain.uuid, completed, at)
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None

    async def examine_peer(self, target: Target, domain: Domain) -> tuple[HostFacts, View]:
        """Who the destination is, and what it has of the domain."""
        view, _ = await self._ask_peer(
            target, lambda peer: domains.look(peer, domain.uuid, None, self._utc())
        )
        return facts_of(self.world.daemons[target.name]), view

    async def inspect_peer(self, target: Target, question: Question) -> DestinationFacts:
        """The destination's answer."""
        host, view = await self.examine_peer(target, question.domain)
        flag = domains.autostart_of(self.world.daemons[target.name], question.domain.uuid)
        return DestinationFacts(host, view, autostart=flag)

    # Commands

    async def _command(
        self,
        name: str,
        domain: Domain,
        permit: Permit,
        act: Callable[[], Awaitable[object]],
        may: Callable[[View], bool],
    ) -> bool:
        """Act if it `may` be done and is still wanted; the call goes on if nobody waits."""
        self._life.check()
        connection = self._connection
        if connection is None or not self._answers:
            raise NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, self.last_error))
        task = self._life.spawn(self._act(name, domain, permit, act, may, connection))
        out = self._commands.setdefault(domain.uuid, set())
        out.add(task)
        task.add_done_callback(out.discard)
        task.add_done_callback(_taken)
        return await asyncio.shield(task)

    async def _act(
        self,
        name: str,
        domain: Domain,
        permit: Permit,
        act: Callable[[], Awaitable[object]],
        may: Callable[[View], bool],
        connection: Connection,
    ) -> bool:
        try:
            if not may(await self._seen(domain, connection)):
                return False
        except libvirt.libvirtError as error:
            raise NotMade(_here(error)) from error
        if not permit.wanted:
            raise NotMade(Problem(Code.CANCELLED, f"'{name}' is not wanted any more."))
        try:
            await self._daemon.call(act, connection)
        except libvirt.libvirtError as error:
            with contextlib.suppress(libvirt.libvirtError):
                if not may(await self._seen(domain, connection)):
                    return False  # it ended between the two calls
            raise Refused(_here(error)) from error
        return True

    async def _seen(self, domain: Domain, connection: Connection) -> View:
        view, _ = await self._daemon.call(
            lambda: domains.look(self._daemon, domain.uuid, None, self._utc()), connection
        )
        if view.power is Power.ABSENT:
            raise no_domain(domain.uuid)
        return view

    async def quiet(self, domain: Domain) -> None:
        """Return when no command for this domain is out any more."""
        if out := self._commands.get(domain.uuid):
            await asyncio.wait(tuple(out))

    async def abort_job(self, domain: Domain, permit: Permit) -> bool:
        """Abort the outgoing migration job."""
        by = self._owner_of(domain.uuid)
        return await self._command(
            "abort",
            domain,
            permit,
            lambda: domains.abort(self._daemon, domain.uuid, by=by),
            _leaves,
        )

    async def start_postcopy(self, domain: Domain, permit: Permit) -> bool:
        """Switch the running migration to post-copy."""
        by = self._owner_of(domain.uuid)
        return await self._command(
            "postcopy",
            domain,
            permit,
            lambda: domains.start_postcopy(self._daemon, domain.uuid, by=by),
            _leaves,
        )

    async def pause_postcopy(self, domain: Domain, permit: Permit) -> bool:
        """Stop the stream of pages."""
        by = self._owner_of(domain.uuid)
        return await self._command(
            "pause_postcopy",
            domain,
            permit,
            lambda: domains.pause_postcopy(self._daemon, domain.uuid, by=by),
            _sends_pages,
        )

    async def suspend(self, domain: Domain, permit: Permit) -> bool:
        """Pause the guest."""
        return await self._command(
            "suspend",
            domain,
            permit,
            lambda: domains.suspend(self._daemon, domain.uuid, pmigd=True),
            _leaves,
        )

    async def resume(self, domain: Domain, permit: Permit) -> bool:
        """Let the guest run on."""
        return await self._command(
            "resume",
            domain,
            permit,
            lambda: domains.resume(self._daemon, domain.uuid, by="pmigd"),
            _rests,
        )

    async def autostart_here(self, domain: Domain, on: bool, permit: Permit) -> bool:
        """Have the guest start with this host, or not."""
        set_it = partial(domains.set_autostart, self._daemon, domain.uuid, on=on)
        if domains.autostart_of(self._daemon, domain.uuid) is None:
            return False
        return await self._command("autostart", domain, permit, set_it, lambda _: True)

    async def autostart_there(
        self, target: Target, domain: Domain, on: bool, permit: Permit
    ) -> bool:
        """Have the guest start with the destination, or not."""
        if not permit.wanted:
            raise NotMade(Problem(Code.CANCELLED, "It is not wanted any more."))
        return await self._ask_peer(
            target, lambda peer: domains.set_autostart(peer, domain.uuid, on=on)
        )

    async def change(self, domain: Domain, settings: Settings, permit: Permit) -> bool:
        """Change those that are not None."""
        return await self._command(
            "change",
            domain,
            permit,
            lambda: domains.change(self._daemon, domain.uuid, settings),
            _leaves,
        )

    # The migrate call

    def perform(self, domain: Domain, plan: Plan, *, resume: bool = False) -> SimulatedTicket:
        """Make the blocking migrate call on a connection of its own."""
        self._life.check()
        owner = self._owner_of(domain.uuid)
        return SimulatedTicket(self._daemon, self._life, domain, plan, owner, resume=resume)


class SimulatedTicket:
    """One migrate call: see :class:`pmigd.core.ports.Ticket`."""

    def __init__(
        self,
        daemon: Libvirtd,
        life: Life,
        domain: Domain,
        plan: Plan,
        owner: str,
        *,
        resume: bool,
    ) -> None:
        self._daemon = daemon
        self._domain = domain
        self._plan = plan
        self._owner = owner
        self._resume = resume
        self._made = False
        self._withdrawn = asyncio.Event()
        self._answer = life.spawn(self._run())
        self._answer.add_done_callback(_taken)

    def withdraw(self) -> bool:
        """Prevent the call if it was not made yet."""
        if not self._made:
            self._withdrawn.set()
        return self._withdrawn.is_set()

    def answer(self) -> Awaitable[Problem | None]:
        """What the call came back with; cancelling the wait does not end the call."""
        return asyncio.shield(self._answer)

    async def _run(self) -> Problem | None:
        daemon, uuid = self._daemon, self._domain.uuid
        try:
            async with asyncio.timeout(OPEN_DEADLINE_S):
                connection = await daemon.open()
        except TimeoutError:
            words = f"no answer to 'open' within {OPEN_DEADLINE_S:g} s"
            raise NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, words)) from None
        except libvirt.libvirtError as error:
            raise NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, words_of(error))) from error
        if self._withdrawn.is_set():
            raise NotMade(Problem(Code.CANCELLED, "It was cancelled before libvirt was called."))
        self._made = True
        try:
            if self._resume:
                await daemon.call(lambda: recover(daemon, uuid), connection)
            else:
                if self._owner and self._owner in daemon.world.moves:
                    daemon.world.fault(f"the migrate call of {self._owner} was made twice")
                target = self._plan.target.name
                await daemon.call(
                    lambda: migrate(daemon, uuid, target, self._plan, self._owner), connection
                )
        except libvirt.libvirtError as error:
            return problem_of(error)
        return None


def facts_of(daemon: Libvirtd) -> HostFacts:
    """Who a daemon is."""
    return HostFacts(daemon.name, daemon.machine.uuid, "9.0.0", "QEMU", "7.2.0")


def _here(error: libvirt.libvirtError) -> Problem:
    problem = problem_of(error)
    if problem.code is Code.CONNECTION_BROKE:
        return Problem(Code.LIBVIRT_UNAVAILABLE, problem.detail)
    return problem


def _leaves(view: View) -> bool:
    return view.job is Job.OUTGOING


def _rests(view: View) -> bool:
    broken = view.because in (Because.POSTCOPY, Because.POSTCOPY_FAILED)
    return view.power is Power.PAUSED and view.job is Job.NONE and not broken


def _sends_pages(view: View) -> bool:
    return view.power is Power.PAUSED and view.because is Because.POSTCOPY


def _taken(task: asyncio.Task[T]) -> None:
    """Its error is told to whoever waits; if nobody does, that is no mistake."""
    if not task.cancelled():
        task.exception()
