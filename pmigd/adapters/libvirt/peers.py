"""Other hosts' libvirt daemons, as far as they are asked. Reads, and sets one flag: autostart.

Each question has a connection of its own and a deadline. A peer that swallows questions takes as
many threads as `QUESTIONS_EACH` and no more, whatever it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, TypeVar

import libvirt

from pmigd.adapters.libvirt.failures import peer_problem_of
from pmigd.adapters.libvirt.ssh import HostPort, first_hop, is_ssh, own_uri
from pmigd.adapters.pool import CallPool, Observer, Overdue, StillOut
from pmigd.core.model import Target
from pmigd.core.problem import Code, Refused, refuse

T = TypeVar("T")

THREADS: Final = 32
QUESTIONS_EACH: Final = 3
REACH_DEADLINE_S: Final = 2.0
DEADLINE_S: Final = 6.0


class PeerDaemons:
    """Asks the libvirt daemons of other hosts."""

    def __init__(self, observe: Observer | None) -> None:
        self.pool = CallPool("peer", THREADS, each=QUESTIONS_EACH, observe=observe)

    async def ask(
        self, name: str, target: Target, question: Callable[[libvirt.virConnect], T]
    ) -> T:
        """The answer. Refused: destination_unreachable, destination_auth."""
        await self._reach(target)

        def ask() -> T:
            connection = libvirt.open(own_uri(target.uri))
            try:
                return question(connection)
            finally:
                with contextlib.suppress(libvirt.libvirtError):
                    connection.close()

        try:
            return await self.pool.call(name, DEADLINE_S, ask, key=target.uri)
        except StillOut as error:
            words = f"{target.uri} has not answered earlier questions for {error.for_s:.0f} s"
            raise refuse(Code.DESTINATION_UNREACHABLE, words) from None
        except Overdue as error:
            raise refuse(Code.DESTINATION_UNREACHABLE, f"{target.uri}: {error}") from None
        except libvirt.libvirtError as error:
            raise Refused(peer_problem_of(error)) from error

    async def _reach(self, target: Target) -> None:
        """Prove within two seconds that something listens there.

        libvirt's own connect would hold a thread for the kernel's two minutes.
        """
        hop = await self._first_hop(target.uri)
        if hop is None:
            return
        host, port = hop
        reason = f"no answer within {REACH_DEADLINE_S:g} s"
        try:
            async with asyncio.timeout(REACH_DEADLINE_S):
                found = await self.pool.call(
                    "resolve",
                    REACH_DEADLINE_S,
                    lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
                    key=("resolve", host),
                )
                for _family, _type, _proto, _name, address in found:
                    try:
                        _reader, writer = await asyncio.open_connection(str(address[0]), port)
                    except OSError as error:
                        reason = error.strerror or str(error)
                    else:
                        writer.close()
                        return
        except socket.gaierror as error:
            reason = error.strerror or str(error)
        except (TimeoutError, Overdue):
            pass
        raise refuse(Code.DESTINATION_UNREACHABLE, f"{target.name} ({host} port {port}): {reason}")

    async def _first_hop(self, uri: str) -> HostPort | None:
        if not is_ssh(uri):
            return first_hop(uri)
        try:
            return await self.pool.call(
                "way", REACH_DEADLINE_S, lambda: first_hop(uri), key=("way", uri)
            )
        except Overdue:
            return None  # what follows has a deadline of its own
