"""The machine that pmigd runs on, looked at in threads: see :class:`pmigd.core.ports.OwnHost`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from pmigd.adapters.pool import CallPool, Overdue
from pmigd.adapters.system import hostfacts
from pmigd.adapters.system.view import Reference
from pmigd.core.facts import Leads, LocalFacts, Question
from pmigd.core.uri import LocalUri

LIBVIRT_SOCKETS: Final = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
"""The first that is there: on a host of the modular daemons the second is only a relay's."""
LOOK_DEADLINE_S: Final = 2.0
RESOLVE_DEADLINE_S: Final = 2.0


class LocalHost:
    """Looks through `pool`, which the resolver may hold up.

    Who listens at the socket of `libvirt` sees the host's files as its guests do.
    """

    def __init__(self, pool: CallPool, utc_now: Callable[[], datetime], libvirt: LocalUri) -> None:
        self._pool = pool
        self._utc_now = utc_now
        self._reference = Reference([libvirt.socket] if libvirt.socket else LIBVIRT_SOCKETS)

    async def look(self, question: Question, *, arriving: bool = False) -> LocalFacts | None:
        """What only the host itself can see, as the one where the guest is or where it arrives."""
        try:
            return await self._pool.call(
                "look",
                LOOK_DEADLINE_S,
                lambda: hostfacts.look(
                    question, self._utc_now(), arriving=arriving, view=self._reference.view()
                ),
            )
        except (Overdue, OSError, ValueError):
            return None

    async def certificates_end(self) -> datetime | None:
        """When the first of QEMU's certificates ends; None where none can be read."""
        try:
            return await self._pool.call(
                "certificates", LOOK_DEADLINE_S, hostfacts.certificates_end
            )
        except (Overdue, OSError, ValueError):
            return None

    async def where_leads(self, host: str) -> Leads | None:
        """Where a host name leads to from here."""
        try:
            return await self._pool.call(
                "resolve", RESOLVE_DEADLINE_S, lambda: hostfacts.where_leads(host)
            )
        except Overdue:
            return None
