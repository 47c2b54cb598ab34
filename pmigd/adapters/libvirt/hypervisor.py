"""This host's libvirt daemon, and the peers' as far as they are asked where a guest is.

One control connection carries events, lookups, statistics and aborts, through four threads at the
most. Every migrate call has a connection and a thread of its own: libvirtd reads only five requests
of a connection at a time, and behind seven long calls the connection's keepalive starves and it
dies. When the control connection is lost it is opened again, with back-off; no call is ever made
twice because of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import libvirt

from pmigd.adapters.libvirt import autostart, eventloop, translate
from pmigd.adapters.libvirt.failures import peer_problem_of, problem_of, words_of
from pmigd.adapters.libvirt.guest import guest_facts
from pmigd.adapters.libvirt.inspect import host_facts, inspect
from pmigd.adapters.libvirt.translate import Notice
from pmigd.adapters.pool import CallPool, Observer, Overdue, run_in_thread
from pmigd.core import events as ev
from pmigd.core.facts import DestinationFacts, GuestFacts, Question
from pmigd.core.model import Direction, Domain, Flow, Job, Plan, Power, Sample, Target, View
from pmigd.core.ports import DomainFacts, HostFacts, NotMade, OwnHost, Permit, Settings, Ticket
from pmigd.core.problem import Code, Problem, Refused, refuse

T = TypeVar("T")

CONTROL_THREADS: Final = 4
SAMPLING_THREADS: Final = 3
"""Of the control threads, how many may sample at once: one is always left for an abort."""
PEER_THREADS: Final = 4
CALL_DEADLINE_S: Final = 10.0
LOOKUP_DEADLINE_S: Final = 4.0
"""Somebody waits for the answer, and may as well be told that there is none."""
CONNECT_DEADLINE_S: Final = 10.0
PING_EVERY_S: Final = 1.0
PING_DEADLINE_S: Final = 2.0
PEER_REACH_DEADLINE_S: Final = 2.0
PEER_DEADLINE_S: Final = 6.0
MAX_OVERDUE_QUESTIONS: Final = 3
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PORTS: Final = {"qemu": 16514, "qemu+tls": 16514, "qemu+tcp": 16509, "qemu+ssh": 22}

_KEEP_COMPLETED: Final = (
    libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
)
UNLIMITED_MIB_S: Final = 8_796_093_022_207
"""libvirt's largest speed, which stands for none."""

_OPERATION: Final = {
    Direction.OUTGOING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
    Direction.INCOMING: libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN,
}


