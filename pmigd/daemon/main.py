"""``pmigd``: its arguments, its configuration, exit codes.

Only what these need is imported here: a configuration that is refused, as the check before each
reload, takes a fraction of the time that the whole daemon takes to be read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pmigd import __version__
from pmigd.adapters.system.listenfds import ListenDescriptorsUnusable, passed_sockets
from pmigd.adapters.system.network import resolves
from pmigd.config.load import ConfigRefused, format_finding
from pmigd.config.schema import Config
from pmigd.daemon import signals
from pmigd.daemon.configuration import certificate_findings, check, load

EXIT_CONFIG: Final = 2
TURNED_AWAY_MAX: Final = 4096
RESOLVE_DEADLINE_S: Final = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon, or check its configuration."""
    wanted = _parser().parse_args(arguments)
    signals.ignore()  # until there is somebody to say so
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
    from pmigd.daemon.service import serve

    _raise_file_limit()
    # What was imported stays. The garbage collector stops the loop while it looks at all there is:
    # of 300 migrations' scrapes one in nine took twice as long.
    gc.freeze()
    code = asyncio.run(serve(path, config))
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
