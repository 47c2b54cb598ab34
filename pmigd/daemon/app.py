"""The whole daemon, put together: the only place that knows every part.

It makes the parts, starts them in an order in which none misses another, and stops what was started
the other way round. What they do is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from pmigd import __version__
from pmigd.adapters.journal import Journal
from pmigd.adapters.libvirt.hypervisor import LocalHypervisor
from pmigd.adapters.limits import LimitsMirror
from pmigd.adapters.metrics import Metrics
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system import libvirtconf, logs
from pmigd.adapters.system.clock import Clock
from pmigd.adapters.system.listenfds import PassedSocket
from pmigd.adapters.system.sdnotify import Notifier
from pmigd.adapters.system.uuid7 import Uuid7Sequence
from pmigd.adapters.tasks import Tasks
from pmigd.adapters.web import WebConfigRefused
from pmigd.api.backend import Backend
from pmigd.config.schema import Config
from pmigd.core.model import Migration, Now
from pmigd.core.uri import LocalUri
from pmigd.daemon.answers import Answers
from pmigd.daemon.bookkeeper import Bookkeeper
from pmigd.daemon.callers import Callers
from pmigd.daemon.controller import Controller
from pmigd.daemon.controls import Controls
from pmigd.daemon.doors import Doors
from pmigd.daemon.figures import Figures
from pmigd.daemon.gate import Gate
from pmigd.daemon.intake import Intake
from pmigd.daemon.limiting import Limiting
from pmigd.daemon.ownhost import LocalHost
from pmigd.daemon.peering import Peering
from pmigd.daemon.reloading import Load, Reloading
from pmigd.daemon.requests import Requests
from pmigd.daemon.scraping import Scraping
from pmigd.daemon.spans import Spans
from pmigd.daemon.stopping import Stack
from pmigd.daemon.telling import Telling
from pmigd.daemon.textfile import Textfile
from pmigd.daemon.versions import Versions
from pmigd.daemon.watcher import Watcher

TICK_S: Final = 0.5
FIRST_CONNECTION_S: Final = 3.0
CLOSES_IN_S: Final = 1.0
SEQ_BITS: Final = 20
"""Messages to peers are numbered from the time of the start on, with room for a million a
millisecond: so they grow over restarts, for peers that do not know of epochs yet."""
CERTIFICATES_EVERY_S: Final = 60.0
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

    def __init__(
        self,
        config: Config,
        environment: Environment,
        *,
        libvirt: type[LocalHypervisor] = LocalHypervisor,
    ) -> None:
        self._environment = environment
        self._clock = Clock()
        self._names = CallPool("names", NAME_THREADS)
        self._tasks = Tasks("daemon")
        self._stack = Stack()
        self._connected = asyncio.Event()
        self.metrics = Metrics(
            version=__version__,
            snapshot=lambda: self.figures.snapshot(),
            utc_now=self._clock.utc_now,
            mono=self._clock.monotonic,
        )
        self._make_this_host(config, libvirt)
        self._make_migrations(config)
        self._make_faces(config)
        self._make_backend()

    def _make_this_host(self, config: Config, libvirt: type[LocalHypervisor]) -> None:
        """What pmigd looks at and writes to."""
        self.journal = Journal(Path(config.daemon.state_dir) / "journal.sqlite")
        self._own_host = LocalHost(self._names, self._clock.utc_now, config.libvirt.local_uri)
        self.hypervisor = libvirt(
            config.libvirt.local_uri.text,
            notify=lambda notice: self.watcher.notice(notice),
            connection_changed=self._connection_changed,
            utc_now=self._clock.utc_now,
            own_host=self._own_host,
            observe=self.metrics.libvirt_call,
        )
        self.mirror = LimitsMirror(
            read_conf=libvirtconf.read,
            now=self._now,
            on_read=lambda _: self.limiting.read(),
            socket_dir=_socket_dir(config.libvirt.local_uri),
        )

    def _make_migrations(self, config: Config) -> None:
        """What decides, acts and remembers."""
        ids = Uuid7Sequence()
        self._spans = Spans(self._names)
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
            now=self._now,
            new_id=lambda: str(ids.next(self._clock.unix_ms(), os.urandom(10))),
            on_change=self._changed,
            begin_trace=self._spans.begin,
        )
        self.intake = Intake(self.migrations, self.hypervisor, queue_max=config.limits.queue_max)
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
        self._bookkeeper = Bookkeeper(
            self.journal, self.migrations, self.peering.granting, self._journal_read
        )
        self.limiting = Limiting(
            self.mirror,
            self.gate,
            self.migrations,
            self.intake,
            self.peering.granting,
            self.hypervisor,
        )

    def _make_faces(self, config: Config) -> None:
        """What people, systemd and Prometheus see."""
        self._telling = Telling(
            self._environment.notifier,
            self.metrics,
            self._spans,
            self._clock,
            self.gate,
            self.migrations,
        )
        self._scraping = Scraping(self.metrics, self._names)
        self._textfile = Textfile(self.metrics.render_for_textfile)
        self._callers = Callers(config, self._names, self._clock.monotonic)
        self.doors = Doors(self._names, self._environment.passed)
        self.reloading = Reloading(
            config,
            self._names,
            self._telling,
            takes=(
                self._callers.configure,
                lambda new: logs.set_level(new.daemon.log_level),
                self._textfile.configure,
                self.limiting.configure,
            ),
            prepares=(self._scraping.prepare, self.peering.prepare),
        )

    def _make_backend(self) -> None:
        """What answers the clients."""

        def in_force() -> Config:
            return self.reloading.config

        pools = (self._names, self.mirror.pool, self._scraping.pool, self._textfile.pool)
        self.figures = Figures(
            in_force,
            self.journal,
            self.mirror,
            self.gate,
            self.migrations,
            self.peering.granting,
            self.limiting,
            self.watcher,
            (*self.hypervisor.pools, *pools),
            self._clock.monotonic,
        )
        self.backend = Backend(
            migrations=self.migrations,
            controls=Controls(self.migrations, self.hypervisor),
            requests=Requests(
                in_force,
                self._names,
                self.hypervisor,
                self.intake,
                self.peering.asking.examine,
            ),
            callers=self._callers,
            answers=Answers(
                in_force,
                self.hypervisor,
                self.journal,
                self.gate,
                self.migrations,
                self.intake,
                self.peering,
                self.doors,
                self.figures,
                Versions(self.hypervisor, self._clock.monotonic, self._tasks),
                self._clock.utc_now,
            ),
            counts=self.metrics,
        )

    # Life

    async def start(self) -> None:
        """Start everything; returns when clients are served.

        Raises SocketUnusable or OSError when the socket cannot be had, or what says who may read
        the metrics; what was started until then is stopped. A libvirt daemon or a journal that
        cannot be had is not an error: they are waited for, and said to be missing.
        """
        try:
            await self._start()
        except Exception:
            await self._stack.unwind()
            raise

    async def _start(self) -> None:
        config, keep = self.reloading.config, self._tasks.keep
        self._to_be_stopped()
        keep("libvirt", self.hypervisor.run)
        try:
            # Before anything is queued it is known whose leases are needed.
            (await self.reloading.prepare(config))()
        except (WebConfigRefused, Overdue) as error:  # without it, anybody could read
            raise OSError(str(error)) from error
        await asyncio.gather(
            self._first_connection(), self.mirror.refresh(), self._spans.open(config)
        )
        self.limiting.apply()
        keep("journal", self._bookkeeper.run)
        await self._bookkeeper.first_attempt()
        keep("sample", self.watcher.sample)
        keep("scan", self.watcher.scan)
        keep("tick", lambda: self.migrations.tick(TICK_S))
        keep("lag", lambda: self.figures.probe_lag(self.metrics))
        keep("limits", self.mirror.run)
        keep("leases", self.peering.granting.run)
        keep("web config", self._scraping.run)
        keep("certificates", self._watch_certificates)
        keep("textfile", self._textfile.run)
        await self.doors.open(config, self.backend, self.peering, self._scraping)
        keep("doors", self.doors.run)
        if (every_s := self._environment.watchdog_s) is not None:
            keep("watchdog", lambda: self._pet_watchdog(every_s))
        self._telling.ready()
        keep("reload", self.reloading.run)
        log.info("ready", version=__version__, host=config.daemon.name)

    def _to_be_stopped(self) -> None:
        """In this order backwards: who looks and acts first, and at last what all of them use.

        What has not been started yet has nothing to stop.
        """
        push = self._stack.push
        push("passwords", self._scraping.stop)
        push("names", self._names.stop)
        push("libvirt", self.hypervisor.close, within_s=CLOSES_IN_S)
        push("journal", self.journal.close, within_s=CLOSES_IN_S)
        # Whoever waits for an answer gets one: streams and waits end with the migrations.
        push("doors", self.doors.close)
        push("spans", self._spans.close)
        push("limits", self.mirror.stop)
        push("textfile", self._textfile.stop)
        push("migrations", self.migrations.stop)
        push("peering", self.peering.stop)
        push("tasks", self._tasks.stop)

    async def stop(self) -> None:
        """Stop within a few seconds. Migrations go on in libvirt and are found again."""
        self._telling.stopping()
        await self._stack.unwind()
        log.info("stopped")

    def reload(self, load: Load) -> None:
        """Have a changed configuration taken up; a bad one changes nothing."""
        self.reloading.ask(load)

    async def _first_connection(self) -> None:
        """Give libvirt a moment: what runs is adopted before the first question about it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._connected.wait()

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

    # What one part's news means for others

    def _changed(self, before: Migration | None, after: Migration) -> None:
        self._telling.changed(before, after)
        if before is None or before.state is not after.state:
            self.peering.granting.pump()  # a slot may have become free for who wants to come

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

    def _journal_read(self) -> None:
        """It is known which migrations are this pmigd's: now others' may be looked for."""
        if self.hypervisor.connected:
            self.watcher.scan_now()
        else:
            self.migrations.connection_changed(connected=False)

    def _blocked(self) -> str | None:
        """What keeps every migration from starting."""
        if not self.hypervisor.connected:
            return "libvirt"
        return None if self.journal.writable else "journal"

    def _now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.utc_now())


def _socket_dir(uri: LocalUri) -> Path:
    """Where libvirt's sockets are; those for administration stand beside the others."""
    return Path(uri.socket).parent if uri.socket else Path("/run/libvirt")