class LocalHypervisor:
    """The libvirt daemon at `uri`.

    `notify` is told of libvirt's events, `connection_changed` of the connection's coming and
    going; both run on the loop and must return at once. `utc_now` stamps samples.
    """

    def __init__(
        self,
        uri: str,
        *,
        notify: Callable[[Notice], None],
        connection_changed: Callable[[bool], None],
        utc_now: Callable[[], datetime],
        own_host: OwnHost,
        observe: Observer | None = None,
    ) -> None:
        self.uri = uri
        self.own_host = own_host
        self.reconnects = 0
        self.last_error = "not connected yet"
        self._notify = notify
        self._connection_changed = connection_changed
        self._utc_now = utc_now
        self.control = CallPool("control", CONTROL_THREADS, observe=observe)
        self.peers = CallPool("peer", PEER_THREADS, observe=observe, replace_overdue=True)
        self._sampling = asyncio.Semaphore(SAMPLING_THREADS)
        self._pinger = CallPool("ping", 1)
        self._connection: libvirt.virConnect | None = None
        self._answers = False
        self._callback_ids: list[int] = []
        self._facts = HostFacts()
        self._out: dict[str, set[asyncio.Future[bool]]] = {}
        self._overdue: dict[str, set[object]] = {}
        self._lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._implementation = eventloop.register(self._loop)

    @property
    def connected(self) -> bool:
        """Whether the control connection is up and the daemon answers on it."""
        return self._connection is not None and self._answers

    @property
    def facts(self) -> HostFacts:
        """What the daemon said about itself when it was last connected to."""
        return self._facts

    async def run(self) -> None:
        """Keep the control connection up until cancelled."""
        attempt = 0
        while True:
            self._lost.clear()
            try:
                await self._connect()
            except (libvirt.libvirtError, Overdue) as error:
                self.last_error = words_of(error) if not isinstance(error, Overdue) else str(error)
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._answers = True
            self._connection_changed(True)
            await self._stay(self._connection)
            was_there, self._answers = self._answers, False
            await self._forget()
            self.reconnects += 1
            if was_there:
                self._connection_changed(False)

    async def _stay(self, connection: libvirt.virConnect | None) -> None:
        """Ask for a sign of life until the connection is lost.

        A daemon that hangs keeps its connections: only that it does not answer tells. The question
        has a thread of its own and is one that libvirtd's priority workers serve, so neither a
        guest whose monitor hangs nor a libvirtd full of migrations looks like a dead one.
        """
        if connection is None:
            return
        while not self._lost.is_set():
            answers = True
            try:
                await self._pinger.call("ping", PING_DEADLINE_S, connection.getLibVersion)
            except Overdue:
                answers = False
                self.last_error = f"libvirt has not answered for {PING_DEADLINE_S:g} s"
            except libvirt.libvirtError as error:
                self.last_error = words_of(error)
                return
            if answers is not self._answers:
                self._answers = answers
                self._connection_changed(answers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()

    async def close(self) -> None:
        """Close the control connection in good order."""
        self._lost.set()
        await self._forget()
        self.control.stop()
        self.peers.stop()
        self._pinger.stop()

    # The connection

    async def _connect(self) -> None:
        connection = await self.control.call("open", CONNECT_DEADLINE_S, self._open)
        try:
            self._facts = await self.control.call(
                "facts", CALL_DEADLINE_S, lambda: host_facts(connection)
            )
            self._callback_ids = await self.control.call(
                "register_events", CALL_DEADLINE_S, lambda: self._register(connection)
            )
        except BaseException:
            self.control.post(lambda: _close_quietly(connection))
            raise
        self._connection = connection

    def _open(self) -> libvirt.virConnect:
        connection = libvirt.open(self.uri)
        connection.registerCloseCallback(self._on_close, None)
        return connection

    def _register(self, connection: libvirt.virConnect) -> list[int]:
        def register(event: int, callback: Callable[..., None]) -> int:
            return int(connection.domainEventRegisterAny(None, event, callback, None))

        return [
            register(libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            register(libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, self._on_iteration),
            register(libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._on_completed),
        ]

    async def _forget(self) -> None:
        """Let the connection go; its callbacks hold it open until they are taken back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        ids, self._callback_ids = self._callback_ids, []

        def close() -> None:
            for iden in ids:
                with contextlib.suppress(libvirt.libvirtError):
                    connection.domainEventDeregisterAny(iden)
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
            _close_quietly(connection)

        with contextlib.suppress(Overdue):
            await self.control.call("close", CONNECT_DEADLINE_S, close)

    # libvirt's callbacks: they may come on any thread and must only pass on what they were told.

    def _on_close(self, _connection: object, reason: int, _opaque: object) -> None:
        self.last_error = f"libvirt closed the connection (reason {reason})"
        self._post(self._lost.set)

    def _on_lifecycle(
        self, _c: object, domain: libvirt.virDomain, event: int, detail: int, _o: object
    ) -> None:
        notice = translate.lifecycle_notice(_identity(domain), event, detail)
        if notice is not None:
            self._post(self._notify, notice)

    def _on_iteration(
        self, _c: object, domain: libvirt.virDomain, iteration: int, _o: object
    ) -> None:
        event = ev.IterationBegan(iteration)
        self._post(self._notify, Notice(_identity(domain), event, Direction.OUTGOING))

    def _on_completed(
        self, _c: object, domain: libvirt.virDomain, stats: dict[str, Any], _o: object
    ) -> None:
        if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return
        event = ev.Completed(translate.sample_of(stats, self._utc_now()))
        self._post(self._notify, Notice(_identity(domain), event))

    def _post(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)

    # Calls to the local daemon

    async def _call(
        self, name: str, function: Callable[[libvirt.virConnect], T], deadline_s: float
    ) -> T:
        connection = self._connection
        if connection is None or not self._answers:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, self.last_error)
        try:
            return await self.control.call(name, deadline_s, lambda: function(connection))
        except Overdue as error:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, str(error)) from None
        except libvirt.libvirtError as error:
            problem = problem_of(error)
            if problem.code is Code.CONNECTION_BROKE:
                problem = Problem(Code.LIBVIRT_UNAVAILABLE, problem.detail)
            raise Refused(problem) from error

    async def lookup(self, name_or_uuid: str) -> DomainFacts:
        """Find a domain by UUID, or else by name."""

        def find(connection: libvirt.virConnect) -> DomainFacts:
            domain = _find(connection, name_or_uuid)
            return DomainFacts(_identity(domain), _view(domain, with_job=True)[0])

        return await self._call("lookup", find, LOOKUP_DEADLINE_S)

    async def examine_guest(self, name_or_uuid: str, arriving_xml: str | None) -> GuestFacts:
        """Find a domain and look at it closely."""

        def find(connection: libvirt.virConnect) -> GuestFacts:
            domain = _find(connection, name_or_uuid)
            known = DomainFacts(_identity(domain), _view(domain, with_job=True)[0])
            return guest_facts(connection, domain, known, arriving_xml)

        return await self._call("examine_guest", find, CALL_DEADLINE_S)

    async def inspect_here(self, question: Question) -> DestinationFacts | None:
        """This host's answer to what a destination is asked; None if there is none."""
        try:
            return await self._call("inspect", lambda c: inspect(c, question), CALL_DEADLINE_S)
        except Refused:
            return None

    async def inspect_peer(self, target: Target, question: Question) -> DestinationFacts:
        """The destination's answer, over one connection."""
        return await self._ask_peer("peer_inspect", target, lambda c: inspect(c, question))

    async def domains(self) -> list[DomainFacts]:
        """All domains of this host; their jobs are not asked for.

        Only active ones are asked one by one: a host may have thousands of definitions.
        """

        def listing(connection: libvirt.virConnect) -> list[DomainFacts]:
            found = {}
            for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                # One that ended or left since the list was made is simply not in it.
                with contextlib.suppress(libvirt.libvirtError):
                    identity, (view, _) = _identity(domain), _view(domain, with_job=False)
                    found[identity.uuid] = DomainFacts(identity, view)
            shutoff = View(Power.SHUTOFF, persistent=True)
            for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE):
                identity = _identity(domain)
                found.setdefault(identity.uuid, DomainFacts(identity, shutoff))
            return list(found.values())

        return await self._call("list_domains", listing, LOOKUP_DEADLINE_S)

    async def sample(self, domain: Domain) -> tuple[Job, Sample | None]:
        """Statistics of the domain's running job."""

        def stats(connection: libvirt.virConnect) -> tuple[Job, Sample | None]:
            try:
                found = connection.lookupByUUIDString(domain.uuid).jobStats(0)
            except libvirt.libvirtError as error:
                return _job_without_stats(error), None
            job = translate.job_of(found)
            if job is not Job.OUTGOING:
                return job, None
            return job, translate.sample_of(found, self._utc_now())

        async with self._sampling:
            return await self._call("job_stats", stats, CALL_DEADLINE_S)

    async def look_here(
        self, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """This host's copy. Never raises: what cannot be asked is UNKNOWN with a detail."""
        try:
            return await self._call(
                "view", lambda c: self._look(c, domain, completed=completed), CALL_DEADLINE_S
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None

    # Commands

    async def _command(
        self,
        name: str,
        domain: Domain,
        permit: Permit,
        act: Callable[[libvirt.virDomain], object],
        *,
        may: Callable[[libvirt.virDomain], bool],
    ) -> bool:
        """Act on a domain if it `may` be done and is still wanted, both known right before."""

        def look_and_act(connection: libvirt.virConnect) -> bool:
            found = connection.lookupByUUIDString(domain.uuid)
            if not may(found):
                return False
            if not permit.wanted:
                raise NotMade(Problem(Code.CANCELLED, f"'{name}' is not wanted any more."))
            try:
                act(found)
            except libvirt.libvirtError:
                if not may(found):
                    return False  # it ended between the two calls
                raise
            return True

        call = asyncio.ensure_future(self._call(name, look_and_act, CALL_DEADLINE_S))
        out = self._out.setdefault(domain.uuid, set())
        out.add(call)
        call.add_done_callback(out.discard)
        return await call

    async def quiet(self, domain: Domain) -> None:
        """Return when no command for this domain is out any more."""
        if out := self._out.get(domain.uuid):
            await asyncio.wait(out)

    async def abort_job(self, domain: Domain, permit: Permit) -> bool:
        """Abort the outgoing migration job.

        Only a job that libvirt calls an outgoing migration is aborted, not whatever else may hold
        the domain by now. libvirt refuses in post-copy, where an abort would lose the guest.
        """
        return await self._command(
            "abort_job", domain, permit, lambda found: found.abortJob(), may=_leaves
        )

    async def start_postcopy(self, domain: Domain, permit: Permit) -> bool:
        """Switch the running migration to post-copy."""
        return await self._command(
            "start_postcopy", domain, permit, lambda d: d.migrateStartPostCopy(0), may=_leaves
        )

    async def settings(self, domain: Domain) -> Settings:
        """The settings in force; None for what this libvirt or QEMU does not tell."""

        def ask(connection: libvirt.virConnect) -> Settings:
            found = connection.lookupByUUIDString(domain.uuid)
            return Settings(
                max_downtime_ms=_told(lambda: found.migrateGetMaxDowntime(0)),
                bandwidth_mib_s=_limit(_told(lambda: found.migrateGetMaxSpeed(0))),
                postcopy_bandwidth_mib_s=_limit(
                    _told(
                        lambda: found.migrateGetMaxSpeed(
                            libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY
                        )
                    )
                ),
                compression_cache_bytes=_told(lambda: found.migrateGetCompressionCache(0)),
            )

        return await self._call("get_settings", ask, CALL_DEADLINE_S)

    async def change(self, domain: Domain, settings: Settings, permit: Permit) -> bool:
        """Change those that are not None, in order; the first refusal ends it."""

        def change(found: libvirt.virDomain) -> None:
            if settings.max_downtime_ms is not None:
                found.migrateSetMaxDowntime(settings.max_downtime_ms, 0)
            if settings.bandwidth_mib_s is not None:
                found.migrateSetMaxSpeed(settings.bandwidth_mib_s or UNLIMITED_MIB_S, 0)
            if settings.postcopy_bandwidth_mib_s is not None:
                found.migrateSetMaxSpeed(
                    settings.postcopy_bandwidth_mib_s,
                    libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY,
                )
            if settings.compression_cache_bytes is not None:
                found.migrateSetCompressionCache(settings.compression_cache_bytes, 0)

        return await self._command("change_settings", domain, permit, change, may=_leaves)

    async def suspend(self, domain: Domain, permit: Permit) -> bool:
        """Pause the guest."""
        return await self._command("suspend", domain, permit, lambda d: d.suspend(), may=_leaves)

    async def resume(self, domain: Domain, permit: Permit) -> bool:
        """Let the guest run on."""
        return await self._command("resume", domain, permit, lambda d: d.resume(), may=_rests)

    async def autostart_here(self, domain: Domain, on: bool, permit: Permit) -> bool:
        """Have the guest start with this host, or not."""
        try:
            return await self._command(
                "autostart",
                domain,
                permit,
                lambda found: autostart.set_flag(found, on=on),
                may=lambda found: autostart.flag_of(found) is not None,
            )
        except Refused as refused:
            if refused.problem.code is Code.DOMAIN_NOT_FOUND:
                return False
            raise

    async def autostart_there(
        self, target: Target, domain: Domain, on: bool, permit: Permit
    ) -> bool:
        """Have the guest start with the destination, or not."""
        return await self._ask_peer(
            "peer_autostart", target, lambda c: autostart.set_flag_of(c, domain, permit, on=on)
        )

    # The migrate call

    def perform(self, domain: Domain, plan: Plan, *, resume: bool = False) -> Ticket:
        """Make the blocking migrate call on a connection and in a thread of its own."""
        return _Perform(self.uri, domain, plan, resume=resume)

    # Peers

    async def examine_peer(self, target: Target, domain: Domain) -> tuple[HostFacts, View]:
        """Reach the destination's daemon and learn who it is and what it has of the domain."""
        return await self._ask_peer(
            "peer_facts",
            target,
            lambda c: (host_facts(c), self._look(c, domain, completed=None)[0]),
        )

    async def look_there(
        self, target: Target, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        """The destination's copy. Never raises: what cannot be asked is UNKNOWN with a detail."""
        try:
            return await self._ask_peer(
                "peer_view", target, lambda c: self._look(c, domain, completed=completed)
            )
        except Refused as refused:
            return View(Power.UNKNOWN, detail=refused.problem.detail), None

    async def _ask_peer(
        self, name: str, target: Target, question: Callable[[libvirt.virConnect], T]
    ) -> T:
        await self._reach(target)
        overdue = self._overdue.setdefault(target.uri, set())
        if len(overdue) >= MAX_OVERDUE_QUESTIONS:
            # A peer that swallows questions must not take the threads that the others need.
            raise refuse(
                Code.DESTINATION_UNREACHABLE,
                f"{target.uri}: {len(overdue)} earlier questions are not answered yet",
            )
        mark = object()
        begun, ended = threading.Event(), threading.Event()

        def ask() -> T:
            begun.set()
            try:
                connection = libvirt.open(target.uri)
                try:
                    return question(connection)
                finally:
                    _close_quietly(connection)
            finally:
                ended.set()
                overdue.discard(mark)

        try:
            return await self.peers.call(name, PEER_DEADLINE_S, ask)
        except Overdue as error:
            if begun.is_set():
                overdue.add(mark)
            if ended.is_set():
                overdue.discard(mark)
            raise refuse(Code.DESTINATION_UNREACHABLE, f"{target.uri}: {error}") from None
        except libvirt.libvirtError as error:
            raise Refused(peer_problem_of(error)) from error

    async def _reach(self, target: Target) -> None:
        """Prove within two seconds that something listens there.

        libvirt's own connect would hold a thread for the kernel's two minutes.
        """
        parts = urlsplit(target.uri)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
        if not host or port is None:
            return
        reason = f"no answer within {PEER_REACH_DEADLINE_S:g} s"
        try:
            async with asyncio.timeout(PEER_REACH_DEADLINE_S):
                found = await self.peers.call(
                    "resolve",
                    PEER_REACH_DEADLINE_S,
                    lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
                )
                for _family, _type, _proto, _name, address in found:
                    try:
                        _reader, writer = await asyncio.open_connection(str(address[0]), port)
                    except OSError as error:
                        reason = error.strerror or str(error)
                    else:
                        writer.close()
                        return
        except socket.gaierror as error:
            reason = error.strerror or str(error)
        except (TimeoutError, Overdue):
            pass
        raise refuse(Code.DESTINATION_UNREACHABLE, f"{target.name} ({host} port {port}): {reason}")

    def _look(
        self, connection: libvirt.virConnect, domain: Domain, *, completed: Direction | None
    ) -> tuple[View, Sample | None]:
        if not domain.uuid:
            return View(Power.ABSENT), None  # a domain that this host does not have either
        try:
            found = connection.lookupByUUIDString(domain.uuid)
            view, job_stats_work = _view(found, with_job=True)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return View(Power.ABSENT), None
            raise
        final: Sample | None = None
        if completed is not None and job_stats_work and view.job is Job.NONE:
            with contextlib.suppress(libvirt.libvirtError):
                stats = found.jobStats(_KEEP_COMPLETED)
                # What is kept may be about an earlier migration that went the other way.
                if stats.get("operation") == _OPERATION[completed]:
                    final = translate.sample_of(stats, self._utc_now())
        return view, final


class _Perform:
    """One migrate call: see :class:`pmigd.core.ports.Ticket`."""

    def __init__(self, uri: str, domain: Domain, plan: Plan, *, resume: bool) -> None:
        self._uri = uri
        self._resume = resume
        self._domain = domain
        self._plan = plan
        self._lock = threading.Lock()
        self._made = False
        self._withdrawn = False
        self._answer = run_in_thread(f"pmigd-perform-{domain.name}", self._run)

    def withdraw(self) -> bool:
        """Prevent the call if it was not made yet."""
        with self._lock:
            self._withdrawn = not self._made
            return self._withdrawn

    def _begins(self) -> bool:
        """Decided once, right before the call: it is made, or never."""
        with self._lock:
            self._made = not self._withdrawn
            return self._made

    def answer(self) -> Awaitable[Problem | None]:
        """What the call came back with; cancelling the wait does not end the call."""
        return asyncio.shield(self._answer)

    def _direct(self, domain: libvirt.virDomain, params: dict[str, Any], flags: int) -> None:
        """Be the client of both daemons; neither needs to reach the other's libvirt."""
        destination = libvirt.open(self._plan.target.uri)
        try:
            if not self._begins():
                raise _withdrawn()
            domain.migrate3(destination, params, flags)
        finally:
            _close_quietly(destination)

    def _run(self) -> Problem | None:
        try:
            connection = libvirt.open(self._uri)
        except libvirt.libvirtError as error:
            raise NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, words_of(error))) from error
        try:
            domain = connection.lookupByUUIDString(self._domain.uuid)
            flags = translate.flags_of(self._plan)
            if self._resume:
                flags |= libvirt.VIR_MIGRATE_POSTCOPY_RESUME
            params = translate.params_of(self._plan)
            if self._plan.request.flow is Flow.P2P:
                if not self._begins():
                    raise _withdrawn()
                domain.migrateToURI3(self._plan.target.uri, params, flags)
            else:
                self._direct(domain, params, flags)
        except libvirt.libvirtError as error:
            return problem_of(error)
        except Refused as refused:
            raise NotMade(refused.problem) from refused
        finally:
            _close_quietly(connection)
        return None


def _withdrawn() -> NotMade:
    return NotMade(Problem(Code.CANCELLED, "It was cancelled before libvirt was called."))


def _told(question: Callable[[], int | None]) -> int | None:
    """The answer, or None: some of the binding's getters return None where others raise."""
    try:
        return question()
    except libvirt.libvirtError:
        return None


def _limit(mib_s: int | None) -> int | None:
    """libvirt tells "unlimited" by the largest speed that it knows."""
    return 0 if mib_s is not None and mib_s >= UNLIMITED_MIB_S else mib_s


def _find(connection: libvirt.virConnect, name_or_uuid: str) -> libvirt.virDomain:
    if len(name_or_uuid) == len("00000000-0000-0000-0000-000000000000"):
        with contextlib.suppress(libvirt.libvirtError):
            return connection.lookupByUUIDString(name_or_uuid)
    return connection.lookupByName(name_or_uuid)


def _identity(domain: libvirt.virDomain) -> Domain:
    return Domain(domain.name(), domain.UUIDString())


def _view(domain: libvirt.virDomain, *, with_job: bool) -> tuple[View, bool]:
    """The domain's state, and whether its job statistics can be asked for."""
    power, because = translate.power_of(*domain.state(0)[:2])
    persistent = bool(domain.isPersistent())
    job = Job.NONE
    answers = True
    if with_job and power is not Power.SHUTOFF:
        try:
            job = translate.job_of(domain.jobStats(0))
        except libvirt.libvirtError as error:
            answers = False
            job = _job_without_stats(error)
    return View(power, because, job, persistent=persistent), answers


def _job(domain: libvirt.virDomain) -> Job:
    try:
        return translate.job_of(domain.jobStats(0))
    except libvirt.libvirtError as error:
        return _job_without_stats(error)


def _leaves(domain: libvirt.virDomain) -> bool:
    """Whether an outgoing migration of it runs now."""
    return _job(domain) is Job.OUTGOING


def _rests(domain: libvirt.virDomain) -> bool:
    """Whether it is paused and nothing goes on about it."""
    view, _ = _view(domain, with_job=True)
    return view.power is Power.PAUSED and view.job is Job.NONE


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


def _close_quietly(connection: libvirt.virConnect) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()
