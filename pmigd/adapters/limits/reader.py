"""Read the limits of this host's libvirt daemons: from themselves and from their files. Blocks.

Which daemons there are is decided as libvirt's own client decides where to connect: with
virtqemud's socket there the host is modular, and libvirt-sock (with libvirt-admin-sock) belongs to
virtproxyd, which passes on what comes by TCP and TLS. Without it all of it is libvirtd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeGuard

from pmigd.adapters.limits import virtadmin
from pmigd.core.limits import DEFAULTS, Reading, Source
from pmigd.core.model import Now

ReadConf = Callable[[Path], Mapping[str, object]]
"""Reads one of libvirt's configuration files; a missing one has no settings.

Blocks; raises OSError or ValueError for one that cannot be read.
"""

QEMU_CONF: Final = "qemu.conf"


class LimitSource(StrEnum):
    """Which sources are used; libvirt's defaults stand in for what they do not tell."""

    AUTO = "auto"
    VIRT_ADMIN = "virt-admin"
    CONF = "conf"
    DEFAULT = "default"

    @property
    def asks_daemons(self) -> bool:
        """Whether the running daemons are asked."""
        return self in (LimitSource.AUTO, LimitSource.VIRT_ADMIN)

    @property
    def reads_files(self) -> bool:
        """Whether the configuration files are read."""
        return self in (LimitSource.AUTO, LimitSource.CONF)


@dataclass(frozen=True, slots=True)
class DaemonReading:
    """What was read of a daemon, or (without `live`) of qemu.conf. `problem` is why not all."""

    live: Reading | None = None
    conf: Reading | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What was read of this host. The first of `daemons`, by name, runs the guests."""

    daemons: Mapping[str, DaemonReading]
    qemu_conf: DaemonReading


class Reader:
    """Reads when it is told to. For one thread at a time."""

    def __init__(
        self, read_conf: ReadConf, now: Callable[[], Now], *, socket_dir: Path, conf_dir: Path
    ) -> None:
        self._read_conf = read_conf
        self._now = now
        self._socket_dir = socket_dir
        self._conf_dir = conf_dir
        self._files: dict[Path, tuple[object, DaemonReading]] = {}

    def read(self, source: LimitSource, daemon_conf: Path | None) -> Host:
        """Everything `source` allows. Raises nothing; blocks 2 s for a daemon that is silent.

        `daemon_conf` is the file of the daemon that runs the guests; None is the standard one.
        """
        daemons = {}
        for name, admin_socket in self._daemons():
            path = daemon_conf or self._conf_dir / f"{name}.conf"
            file = self._file(path) if source.reads_files else DaemonReading()
            asked = self._ask(name, admin_socket) if source.asks_daemons else DaemonReading()
            problems = filter(None, (asked.problem, file.problem))
            daemons[name] = DaemonReading(asked.live, file.conf, "; ".join(problems))
            daemon_conf = None
        qemu_conf = (
            self._file(self._conf_dir / QEMU_CONF) if source.reads_files else DaemonReading()
        )
        return Host(daemons, qemu_conf)

    def _daemons(self) -> list[tuple[str, Path]]:
        common = self._socket_dir / "libvirt-admin-sock"
        if not (self._socket_dir / "virtqemud-sock").exists():
            return [("libvirtd", common)]
        found = [("virtqemud", self._socket_dir / "virtqemud-admin-sock")]
        if (self._socket_dir / "libvirt-sock").exists():
            found.append(("virtproxyd", common))
        return found

    def _ask(self, daemon: str, admin_socket: Path) -> DaemonReading:
        try:
            figures = virtadmin.ask(daemon, admin_socket)
        except virtadmin.NoAnswerError as error:
            return DaemonReading(problem=str(error))
        return DaemonReading(live=Reading(Source.VIRT_ADMIN, self._now(), figures))

    def _file(self, path: Path) -> DaemonReading:
        """What a file says now. Parsed again only when it has changed: it takes 20 ms."""
        try:
            status = path.stat()
        except OSError:
            version: object = None  # missing, or the reader will say why not
        else:
            version = (status.st_ctime_ns, status.st_ino)  # changes with the mode, too
        known, answer = self._files.get(path, (None, DaemonReading()))
        if version is None or version != known:
            answer = self._parse(path)
            self._files[path] = (version, answer)
        if answer.conf is None:
            return answer
        return replace(answer, conf=replace(answer.conf, read_at=self._now()))

    def _parse(self, path: Path) -> DaemonReading:
        try:
            settings = self._read_conf(path)
        except OSError as error:
            return DaemonReading(problem=f"{path}: {error.strerror}")
        except ValueError as error:
            return DaemonReading(problem=f"{path}: {error}")
        given = {name: settings[name] for name in DEFAULTS if name in settings}
        figures = {name: value for name, value in given.items() if _is_count(value)}
        wrong = ", ".join(sorted(given.keys() - figures.keys()))
        problem = f"{path}: not a number: {wrong}" if wrong else ""
        return DaemonReading(conf=Reading(Source.CONF, self._now(), figures), problem=problem)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value >= 0
