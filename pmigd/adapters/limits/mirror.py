"""The mirror: this host's limits as last read, read again every few seconds.

One thread reads, so that no two runs of virt-admin overlap and the event loop never waits. A
daemon that stops answering changes no figure at once: what it said last is kept for a minute, then
its configuration file counts, then libvirt's defaults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pmigd.adapters.limits.reader import DaemonReading, Host, LimitSource, ReadConf, Reader
from pmigd.adapters.limits.virtadmin import DEADLINE_S
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.core.limits import HostLimits, Reading, daemon_limits, host_limits
from pmigd.core.model import Now

REFRESH_S: Final = 5.0
READ_DEADLINE_S: Final = 3 * DEADLINE_S
"""Two daemons that do not answer, and time for the files."""


class Limits:
    """This host's limits: libvirt's defaults until :meth:`refresh`, by itself or from :meth:`run`.

    `socket_dir` holds libvirt's sockets, `conf_dir` its configuration files. `on_read` runs on the
    loop after every reading, and only then.
    """

    def __init__(
        self,
        *,
        read_conf: ReadConf,
        now: Callable[[], Now],
        on_read: Callable[[HostLimits], None] = lambda _: None,
        source: LimitSource = LimitSource.AUTO,
        daemon_conf: Path | None = None,
        socket_dir: Path = Path("/run/libvirt"),
        conf_dir: Path = Path("/etc/libvirt"),
    ) -> None:
        self.pool = CallPool("limits", 1)
        self._reader = Reader(read_conf, now, socket_dir=socket_dir, conf_dir=conf_dir)
        self._now = now
        self._on_read = on_read
        self._source = source
        self._daemon_conf = daemon_conf
        self._one_at_a_time = asyncio.Lock()
        self._host = Host({"libvirtd": DaemonReading()}, DaemonReading())
        self._live: dict[str, Reading] = {}
        self._current = self._compose()

    @property
    def current(self) -> HostLimits:
        """The limits as last read. Every figure tells its source and when it was read."""
        return self._current

    def configure(self, source: LimitSource, daemon_conf: Path | None) -> None:
        """Take up a changed configuration; the next refresh goes by it.

        `daemon_conf` is the file of the daemon that runs the guests; None is the standard one.
        """
        self._source = source
        self._daemon_conf = daemon_conf

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> HostLimits:
        """Read now. Raises nothing: what cannot be read is in `problems` of the result."""
        async with self._one_at_a_time:
            source, daemon_conf, problem = self._source, self._daemon_conf, ""
            try:
                self._host = await self.pool.call(
                    "limits", READ_DEADLINE_S, lambda: self._reader.read(source, daemon_conf)
                )
            except Overdue as overdue:
                problem = str(overdue)
            else:
                self._live |= {n: a.live for n, a in self._host.daemons.items() if a.live}
            self._current = self._compose(problem)
        self._on_read(self._current)
        return self._current

    def stop(self) -> None:
        """Let the thread end. One inside a read ends with it, or with the process."""
        self.pool.stop()

    def _compose(self, problem: str = "") -> HostLimits:
        now, qemu_conf = self._now(), self._host.qemu_conf
        live = self._live if self._source.asks_daemons else {}
        daemons = [
            daemon_limits(
                name, live=live.get(name), conf=answer.conf, now=now, problem=answer.problem
            )
            for name, answer in self._host.daemons.items()
        ]
        return host_limits(daemons, qemu_conf.conf, problem or qemu_conf.problem)
