"""The main connection to this host's libvirt daemon: events, signs of life, nothing that may hang.

No question about a guest is asked on it and no command is given, so neither a guest whose QEMU
hangs nor a long call can hold up what libvirt tells. When it is lost it is opened again, with
back-off; no call is ever made twice because of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import libvirt

from pmigd.adapters.libvirt import eventloop, translate
from pmigd.adapters.libvirt.failures import words_of
from pmigd.adapters.libvirt.inspect import host_facts
from pmigd.adapters.libvirt.looks import UtcNow, identity
from pmigd.adapters.libvirt.translate import Notice
from pmigd.adapters.pool import CallPool, Observer, Overdue
from pmigd.core import events as ev
from pmigd.core.model import Direction
from pmigd.core.ports import HostFacts

CONNECT_DEADLINE_S: Final = 10.0
PING_EVERY_S: Final = 1.0
PING_DEADLINE_S: Final = 2.0
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class MainConnection:
    """The connection to the libvirt daemon at `uri`, kept up by :meth:`run`.

    `notify` is told of libvirt's events, `changed` of the connection's coming and going; both run
    on the loop and must return at once.
    """

    def __init__(
        self,
        uri: str,
        *,
        notify: Callable[[Notice], None],
        changed: Callable[[bool], None],
        utc_now: UtcNow,
        observe: Observer | None,
    ) -> None:
        self.uri = uri
        self.facts = HostFacts()
        self.reconnects = 0
        self.last_error = "not connected yet"
        self._notify = notify
        self._changed = changed
        self._utc_now = utc_now
        self._pool = CallPool("main", 1, observe=observe)
        self._pinger = CallPool("ping", 1, each=1)
        self._connection: libvirt.virConnect | None = None
        self._answers = False
        self._callback_ids: list[int] = []
        self._lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._implementation = eventloop.register(self._loop)

    @property
    def up(self) -> bool:
        """Whether there is a connection; the daemon may hang all the same."""
        return self._connection is not None

    @property
    def answers(self) -> bool:
        """Whether there is a connection and the daemon answers on it."""
        return self._connection is not None and self._answers

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        attempt = 0
        while True:
            self._lost.clear()
            try:
                connection = await self._connect()
            except libvirt.libvirtError as error:
                self.last_error = words_of(error)
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._answers = True
            self._changed(True)
            await self._stay(connection)
            was_there, self._answers = self._answers, False
            await self._forget()
            self.reconnects += 1
            if was_there:
                self._changed(False)

    async def close(self) -> None:
        """Close the connection in good order."""
        self._lost.set()
        await self._forget()
        self._pool.stop()
        self._pinger.stop()

    async def _stay(self, connection: libvirt.virConnect) -> None:
        """Ask for a sign of life until the connection is lost.

        A daemon that hangs keeps its connections: only that it does not answer tells. The question
        is one that libvirtd's priority workers serve, so a libvirtd full of migrations does not
        look like a dead one.
        """
        while not self._lost.is_set():
            answers = True
            try:
                ping = connection.getLibVersion
                await self._pinger.call("ping", PING_DEADLINE_S, ping, key="ping")
            except Overdue as error:
                answers = False
                self.last_error = f"libvirt has not answered for {error.for_s:.0f} s"
            except libvirt.libvirtError as error:
                self.last_error = words_of(error)
                return
            if answers is not self._answers:
                self._answers = answers
                self._changed(answers)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()

    # Opening and closing. There is no deadline: a daemon that hangs answers in the end, or its
    # connection breaks, and a second attempt would only hang beside the first.

    async def _connect(self) -> libvirt.virConnect:
        late = self._loop.call_later(CONNECT_DEADLINE_S, self._say_late, monotonic())
        try:
            connection = await self._pool.run("open", self._open, expected_s=CONNECT_DEADLINE_S)
            try:
                self.facts = await self._pool.run(
                    "facts", lambda: host_facts(connection), expected_s=CONNECT_DEADLINE_S
                )
                self._callback_ids = await self._pool.run(
                    "register_events",
                    lambda: self._register(connection),
                    expected_s=CONNECT_DEADLINE_S,
                )
            except libvirt.libvirtError:
                await self._end(connection, [])
                raise
        finally:
            late.cancel()
        self._connection = connection
        return connection

    def _say_late(self, since: float) -> None:
        self.last_error = f"libvirt has not answered for {monotonic() - since:.0f} s"

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
        connection, self._connection = self._connection, None
        ids, self._callback_ids = self._callback_ids, []
        if connection is not None:
            await self._end(connection, ids)

    async def _end(self, connection: libvirt.virConnect, ids: list[int]) -> None:
        """Let the connection go; its callbacks hold it open until they are taken back."""

        def close() -> None:
            for iden in ids:
                with contextlib.suppress(libvirt.libvirtError):
                    connection.domainEventDeregisterAny(iden)
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()

        with contextlib.suppress(Overdue):
            await self._pool.call("close", CONNECT_DEADLINE_S, close)

    # libvirt's callbacks: they may come on any thread and must only pass on what they were told.

    def _on_close(self, _connection: object, reason: int, _opaque: object) -> None:
        self.last_error = f"libvirt closed the connection (reason {reason})"
        self._post(self._lost.set)

    def _on_lifecycle(
        self, _c: object, domain: libvirt.virDomain, event: int, detail: int, _o: object
    ) -> None:
        notice = translate.lifecycle_notice(identity(domain), event, detail)
        if notice is not None:
            self._post(self._notify, notice)

    def _on_iteration(
        self, _c: object, domain: libvirt.virDomain, iteration: int, _o: object
    ) -> None:
        event = ev.IterationBegan(iteration)
        self._post(self._notify, Notice(identity(domain), event, Direction.OUTGOING))

    def _on_completed(
        self, _c: object, domain: libvirt.virDomain, stats: dict[str, Any], _o: object
    ) -> None:
        if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return
        event = ev.Completed(translate.sample_of(stats, self._utc_now()))
        self._post(self._notify, Notice(identity(domain), event))

    def _post(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)
