"""The whole daemon, wired: the only place that knows every part."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.libvirt.definition import xml_fault
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.adapters.libvirt.ssh import direct_host
from pmigd.adapters.limits import Limits, LimitSource
from pmigd.adapters.metrics import Metrics, PoolFigures, Snapshot
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system import libvirtconf, logs
from pmigd.adapters.system.clock import Clock
from pmigd.adapters.system.listenfds import PassedSocket
from pmigd.adapters.system.network import leads_here
from pmigd.adapters.system.peercred import Accounts
from pmigd.adapters.system.sdnotify import Notifier
from pmigd.adapters.system.uuid7 import Uuid7Sequence
from pmigd.adapters.web import WebConfigRefused
from pmigd.api.apps import make_app, make_metrics_app
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
from pmigd.core.model import Direction, Flow, Migration, Now, Request, State, Target
from pmigd.core.ports import DomainFacts
from pmigd.core.problem import Code, FieldError, Problem, Refused, refuse
from pmigd.core.request_check import check_request, check_role
from pmigd.core.roles import Role
from pmigd.core.trace import ENTROPY_BYTES, Trace, begin
from pmigd.core.uri import LocalUri, PeerUri
from pmigd.daemon.bookkeeper import Bookkeeper
from pmigd.daemon.controller import Controller
from pmigd.daemon.diagnosis import diagnose
from pmigd.daemon.doors import Doors
from pmigd.daemon.figures import counts, limits_view
from pmigd.daemon.gate import Gate
from pmigd.daemon.ownhost import OwnHost
from pmigd.daemon.peering import Peering
from pmigd.daemon.preflight import check
from pmigd.daemon.reloading import Reloading, Take
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
LAGS_KEPT_S: Final = 60
FIRST_CONNECTION_S: Final = 3.0
STOP_PATIENCE_S: Final = 1.0
SEQ_BITS: Final = 20
"""Messages to peers are numbered from the time of the start on, with room for a million a
millisecond: so they grow over restarts, for peers that do not know of epochs yet."""
XML_DEADLINE_S: Final = 2.0
TRACING_DEADLINE_S: Final = 10.0
ACCOUNTS_DEADLINE_S: Final = 5.0
CERTIFICATES_EVERY_S: Final = 60.0
RESOLVE_DEADLINE_S: Final = 0.8
RESTART_PAUSE_S: Final = 1.0
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
        self.doors = Doors(self._names, environment.passed)
        self._reloading = Reloading(self, self._names)
        self._started_at = self._clock.utc_now()
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = asyncio.Event()
        self._lags: deque[float] = deque(maxlen=round(LAGS_KEPT_S / LAG_PROBE_S))
        self._before_reading: InForce | None = None
        self._tracing: Tracing | None = None
        self.metrics = Metrics(
            version=__version__,
            snapshot=self._snapshot,
            utc_now=self._clock.utc_now,
            mono=self._clock.monotonic,
        )
        self.journal = Journal(Path(config.daemon.state_dir) / "journal.sqlite")
        self._own_host = OwnHost(self._names, self._clock.utc_now, config.libvirt.local_uri)
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
        # Before anything is queued it is known whose leases are needed.
        (await self.peering.prepare(self.config))()
        self._keep("journal", self.bookkeeper.run)
        await self.bookkeeper.first_attempt()
        try:
            (await self.scraping.prepare(self.config))()
        except (WebConfigRefused, Overdue) as error:  # without it, anybody could read
            raise OSError(str(error)) from error
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
        self._keep("doors", self.doors.run)
        if self._environment.watchdog_s is not None:
            every_s = self._environment.watchdog_s
            self._keep("watchdog", lambda: self._pet_watchdog(every_s))
        self._environment.notifier.ready(self._summary())
        self._keep("reload", self._reloading.run)
        log.info("ready", version=__version__, host=self.config.daemon.name)

    async def stop(self) -> None:
        """Stop within a few seconds. Migrations go on in libvirt and are found again."""
        self._environment.notifier.stopping(self._summary())
        running = len(self.migrations.running())
        log.info("stopping", running=running, queued=len(self.gate.queue))
        for migration in self._direct():
            log.warning(
                "a migration of flow direct ends with pmigd",
                migration=migration.id,
                domain=migration.domain.name,
                destination=migration.destination,
                remedy="the guest stays here: submit it again when pmigd has started",
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.peering.stop()
        await self.migrations.stop()
        await self.textfile.stop()
        self.mirror.stop()
        await asyncio.gather(self._stop_tracing(), self.doors.close())
        for part in (self.journal.close(), self.hypervisor.close()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_PATIENCE_S):
                    await part
        self._names.stop()
        self.scraping.stop()
        log.info("stopped")

    def reload(self, load: Callable[[], Config]) -> None:
        """Have a changed configuration taken up; a bad one changes nothing."""
        self._reloading.ask(load)

    # What a reload asks for (pmigd.daemon.reloading.Reloadable)

    async def prepare(self, new: Config) -> Take:
        """Read the files that `new` names; what takes it up."""
        later = restart_needed(self.config, new)
        peers = await self.peering.prepare(new)
        scrapers = await self.scraping.prepare(new)

        def take() -> None:
            if later:
                log.warning("some keys take effect at the next start", keys=later)
            self.config = new
            self._accounts.forget()
            logs.set_level(new.daemon.log_level)
            scrapers()
            self.textfile.configure(new)
            self._configure_limits(new)
            peers()

        return take

    def reload_begins(self) -> None:
        """Tell systemd."""
        self._environment.notifier.reloading(self._clock.monotonic_us())

    def reload_is_over(self, *, ok: bool) -> None:
        """Tell systemd, and whoever looks at the metrics."""
        self.metrics.config_reloaded(ok=ok)
        self._environment.notifier.ready(self._summary())

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
        await self._read_xml(request)
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
        await self._read_xml(request)
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
            "doors_shut": self.doors.shut,
            "certificates": [
                wire.CertificateFault(f"peer.{f.field}", str(f.file), f.message, f.accepted)
                for f in self.peering.faults
            ],
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

    async def diagnose(self) -> wire.Diagnosis:
        """A support bundle; what cannot be had in time is named in it."""
        return await diagnose(self, self._clock.utc_now())

    async def domains_by_state(self) -> dict[str, Any]:
        """How many guests this host has, by state, and how its libvirt was reached last."""
        found = Counter(str(facts.view.power) for facts in await self.hypervisor.domains())
        return {"last_error": self.hypervisor.last_error, "domains": dict(found)}

    def loop_figures(self) -> dict[str, float]:
        """How late the event loop was: now, and at most within the last minute. Seconds."""
        lags = self._lags or [0.0]
        return {"lag_s": round(lags[-1], 4), "lag_most_s": round(max(lags), 4)}

    def pool_figures(self) -> tuple[PoolFigures, ...]:
        """How busy the threads for blocking calls are."""
        pools = (
            *self.hypervisor.pools,
            self.mirror.pool,
            self._names,
            self.scraping.pool,
            self.textfile.pool,
        )
        return tuple(
            PoolFigures(p.name, busy=p.busy, size=p.size, waiting=p.waiting, overdue=p.overdue)
            for p in pools
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
        """Whether it is this host. What cannot be looked up now is found out later."""

        def host_here() -> str | None:
            host = direct_host(target.uri)
            return host if host is not None and leads_here(host) else None

        try:
            host = await self._names.call("resolve", RESOLVE_DEADLINE_S, host_here)
        except Overdue:
            return None
        if host is None:
            return None
        return Problem(Code.SAME_HOST, f"{target.uri}: '{host}' is an address of this host.")

    async def _read_xml(self, request: Request) -> None:
        """Refuse XML that nobody can read, libvirt neither."""
        for field in ("xml", "persistent_xml"):
            if (text := getattr(request, field)) is None:
                continue
            read = partial(xml_fault, text)
            try:
                fault = await self._names.call("xml", XML_DEADLINE_S, read)
            except Overdue:
                continue  # libvirt reads it, too
            if fault:
                detail = f"'{field}' cannot be read: {fault}."
                raise refuse(Code.INVALID_REQUEST, detail, (FieldError(field, fault),))

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
        """Open the doors, the socket first: it is what nobody can do without."""
        await self.doors.open_socket(make_app(self), self.config.api)
        peer, metrics = self.config.peer, self.config.metrics
        peers, scrapers = self.peering.guard, self.scraping.guard
        await asyncio.gather(
            self.doors.open_network(
                "peer.listen",
                make_peer_app(self.peering, peers),
                peers,
                [peer.address] if peer.address is not None else [],
            ),
            self.doors.open_network(
                "metrics.listen",
                make_metrics_app(self, self.scraping, scrapers),
                scrapers,
                metrics.addresses,
                passed="metrics",
            ),
        )

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
            self.mirror.current,
            self._allowance,
            gate.account,
            self._before_reading,
            self.hypervisor.hung,
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
        return Snapshot(
            migrations=running,
            waiting_oldest=head.created_at if head else None,
            head_waits=waits.resource if waits else None,
            queued=len(gate.queue),
            left_behind=self.watcher.left_behind,
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
            pools=self.pool_figures(),
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
        direct = len(self._direct())
        warning = f"; {direct} of flow direct: a stop or restart ends them" if direct else ""
        return f"{running} migrations running, {queued} queued{warning}"

    def _direct(self) -> list[Migration]:
        """What pmigd itself is between the two hosts of."""
        return [
            m
            for m in self.migrations.running()
            if not m.external
            and m.direction is Direction.OUTGOING
            and m.request.flow is Flow.DIRECT
        ]

    async def _probe_lag(self) -> None:
        while True:
            began = monotonic()
            await asyncio.sleep(LAG_PROBE_S)
            lag_s = max(0.0, monotonic() - began - LAG_PROBE_S)
            self._lags.append(lag_s)
            self.metrics.loop_lag(lag_s)

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
