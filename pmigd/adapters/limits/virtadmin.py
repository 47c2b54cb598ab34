"""Ask a libvirt daemon for its limits and their use: one short run of virt-admin.

The daemon's admin server takes only five clients, so there must never be two of these at a time.
The binding for Python has no admin interface.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

DEADLINE_S: Final = 2.0

FIGURES: Final[Mapping[str, str]] = {
    "minWorkers": "min_workers",
    "maxWorkers": "max_workers",
    "prioWorkers": "prio_workers",
    "nWorkers": "workers",
    "freeWorkers": "free_workers",
    "jobQueueDepth": "queued_calls",
    "nclients_max": "max_clients",
    "nclients": "clients",
    "nclients_unauth_max": "max_anonymous_clients",
    "nclients_unauth": "anonymous_clients",
}
"""virt-admin's names, and those of :mod:`pmigd.core.limits`."""

_LINE = re.compile(r"(\w+)\s*: (\d+)")


class NoAnswerError(Exception):
    """There are no live figures; says why."""


def ask(daemon: str, admin_socket: Path) -> dict[str, int]:
    """All of :data:`FIGURES`, by the core's names. Raises NoAnswerError.

    Blocks for at most :data:`DEADLINE_S`.
    """
    uri = f"{daemon}:///system?socket={quote(str(admin_socket))}"
    commands = f"server-threadpool-info {daemon}; server-clients-info {daemon}"
    try:
        done = subprocess.run(
            ["virt-admin", "--quiet", "--connect", uri, commands],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"virt-admin: no answer from {daemon} in {DEADLINE_S:g} s") from None
    except FileNotFoundError:
        raise NoAnswerError("virt-admin is not installed (Debian: libvirt-clients)") from None
    except OSError as error:
        raise NoAnswerError(f"virt-admin cannot be run: {error.strerror}") from error
    return parse(done.stdout, done.stderr)


def parse(output: str, complaints: str) -> dict[str, int]:
    """The figures in what virt-admin printed. Raises NoAnswerError unless they are all there.

    The exit code tells nothing: of several commands virt-admin returns that of the last.
    """
    told = {FIGURES[name]: int(value) for name, value in _lines(output) if name in FIGURES}
    if missing := sorted(set(FIGURES.values()) - told.keys()):
        lines = [line.removeprefix("error: ") for line in complaints.splitlines() if line]
        raise NoAnswerError("virt-admin: " + ("; ".join(lines) or f"no {', '.join(missing)}"))
    return told


def _lines(output: str) -> list[tuple[str, str]]:
    matches = (_LINE.fullmatch(line.strip()) for line in output.splitlines())
    return [(match[1], match[2]) for match in matches if match]
