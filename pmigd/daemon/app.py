"""The whole daemon, wired: the only place that knows every part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.adapters.limits import Limits, LimitSource
from pmigd.adapters.metrics import Metrics, PoolFigures, Snapshot
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system import libvirtconf, logs
from pmigd.adapters.system.clock import Clock
from pmigd.adapters.system.listenfds import PassedSocket
from pmigd.adapters.system.network import leads_here, tcp_listener
from pmigd.adapters.system.peercred import Accounts
from pmigd.adapters.system.sdnotify import Notifier
from pmigd.adapters.system.unixsocket import BoundSocket, bind_unix_socket
from pmigd.adapters.system.uuid7 import Uuid7Sequence
from pmigd.api.apps import make_app, make_metrics_app
from pmigd.api.door import Door
from pmigd.api.peers import make_peer_app
from pmigd.config.reload import restart_needed
from pmigd.config.schema import Config
from pmigd.core.admission import Standing
from pmigd.core.canonical import command_lines, migration_line
from pmigd.core.checks import Checked
from pmigd.core.commands import Outcome
from pmigd.core.destination import find_target
from pmigd.core.finding import blocking, from_problem
from pmigd.core.holdings import Limits as InForce
from pmigd.core.holdings import Resource
from pmigd.core.limits import Allowance, admission_limits
from pmigd.core.model import Direction, Migration, Now, Request, State, Target
from pmigd.core.ports import DomainFacts
from pmigd.core.problem import Code, Problem, Refused, refuse
from pmigd.core.request_check import check_request, check_role
from pmigd.core.roles import Role
from pmigd.core.trace import ENTROPY_BYTES, Trace, begin
from pmigd.core.uri import ListenAddress, LocalUri, PeerUri
from pmigd.daemon.bookkeeper import Bookkeeper
from pmigd.daemon.controller import Controller
from pmigd.daemon.figures import counts, limits_view
from pmigd.daemon.gate import Gate
from pmigd.daemon.ownhost import OwnHost
from pmigd.daemon.peering import Peering
from pmigd.daemon.preflight import check
from pmigd.daemon.scraping import Scraping
from pmigd.daemon.textfile import Textfile
from pmigd.daemon.watcher import Watcher
from pmigd.wire import host as wire
from pmigd.wire.host import Peer
from pmigd.wire.request import Defaults, parse_request

if TYPE_CHECKING:
    from pmigd.adapters.tracing import Tracing

TICK_S: Final = 0.5
LAG_PROBE_S: Final = 0.25
FIRST_CONNECTION_S: Final = 3.0
STOP_PATIENCE_S: Final = 1.0
SEQ_BITS: Final = 20
"""Messages to peers are numbered from the time of the start on, with room for a million a
millisecond: so their numbers grow over restarts."""
RELOAD_DEADLINE_S: Final = 10.0
LISTEN_DEADLINE_S: Final = 5.0
TRACING_DEADLINE_S: Final = 10.0
ACCOUNTS_DEADLINE_S: Final = 5.0
CERTIFICATES_EVERY_S: Final = 60.0
RESOLVE_DEADLINE_S: Final = 0.8
RESTART_PAUSE_S: Final = 1.0
BACKLOG: Final = 1024
NAME_THREADS: Final = 16
"""For questions about users and addresses; a directory that is away may hold some of them."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Environment:
    """What systemd, or nobody, gave the process."""

    notifier: Notifier
    passed: Sequence[PassedSocket] = ()
    watchdog_s: float | None = None


