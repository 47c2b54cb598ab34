"""The daemon as systemd's service: what it was given, its log, its start and its end.

The daemon itself is :mod:`pmigd.daemon.app`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import structlog

from pmigd.adapters.system import logs
from pmigd.adapters.system.journald import Journald, leads_to_journald
from pmigd.adapters.system.listenfds import ListenDescriptorsUnusable, passed_sockets
from pmigd.adapters.system.sdnotify import Notifier, watchdog_interval_s
from pmigd.adapters.system.unixsocket import SocketUnusable
from pmigd.adapters.tasks import awaited, hear
from pmigd.config.schema import Config
from pmigd.daemon import signals
from pmigd.daemon.app import App, Environment
from pmigd.daemon.configuration import load

EXIT_LISTEN: Final = 1

log = structlog.get_logger()


async def serve(path: Path | None, config: Config) -> int:
    """Run until told to stop. Returns the process's exit code."""
    loop = asyncio.get_running_loop()
    hear(loop)
    stop = asyncio.Event()
    try:
        environment = Environment(
            notifier=Notifier(os.environ),
            passed=passed_sockets(os.environ, os.getpid()),
            watchdog_s=watchdog_interval_s(os.environ, os.getpid()),
        )
    except ListenDescriptorsUnusable as error:
        print(f"pmigd: {error}", file=sys.stderr)
        return EXIT_LISTEN
    app = App(config, environment)
    logs.configure(
        config.daemon.log_level,
        stream=sys.stderr,
        is_tty=sys.stderr.isatty(),
        count=app.metrics.log_message,
        unsent=app.metrics.log_unsent,
        journald=Journald(app.metrics.log_unsent)
        if leads_to_journald(os.environ, sys.stderr.fileno())
        else None,
    )
    signals.take(stop.set, lambda: app.reload(lambda: load(path)), _strange)
    starting = awaited("start", app.start())
    stopping = awaited("stop", stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not starting.done():
            starting.cancel()  # whoever is asked to stop need not have started
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    except (SocketUnusable, OSError) as error:
        log.error("cannot start", detail=str(error))
        return EXIT_LISTEN
    await stopping
    await app.stop()
    signals.give_up()
    return 0


def _strange(name: str) -> None:
    log.warning("signal ignored", signal=name, remedy="SIGHUP reloads, SIGTERM ends pmigd")
