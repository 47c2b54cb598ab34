"""The support bundle: everything that somebody who helps would ask for, and no secrets.

Parts are taken at the same time, each with a deadline, and none keeps another from being told: one
that hangs or fails is named in ``failed``. Reads only. At the end every text goes through
:mod:`pmigd.core.redact`, whoever wrote it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import platform
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pmigd import __version__
from pmigd.adapters.pool import CallPool
from pmigd.adapters.system import logs
from pmigd.adapters.system.mounts import filesystem_of
from pmigd.adapters.x509 import expires
from pmigd.core.facts import HostFacts
from pmigd.core.model import Migration
from pmigd.core.redact import without_secrets
from pmigd.wire.host import Diagnosis
from pmigd.wire.migration import migration_view

if TYPE_CHECKING:
    from pmigd.daemon.answers import Answers
    from pmigd.daemon.controller import Controller

PART_DEADLINE_S: Final = 8.0
"""Peers are asked for five seconds."""
FILES_DEADLINE_S: Final = 4.0
UNIT_DEADLINE_S: Final = 3.0
OPEN_MOST: Final = 200
ENDED: Final = 20
_UNIT: Final = (
    "Id,ActiveState,SubState,Result,NRestarts,FragmentPath,DropInPaths,MemoryCurrent,"
    "ExecMainStartTimestamp,StatusText,WatchdogUSec,LimitNOFILESoft"
)
_LIBRARIES: Final = (
    "aiohttp",
    "bcrypt",
    "libvirt-python",
    "lxml",
    "msgspec",
    "opentelemetry-sdk",
    "prometheus-client",
    "pyyaml",
    "rich",
    "structlog",
)

Part = Callable[[], Any]
"""Gives plain data, now or when it is awaited."""


async def diagnose(of: Answers, at: datetime) -> Diagnosis:
    """Everything about one daemon. Raises nothing; takes as long as the slowest part may."""
    # Its own threads: the daemon's may be what hangs.
    pool = CallPool("diagnose", 3)
    try:
        return await gathered(parts(of, pool), at)
    finally:
        pool.stop()


async def gathered(
    wanted: Mapping[str, Part], at: datetime, deadline_s: float = PART_DEADLINE_S
) -> Diagnosis:
    """The bundle of these parts."""
    names = list(wanted)
    told = await asyncio.gather(*(_told(part, deadline_s) for part in wanted.values()))
    failed = {name: str(v) for name, v in zip(names, told, strict=True) if isinstance(v, Failed)}
    found = {name: v for name, v in zip(names, told, strict=True) if not isinstance(v, Failed)}
    plain = without_secrets(msgspec.to_builtins({**found, "failed": failed}, str_keys=True))
    return Diagnosis(at=at, **plain)


class Failed(Exception):  # noqa: N818 - reads as what happened to a part
    """Why a part is not there."""


async def _told(part: Part, deadline_s: float) -> Any:
    try:
        value = part()
        if inspect.isawaitable(value):
            async with asyncio.timeout(deadline_s):
                value = await value
    except TimeoutError:
        return Failed(f"no answer within {deadline_s:g} s")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one part, the others are told
        return Failed(f"{type(error).__name__}: {error}")
    return value


def parts(of: Answers, pool: CallPool) -> dict[str, Part]:
    """Every part of the bundle; the names are those of :class:`pmigd.wire.host.Diagnosis`."""

    def read(name: str, function: Callable[[], Any]) -> Part:
        def begin() -> Awaitable[Any]:
            return pool.call(name, FILES_DEADLINE_S, function)

        return begin

    config = of.config()
    state_dir = Path(config.daemon.state_dir)
    return {
        "versions": read("versions", lambda: versions(of.hypervisor.facts)),
        "status": of.status,
        "configuration": lambda: config,
        "limits": of.limits,
        "peers": of.peers,
        "migrations": lambda: migrations(of.migrations),
        "libvirt": of.domains_by_state,
        "journal": read("journal", lambda: files_of(state_dir)),
        "certificates": read("certificates", lambda: certificates(config.peer)),
        "loop": of.figures.loop,
        "pools": of.figures.pools,
        "log": logs.recent.lines,
        "system": read("system", system),
        "unit": lambda: pool.call("unit", UNIT_DEADLINE_S + 1, unit),
    }


def versions(facts: HostFacts) -> dict[str, str]:
    """Of everything that takes part. `facts` are libvirt's."""
    found = {
        "pmigd": __version__,
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "libvirt": facts.libvirt_version,
        facts.hypervisor.lower() or "hypervisor": facts.hypervisor_version,
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
    try:
        found["distribution"] = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        found["distribution"] = ""
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def migrations(known: Controller) -> dict[str, Any]:
    """The open ones in full with all that is wanted of libvirt for them, and how the last ended.

    Neither a view nor a command has the XML that was given.
    """
    open_ones = list(known.open())
    ended: list[Migration] = []
    for migration in known.all():
        if not migration.open:
            ended.append(migration)
        if len(ended) == ENDED:
            break
    return {
        "open_in_all": len(open_ones),
        "open": [migration_view(m, known.waiting_of(m.id)) for m in open_ones[:OPEN_MOST]],
        "commands": {m.id: m.commands for m in open_ones[:OPEN_MOST]},
        "ended": [migration_view(m, None) for m in ended],
    }


def files_of(state_dir: Path) -> dict[str, Any]:
    """The journal's files and the file system they are on. Raises OSError."""
    space = shutil.disk_usage(state_dir)
    inodes = os.statvfs(state_dir)
    return {
        "state_dir": str(state_dir),
        "files": {file.name: file.stat().st_size for file in sorted(state_dir.iterdir())},
        "filesystem": filesystem_of(state_dir),
        "read_only": bool(inodes.f_flag & os.ST_RDONLY),
        "size_bytes": space.total,
        "free_bytes": space.free,
        "free_inodes": inodes.f_favail,
    }


def certificates(peer: Any) -> list[dict[str, Any]]:
    """The files of [peer] and when their certificates end; keys are only said to be there."""
    found = []
    for key in ("ca", "cert", "key", "client_cert", "client_key"):
        file = Path(getattr(peer, key))
        entry: dict[str, Any] = {"key": f"peer.{key}", "file": str(file)}
        try:
            stat = file.stat()
            entry |= {"mode": f"{stat.st_mode & 0o7777:04o}", "changed_at": stat.st_mtime}
            if "key" not in key:
                entry["ends"] = expires(file).isoformat()
        except (OSError, ValueError) as error:
            entry["problem"] = getattr(error, "strerror", None) or str(error)
        found.append(entry)
    return found


def system() -> dict[str, Any]:
    """How busy the host is. Raises OSError."""
    memory = {
        name: int(value.split()[0]) * 1024
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        for name, _, value in [line.partition(":")]
        if name in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    }
    own = Path("/proc/self")
    status = dict(
        line.split(":", 1) for line in (own / "status").read_text().splitlines() if ":" in line
    )
    return {
        "uptime_s": float(Path("/proc/uptime").read_text(encoding="ascii").split()[0]),
        "load": list(os.getloadavg()),
        "cpus": os.cpu_count(),
        "memory_bytes": memory,
        "open_files": len(list((own / "fd").iterdir())),
        "resident": status.get("VmRSS", "").strip(),
        "threads": status.get("Threads", "").strip(),
        "capabilities": status.get("CapEff", "").strip(),
    }


def unit() -> dict[str, str]:
    """What systemd says of the unit that this process runs in; empty where it runs in none.

    Raises OSError, CalledProcessError, TimeoutExpired.
    """
    groups = Path("/proc/self/cgroup").read_text(errors="surrogateescape").split("/")
    name = next((part.strip() for part in groups if part.strip().endswith(".service")), "")
    if "INVOCATION_ID" not in os.environ or not name:
        return {}
    done = subprocess.run(
        ["systemctl", "show", f"--property={_UNIT}", "--", name],
        capture_output=True,
        text=True,
        check=True,
        timeout=UNIT_DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs if name}