class App:
    """One daemon. :meth:`start`, then :meth:`stop`; :meth:`reload` in between."""

    def __init__(self, config: Config, environment: Environment) -> None:
        self.config = config
        self._environment = environment
        self._clock = Clock()
        self._ids = Uuid7Sequence()
        self._accounts = Accounts()
        self._names = CallPool("names", NAME_THREADS)
        self._started_at = self._clock.utc_now()
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._bound: BoundSocket | None = None
        self._connected = asyncio.Event()
        self._before_reading: InForce | None = None
        self._tracing: Tracing | None = None
        self.metrics = Metrics(
            version=__version__,
            snapshot=self._snapshot,
            utc_now=self._clock.utc_now,
            mono=self._clock.monotonic,
        )
        self.journal = Journal(Path(config.daemon.state_dir) / "journal.sqlite")
        self._own_host = OwnHost(self._names, self._clock.utc_now)
        self.hypervisor = LocalHypervisor(
            config.libvirt.local_uri.text,
            notify=lambda notice: self.watcher.notice(notice),
            connection_changed=self._connection_changed,
            utc_now=self._clock.utc_now,
            own_host=self._own_host,
            observe=self.metrics.libvirt_call,
        )
        self.mirror = Limits(
            read_conf=libvirtconf.read,
            now=self._now,
            on_read=lambda _: self._limits_read(),
            socket_dir=_socket_dir(config.libvirt.local_uri),
        )
        self.gate = Gate(
            config.daemon.name,
            blocked=self._blocked,
            coming=lambda uuid: self.peering.granting.book.granted_for(uuid),
            now=self._now,
        )
        self.migrations = Controller(
            config.daemon.name,
            self.hypervisor,
            self.journal,
            self.gate,
            queue_max=config.limits.queue_max,
            now=self._now,
            new_id=lambda: str(self._ids.next(self._clock.unix_ms(), os.urandom(10))),
            on_change=self._changed,
            begin_trace=self._begin_trace,
        )
        self.watcher = Watcher(self.hypervisor, self.migrations)
        self.peering = Peering(
            config.daemon.name,
            self.gate,
            self.migrations,
            self.hypervisor,
            self.journal,
            self.metrics,
            self._names,
            now=self._now,
            first_seq=self._clock.unix_ms() << SEQ_BITS,
        )
        self.bookkeeper = Bookkeeper(
            self.journal, self.migrations, self.peering.granting, self._journal_read
        )
        self.scraping = Scraping(self.metrics, self._names)
        self.textfile = Textfile(self.metrics.render_for_textfile)
        self._configure_limits(config)

    # Life

    async def start(self) -> None:
        """Start everything; returns when clients are served.

        Raises SocketUnusable or OSError when a listener cannot be had. A libvirt daemon or a
        journal that cannot be had is not an error: they are waited for, and said to be missing.
        """
        self._keep("libvirt", self.hypervisor.run)
        await asyncio.gather(self._first_connection(), self.mirror.refresh(), self._open_tracing())
        self._apply_limits()
        self._keep("journal", self.bookkeeper.run)
        await self.bookkeeper.first_attempt()
        await self.peering.configure(self.config)
        if fault := await self.scraping.configure(self.config):
            raise OSError(fault)
        self.textfile.configure(self.config)
        self._keep("sample", self.watcher.sample)
        self._keep("scan", self.watcher.scan)
        self._keep("tick", lambda: self.migrations.tick(TICK_S))
        self._keep("lag", self._probe_lag)
        self._keep("limits", self.mirror.run)
        self._keep("leases", self.peering.granting.run)
        self._keep("web config", self.scraping.run)
        self._keep("certificates", self._watch_certificates)
        self._keep("textfile", self.textfile.run)
        await self._listen()
        if self._environment.watchdog_s is not None:
            every_s = self._environment.watchdog_s
            self._keep("watchdog", lambda: self._pet_watchdog(every_s))
        self._environment.notifier.ready(self._summary())
        log.info("ready", version=__version__, host=self.config.daemon.name)

    async def stop(self) -> None:
        """Stop within a few seconds. Migrations go on in libvirt and are found again."""
        self._environment.notifier.stopping()
        running = len(self.migrations.running())
        log.info("stopping", running=running, queued=len(self.gate.queue))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peering.stop()
        await self.migrations.stop()
        await self.textfile.stop()
        self.mirror.stop()
        await asyncio.gather(self._stop_tracing(), *(runner.cleanup() for runner in self._runners))
        if self._bound is not None:
            self._bound.remove()
        for part in (self.journal.close(), self.hypervisor.close()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_PATIENCE_S):
                    await part
        self._names.stop()
        self.scraping.stop()
        log.info("stopped")

    def reload(self, load: Callable[[], Config]) -> None:
        """Begin to take up a changed configuration; a bad one changes nothing."""
        self._spawn("reload", self._reload(load))

    async def _reload(self, load: Callable[[], Config]) -> None:
        notifier = self._environment.notifier
        notifier.reloading(self._clock.monotonic_us())
        try:
            new = await self._names.call("reload", RELOAD_DEADLINE_S, load)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one stays
            log.error("configuration not reloaded", detail=str(error))
            self.metrics.config_reloaded(ok=False)
        else:
            later = restart_needed(self.config, new)
            if later:
                log.warning("some keys take effect at the next start", keys=later)
            self.config = new
            self._accounts.forget()
            logs.set_level(new.daemon.log_level)
            self._configure_limits(new)
            await self.peering.configure(new)
            await self.scraping.configure(new)
            self.textfile.configure(new)
            log.info("configuration reloaded")
            self.metrics.config_reloaded(ok=True)
        notifier.ready(self._summary())

    # What the API asks for (pmigd.api.backend.Backend)

    async def who(self, uid: int, gid: int) -> tuple[str, Role | None]:
        """The user's name and role."""
        roles = self.config.api.roles
        now_s = self._clock.monotonic()

        def ask() -> tuple[str, Role | None]:
            account = self._accounts.account_of(uid, gid, now_s)
            return account.user or f"uid {uid}", self._accounts.role_of(uid, gid, roles, now_s)

        try:
            return await self._names.call("who", ACCOUNTS_DEADLINE_S, ask)
        except (Overdue, OSError) as error:
            raise refuse(Code.ACCOUNTS_UNAVAILABLE, f"uid {uid}: {error}") from error

    def parse_request(self, untrusted_body: object) -> Request:
        """A migration request with the configured defaults."""
        given = self.config.migration
        defaults = Defaults(
            transport=given.transport,
            tls=given.tls,
            timeout_s=given.timeout_s,
            on_timeout=given.on_timeout,
            recover_attempts=given.recover_attempts,
        )
        return parse_request(untrusted_body, defaults)

    async def submit(
        self,
        request: Request,
        *,
        role: Role,
        by: str,
        key: str | None,
        asked: str,
        caller: Trace | None,
    ) -> Migration:
        """Queue a migration."""
        target = self._target(request, role)
        if (problem := blocking(check_request(request), Code.CONFLICT)) is not None:
            raise Refused(problem)
        if (problem := await self._same_host(target)) is not None:
            raise Refused(problem)
        return await self.migrations.submit(
            request, target, by=by, key=key, asked=asked, caller=caller
        )

    async def check(self, request: Request, *, role: Role) -> Checked:
        """Everything that speaks against a migration."""
        target = self._target(request, role)
        found = check_request(request)
        if (problem := await self._same_host(target)) is not None:
            return Checked([*found, from_problem(problem, "destination")])
        examine = self.peering.asking.examine
        checked = await check(self.hypervisor, examine, request, target)
        return replace(checked, findings=found + checked.findings)

    def status(self) -> dict[str, Any]:
        """How the daemon is."""
        facts = self.hypervisor.facts
        by_state = {state.value: 0 for state in State if not state.terminal}
        for migration in self.migrations.open():
            by_state[migration.state] += 1
        missing = self.readiness()
        return {
            "name": self.config.daemon.name,
            "version": __version__,
            "started_at": self._started_at,
            "ready": not missing,
            "missing": missing,
            "libvirt": {
                "connected": self.hypervisor.connected,
                "uri": self.hypervisor.uri,
                "version": facts.libvirt_version,
                "hypervisor": facts.hypervisor,
                "hypervisor_version": facts.hypervisor_version,
                "reconnects": self.hypervisor.reconnects,
            },
            "journal": {
                "path": str(self.journal.path),
                "writable": self.journal.writable,
                "error": self.journal.error,
            },
            "limits": {
                "max_outgoing": self.config.limits.max_outgoing,
                "queue_max": self.migrations.queue_max,
                "held_outgoing": self.gate.account.used(Resource.OUTGOING_SLOT),
                "max_incoming": self.config.limits.max_incoming,
                "held_incoming": self.gate.account.used(Resource.INCOMING_SLOT),
            },
            "migrations": by_state,
        }

    async def peers(self) -> list[Peer]:
        """The configured peers, and whether their pmigd answer now."""
        daemons = await self.peering.asking.meet()
        return [
            Peer(
                name=name,
                uri=peer.uri,
                migrate_uri=peer.migrate_uri or None,
                pmigd=daemons.get(name),
                queued=len(self.gate.queue.to(name)),
                running=sum(m.destination == name for m in self.migrations.running()),
                given=counts(x for x in self.peering.granting.book if x.source == name),
            )
            for name, peer in sorted(self.config.peers.items())
        ]

    def limits(self) -> wire.Limits:
        """What migrations may hold on this host, and hold now."""
        return limits_view(
            self.config.daemon.name,
            self.gate.account,
            self.gate.limits,
            self.mirror.current,
            self._allowance,
            queued=len(self.gate.queue),
            leases=self.peering.granting.book,
            now_mono=self._clock.monotonic(),
        )

    async def domains(self) -> list[DomainFacts]:
        """This host's domains."""
        return await self.hypervisor.domains()

    def readiness(self) -> dict[str, str]:
        """What keeps the daemon from taking new work: empty when it is ready."""
        missing = {}
        if not self.hypervisor.connected:
            missing["libvirt"] = self.hypervisor.last_error
        if not self.journal.writable:
            missing["journal"] = self.journal.error or ""
        return missing

    def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics as bytes and their content type."""
        return self.metrics.render(accept)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.metrics.api_request(method, route, status, seconds)

    def observe_rejection(self, error: Exception) -> None:
        """Count a submission that was refused."""
        if isinstance(error, Refused):
            self.metrics.rejected(error.problem.code)

    # Below: parts of starting and running

    async def _same_host(self, target: Target) -> Problem | None:
        if target.host is None or not await self._leads_here(target.host):
            return None
        return Problem(Code.SAME_HOST, f"{target.uri}: '{target.host}' is an address of this host.")

    async def _leads_here(self, host: str) -> bool:
        """Whether `host` is this host. One that cannot be looked up now is found out later."""
        try:
            return await self._names.call("resolve", RESOLVE_DEADLINE_S, lambda: leads_here(host))
        except Overdue:
            return False

    async def _open_tracing(self) -> None:
        url = self.config.tracing.url
        if url is None:
            return

        def load() -> Tracing:
            # Only here: the package may be missing, and takes its time to load.
            from pmigd.adapters.tracing import to_collector

            return to_collector(self.config.daemon.name, url)

        try:
            self._tracing = await self._names.call("tracing", TRACING_DEADLINE_S, load)
        except Exception as error:  # noqa: BLE001 - whatever the SDK wants, guests can be moved
            missing = isinstance(error, ImportError)
            mend = (
                "pip install 'pmigd[otel]'" if missing else "mend it (OTEL_* in the environment?)"
            )
            remedy = f"{mend} and restart pmigd, or take tracing.endpoint out of the configuration"
            log.error("no spans are made", detail=str(error), remedy=remedy)

    async def _stop_tracing(self) -> None:
        if self._tracing is not None:
            with contextlib.suppress(Overdue):  # the collector does not take them
                await self._names.call("tracing", STOP_PATIENCE_S, self._tracing.stop)

    def _begin_trace(self, caller: Trace | None) -> Trace | None:
        return caller if self._tracing is None else begin(caller, os.urandom(ENTROPY_BYTES))

    async def _first_connection(self) -> None:
        """Give libvirt a moment: what runs is adopted before the first question about it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._connected.wait()

    def _journal_read(self) -> None:
        """It is known which migrations are this pmigd's: now others' may be looked for."""
        if self.hypervisor.connected:
            self.watcher.scan_now()
        else:
            self.migrations.connection_changed(connected=False)

    async def _listen(self) -> None:
        passed = self._passed("api", socket.AF_UNIX)
        if passed:
            listener = passed[0]
        else:
            api = self.config.api
            self._bound = bind_unix_socket(
                Path(api.socket), mode=api.mode_bits, group=api.group, backlog=BACKLOG
            )
            for warning in self._bound.warnings:
                log.warning("socket", detail=warning)
            # A second handle: the file is removed while the socket is still open.
            listener = self._bound.socket.dup()
        await Door(await self._runner(make_app(self)), listener, backlog=BACKLOG).start()
        await self._listen_to_peers()
        await self._listen_to_scrapers()

    async def _listen_to_peers(self) -> None:
        address = self.config.peer.address
        if address is None:
            return
        guard = self.peering.guard
        runner = await self._runner(make_peer_app(self.peering, guard))
        await Door(runner, await self._tcp(address), backlog=BACKLOG, guard=guard).start()

    async def _listen_to_scrapers(self) -> None:
        listeners = self._passed("metrics", socket.AF_INET, socket.AF_INET6)
        listeners = listeners or [await self._tcp(a) for a in self.config.metrics.addresses]
        if not listeners:
            return
        guard = self.scraping.guard
        runner = await self._runner(make_metrics_app(self, self.scraping, guard))
        for listener in listeners:
            await Door(runner, listener, backlog=BACKLOG, guard=guard).start()

    async def _tcp(self, address: ListenAddress) -> socket.socket:
        return await self._names.call(
            "listen",
            LISTEN_DEADLINE_S,
            lambda: tcp_listener(address.host, address.port, backlog=BACKLOG),
        )

    def _passed(self, name: str, *families: int) -> list[socket.socket]:
        return [
            passed.socket
            for passed in self._environment.passed
            if passed.name == name and passed.socket.family in families
        ]

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=STOP_PATIENCE_S,
        )
        await runner.setup()
        self._runners.append(runner)
        return runner

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    def _keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a background task for as long as the daemon lives, whatever happens in it."""

        async def again() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    log.exception("background task failed", task=name)
                await asyncio.sleep(RESTART_PAUSE_S)

        self._spawn(name, again())

    def _target(self, request: Request, role: Role) -> Target:
        check_role(request, role)
        return find_target(
            request.destination, role, self._targets(), self.config.security.allowed_patterns
        )

    def _targets(self) -> Mapping[str, Target]:
        return {
            name: Target(
                name,
                peer.peer_uri.text,
                peer.migrate_uri or None,
                peer.peer_uri.host if isinstance(peer.peer_uri, PeerUri) else None,
            )
            for name, peer in self.config.peers.items()
        }

    def _configure_limits(self, config: Config) -> None:
        """Take up what the configuration says of limits; what runs already runs on."""
        limits = config.limits
        self._allowance = Allowance(
            max_outgoing=limits.max_outgoing,
            max_incoming=limits.max_incoming,
            max_preparing=limits.max_preparing,
            ssh_startups=limits.ssh_startups,
            reserve_workers=limits.reserve_workers,
            reserve_clients=limits.reserve_clients,
        )
        self.mirror.configure(
            LimitSource(limits.source), Path(limits.libvirtd_conf) if limits.libvirtd_conf else None
        )
        self.migrations.queue_max = limits.queue_max
        self.gate.window = limits.max_outgoing
        self._apply_limits()

    def _limits_read(self) -> None:
        self._before_reading = self.gate.limits
        self._apply_limits()

    def _apply_limits(self) -> None:
        """Go by the limits as they were last read, and by the configuration."""
        gate = self.gate
        gate.limits = admission_limits(
            self.mirror.current, self._allowance, gate.account, self._before_reading
        )
        self.migrations.pump()
        self.peering.granting.pump()

    def _blocked(self) -> str | None:
        """What keeps every migration from starting."""
        if not self.hypervisor.connected:
            return "libvirt"
        return None if self.journal.writable else "journal"

    def _now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.utc_now())

    def _snapshot(self) -> Snapshot:
        gate, running = self.gate, self.migrations.running()
        head = next(self.migrations.queued(), None)
        waits = gate.why(head, running) if head else None
        given = counts(self.peering.granting.book)
        ours = [m for m in running if m.direction is Direction.OUTGOING and not m.external]
        unused = sum(lease.standing is Standing.GRANTED for lease in gate.leases.values())
        pools = (
            *self.hypervisor.pools,
            self.mirror.pool,
            self._names,
            self.scraping.pool,
            self.textfile.pool,
        )
        return Snapshot(
            migrations=running,
            waiting_oldest=head.created_at if head else None,
            head_waits=waits.resource if waits else None,
            queued=len(gate.queue),
            limits={
                Direction.OUTGOING: self.config.limits.max_outgoing,
                Direction.INCOMING: self.config.limits.max_incoming,
            },
            daemons=self.mirror.current.daemons,
            held={resource: gate.account.used(resource) for resource in Resource},
            leases={
                (Direction.INCOMING, "granted"): given.granted,
                (Direction.INCOMING, "waiting"): given.waiting,
                (Direction.OUTGOING, "granted"): unused
                + sum(gate.door(m.destination).leases for m in ours),
                (Direction.OUTGOING, "waiting"): len(gate.leases) - unused,
            },
            peers_up={name: door.shut is None for name, door in gate.doors.items() if door.leases},
            pools=tuple(
                PoolFigures(p.name, busy=p.busy, size=p.size, waiting=p.waiting, overdue=p.overdue)
                for p in pools
            ),
            journal_writable=self.journal.writable,
            now_mono=self._clock.monotonic(),
        )

    def _changed(self, before: Migration | None, after: Migration) -> None:
        self.metrics.migration_changed(before, after)
        if self._tracing is not None:
            self._tracing.changed(before, after)
        if before is None or before.state is not after.state:
            self.peering.granting.pump()  # a slot may have become free for who wants to come
        if before is None or before.state is not after.state:
            line = migration_line(before, after, self._now())
            level = log.warning if after.state in _TROUBLE else log.info
            level(line.pop("event"), **line)
            self._environment.notifier.status(self._summary())
        for line in command_lines(before, after):
            outcome = line["outcome"]
            trouble = outcome == Outcome.REFUSED or (outcome == Outcome.PENDING and line["waits"])
            level = log.warning if trouble else log.info
            level(line.pop("event"), **line)

    def _connection_changed(self, connected: bool) -> None:
        if connected:
            self._connected.set()
            facts = self.hypervisor.facts
            log.info("libvirt connected", uri=self.hypervisor.uri, version=facts.libvirt_version)
        else:
            log.error("libvirt lost", detail=self.hypervisor.last_error)
        self.metrics.libvirt_changed(connected, self.hypervisor.facts, self.hypervisor.reconnects)
        self.migrations.connection_changed(connected=connected)
        if connected:
            self.watcher.scan_now()

    def _summary(self) -> str:
        running, queued = len(self.migrations.running()), len(self.gate.queue)
        return f"{running} migrations running, {queued} queued"

    async def _probe_lag(self) -> None:
        while True:
            began = monotonic()
            await asyncio.sleep(LAG_PROBE_S)
            self.metrics.loop_lag(max(0.0, monotonic() - began - LAG_PROBE_S))

    async def _watch_certificates(self) -> None:
        """QEMU reads its certificates for each migration: those on the disk are in force."""
        while True:
            ends = await self._own_host.certificates_end()
            self.metrics.certificate_in_force("migration", ends)
            await asyncio.sleep(CERTIFICATES_EVERY_S)

    async def _pet_watchdog(self, every_s: float) -> None:
        """Prove to systemd that the loop is alive; libvirt's health is not the loop's."""
        while True:
            self._environment.notifier.watchdog()
            await asyncio.sleep(every_s)


_TROUBLE: Final = frozenset({State.FAILED, State.UNRESOLVED, State.POSTCOPY_PAUSED})


def _socket_dir(uri: LocalUri) -> Path:
    """Where libvirt's sockets are; those for administration stand beside the others."""
    return Path(uri.socket).parent if uri.socket else Path("/run/libvirt")
