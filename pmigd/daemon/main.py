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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from pmigd import __version__
from pmigd.adapters.system import logs
from pmigd.adapters.system.journald import Journald, leads_to_journald
from pmigd.adapters.system.listenfds import ListenDescriptorsUnusable, passed_sockets
from pmigd.adapters.system.network import resolves
from pmigd.adapters.system.sdnotify import Notifier, watchdog_interval_s
from pmigd.adapters.system.unixsocket import SocketUnusable
from pmigd.adapters.tasks import awaited, hear
from pmigd.config.load import ConfigRefused, format_finding
from pmigd.config.schema import Config
from pmigd.daemon.app import App, Environment
from pmigd.daemon.configuration import certificate_findings, check, load

EXIT_CONFIG: Final = 2
EXIT_LISTEN: Final = 1
TURNED_AWAY_MAX: Final = 4096
RESOLVE_DEADLINE_S: Final = 5.0

_MEANINGLESS: Final = (
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon, or check its configuration."""
    wanted = _parser().parse_args(arguments)
    for number in (signal.SIGHUP, *_MEANINGLESS):
        signal.signal(number, signal.SIG_IGN)  # until there is somebody to say so
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
    if findings or config is None:
        return EXIT_CONFIG
    for note in _unresolved(config):
        print(note)
    print("The configuration is valid.")
    return 0


def _unresolved(config: Config) -> Iterator[str]:
    """What is right and may still not work now: names to listen on that lead nowhere yet."""
    peer = [config.peer.address] if config.peer.address is not None else []
    for key, addresses in (("peer.listen", peer), ("metrics.listen", config.metrics.addresses)):
        for address in addresses:
            if not resolves(address.host, RESOLVE_DEADLINE_S):
                yield (
                    f"Note: {key}: '{address.host}' cannot be resolved now; while that lasts pmigd"
                    f" does not listen there, and tries again."
                )


async def _serve(path: Path | None, config: Config) -> int:
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
    _take_signals(stop, lambda: app.reload(lambda: load(path)))
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
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, *_MEANINGLESS):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)  # the loop's end would give them back their effect
    return 0


def _take_signals(stop: asyncio.Event, reload: Callable[[], None]) -> None:
    """Stop, reload, or say once that a signal has no meaning here: most would end the process."""
    loop = asyncio.get_running_loop()
    said: set[int] = set()

    def meaningless(number: int) -> None:
        if number not in said:
            said.add(number)
            name = signal.strsignal(number) or str(number)
            log.warning("signal ignored", signal=name, remedy="SIGHUP reloads, SIGTERM ends pmigd")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in _MEANINGLESS:
        loop.add_signal_handler(number, meaningless, number)


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
