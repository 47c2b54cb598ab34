"""What pmigd.service gives and takes from pmigd, for the lab to do the same.

Read from the unit itself, so that the two cannot drift apart: a directive that the lab neither
plays nor knows to be nobody's but systemd's is an error. `sandbox` carries it out.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.lab.namespaces import SOURCE_ROOT
from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = SOURCE_ROOT / "systemd" / "pmigd.service"

# When systemd starts and ends it.
_SUPERVISION = frozenset(
    {
        "Type",
        "NotifyAccess",
        "ExecStart",
        "ExecReload",
        "WatchdogSec",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "RuntimeDirectoryPreserve",
        "RemoveIPC",
    }
)
# By seccomp filters and a control group, which the lab has no copy of: tests/systemd has the
# real ones.
_FILTERS = frozenset(
    {
        "DevicePolicy",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelModules",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
        "SystemCallFilter",
    }
)
_TRUE, _FALSE = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
_HOMES = ("/home", "/root", "/run/user")


@dataclass(frozen=True)
class Sandbox:
    """What a process of the unit is given. Paths are the host's; `umask` and limits as numbers."""

    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    inaccessible: tuple[str, ...] = ()
    directories: tuple[tuple[str, int], ...] = ()
    small_dev: bool = False
    capabilities: tuple[str, ...] | None = None
    no_new_privileges: bool = False
    umask: int = 0o022
    descriptors: int | None = None
    oom_score_adjust: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """What to put before a command that is to run in it."""
        script = Path(__file__).with_name("sandbox.py")
        return [sys.executable, "-ISB", str(script), json.dumps(asdict(self))]


def shipped(drop_in: str = "") -> Sandbox:
    """pmigd.service as it is in the source, and with what an administrator may add to it.

    Raises LabError for what the lab cannot play.
    """
    sandbox = Sandbox()
    for name, values in _directives(f"{UNIT.read_text()}\n[Service]\n{drop_in}\n").items():
        if name in _SUPERVISION | _FILTERS:
            continue
        if name not in _PLAYED:
            raise LabError(f"the lab cannot play {name}= of {UNIT.name}: see contrib/lab/unit.py")
        sandbox = _PLAYED[name](sandbox, values)
    return sandbox


def _directives(text: str) -> dict[str, list[str]]:
    """All values of each directive of [Service]; as in systemd an empty one takes back the rest."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif line and line[0] not in "#;" and section == "[Service]":
            name, _, value = line.partition("=")
            kept = found.get(name, []) if value else []
            found[name] = [*kept, value.strip()]
    return found


def _words(values: list[str]) -> tuple[str, ...]:
    return tuple(word.lstrip("-+") for value in values for word in value.split())


def _on(values: list[str]) -> bool:
    if values[-1] not in _TRUE + _FALSE:
        raise LabError(f"the lab cannot play the value '{values[-1]}' in {UNIT.name}")
    return values[-1] in _TRUE


def _when_on(**more: tuple[str, ...]) -> Callable[[Sandbox, list[str]], Sandbox]:
    """A switch that adds paths."""
    return lambda sandbox, values: _add(sandbox, **more) if _on(values) else sandbox


def _add(sandbox: Sandbox, **more: tuple[str, ...]) -> Sandbox:
    return replace(
        sandbox, **{name: getattr(sandbox, name) + paths for name, paths in more.items()}
    )


def _paths(kind: str) -> Callable[[Sandbox, list[str]], Sandbox]:
    return lambda sandbox, values: _add(sandbox, **{kind: _words(values)})


def _protect_system(sandbox: Sandbox, values: list[str]) -> Sandbox:
    whole = {"strict": ("/",), "full": ("/usr", "/boot", "/etc"), "yes": ("/usr", "/boot")}
    return _add(sandbox, read_only=whole[values[-1]])


def _protect_home(sandbox: Sandbox, values: list[str]) -> Sandbox:
    kinds = {"read-only": "read_only", "yes": "inaccessible", "tmpfs": "empty"}
    return _add(sandbox, **{kinds[values[-1]]: _HOMES})


def _own_directory(top: str) -> Callable[[Sandbox, list[str]], Sandbox]:
    return lambda sandbox, values: _add(
        sandbox, writable=tuple(f"{top}/{name}" for name in _words(values))
    )


def _mode_below(top: str) -> Callable[[Sandbox, list[str]], Sandbox]:
    """The mode of the unit's own directories below `top`, which stand before it in the unit."""
    return lambda sandbox, values: replace(
        sandbox,
        directories=sandbox.directories
        + tuple((p, int(values[-1], 8)) for p in sandbox.writable if p.startswith(f"{top}/")),
    )


def _environment(sandbox: Sandbox, values: list[str]) -> Sandbox:
    given = dict(word.partition("=")[::2] for word in _words(values))
    return replace(sandbox, environment=sandbox.environment | given)


_PLAYED: dict[str, Callable[[Sandbox, list[str]], Sandbox]] = {
    "AmbientCapabilities": lambda sandbox, values: (
        sandbox if not _words(values) else _unplayable("AmbientCapabilities")
    ),
    "CapabilityBoundingSet": lambda sandbox, values: replace(sandbox, capabilities=_words(values)),
    "Environment": _environment,
    "InaccessiblePaths": _paths("inaccessible"),
    "LimitNOFILE": lambda sandbox, values: replace(sandbox, descriptors=int(values[-1])),
    "NoNewPrivileges": lambda sandbox, values: replace(sandbox, no_new_privileges=_on(values)),
    "OOMScoreAdjust": lambda sandbox, values: replace(sandbox, oom_score_adjust=int(values[-1])),
    "PrivateDevices": lambda sandbox, values: replace(sandbox, small_dev=_on(values)),
    "PrivateTmp": _when_on(empty=("/tmp", "/var/tmp")),
    "ProtectControlGroups": _when_on(read_only=("/sys/fs/cgroup",)),
    "ProtectHome": _protect_home,
    "ProtectKernelLogs": _when_on(inaccessible=("/dev/kmsg", "/proc/kmsg")),
    "ProtectKernelTunables": _when_on(read_only=("/proc/sys", "/sys")),
    "ProtectSystem": _protect_system,
    "ReadOnlyPaths": _paths("read_only"),
    "ReadWritePaths": _paths("writable"),
    "RuntimeDirectory": _own_directory("/run"),
    "RuntimeDirectoryMode": _mode_below("/run"),
    "StateDirectory": _own_directory("/var/lib"),
    "StateDirectoryMode": _mode_below("/var/lib"),
    "TemporaryFileSystem": _paths("empty"),
    "UMask": lambda sandbox, values: replace(sandbox, umask=int(values[-1], 8)),
}


def _unplayable(name: str) -> Sandbox:
    raise LabError(f"the lab cannot play {name}= of {UNIT.name}: see contrib/lab/unit.py")
