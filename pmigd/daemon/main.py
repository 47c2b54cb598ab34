"""``pmigd``: arguments, signals, exit codes; everything else is in :mod:`pmigd.daemon.app`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from pmigd import __version__
from pmigd.adapters.system import logs
from pmigd.adapters.system.journald import Journald, leads_to_journald
from pmigd.adapters.system.listenfds import ListenDescriptorsUnusable, passed_sockets
from pmigd.adapters.system.sdnotify import Notifier, watchdog_interval_s
from pmigd.adapters.system.unixsocket import SocketUnusable
from pmigd.config.load import ConfigRefused, format_finding
from pmigd.config.schema import Config
from pmigd.daemon.app import App, Environment
from pmigd.daemon.configuration import certificate_findings, check, load

EXIT_CONFIG: Final = 2
EXIT_LISTEN: Final = 1
STOP_DEADLINE_S: Final = 4.0
TURNED_AWAY_MAX: Final = 4096

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon, or check its configuration."""
    wanted = _parser().parse_args(arguments)
    path: Path | None = wanted.config
    if wanted.check:
        return _check(path)
    try:
        config = load(path)
    except ConfigRefused as refused:
        for finding in refused.findings:
            print(format_finding(finding), file=sys.stderr)
        _turn_away_the_waiting()
        return EXIT_CONFIG
    _raise_file_limit()
    # What was imported stays. The garbage collector stops the loop while it looks at all there is:
    # of 300 migrations' scrapes one in nine took twice as long.
    gc.freeze()
    code = asyncio.run(_serve(path, config))
    # Threads may be blocked inside libvirt for as long as a migration lasts. Everything that must
    # survive is on disk; they must not hold the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmigd",
        description="Live-migration controller of this host's libvirt. "
        "It is started by systemd; 'pmigctl' talks to it.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="configuration (default: /etc/pmigd/pmigd.toml; all defaults if that is missing)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="say everything that is wrong with the configuration and the certificates that it"
        " names, and exit 0 or 2",
    )
    parser.add_argument("--version", action="version", version=f"pmigd {__version__}")
    return parser


def _check(path: Path | None) -> int:
    config, findings = check(path)
    if config is not None:
        findings = certificate_findings(config, path)
    for finding in findings:
        print(format_finding(finding))
    if findings:
        return EXIT_CONFIG
    print("The configuration is valid.")
    return 0


async def _serve(path: Path | None, config: Config) -> int:
    loop = asyncio.get_running_loop()
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
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, app.reload, lambda: load(path))
    try:
        await app.start()
    except (SocketUnusable, OSError) as error:
        log.error("cannot start", detail=str(error))
        return EXIT_LISTEN
    await stop.wait()
    try:
        async with asyncio.timeout(STOP_DEADLINE_S):
            await app.stop()
    except TimeoutError:
        log.error("stopped without waiting any longer", after_s=STOP_DEADLINE_S)
    return 0


def _turn_away_the_waiting() -> None:
    """Close what waits on systemd's sockets: left there, it would start this again at once."""
    with contextlib.suppress(ListenDescriptorsUnusable):
        for passed in passed_sockets(os.environ, os.getpid()):
            with contextlib.suppress(OSError):
                for _ in range(TURNED_AWAY_MAX):
                    passed.socket.accept()[0].close()


def _raise_file_limit() -> None:
    """As many descriptors as the system allows: silent clients must not shut out the others."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
