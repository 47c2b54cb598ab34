"""How calls to this host's libvirt are made: looks and commands, neither taking from the other.

* Looks read. They have deadlines, and one guest has one at a time.
* Commands act. They have no deadline: a late result is a result. One guest has one at a time, and
  what allows it is looked at on the thread that makes it, right before it.

A call about a guest whose QEMU hangs may not come back for as long as it hangs. Since there is one
look and one command at most for each guest, such guests take threads and connections for
themselves and nothing from others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeVar

import libvirt

from pmigd.adapters.libvirt import commands
from pmigd.adapters.libvirt.connection import MainConnection
from pmigd.adapters.libvirt.connections import Connections
from pmigd.adapters.libvirt.failures import problem_of
from pmigd.adapters.pool import CallPool, Observer, Overdue, StillOut, Turn, Withdrawn
from pmigd.adapters.tasks import Tasks
from pmigd.core.model import Domain
from pmigd.core.ports import NotMade, Permit
from pmigd.core.problem import Code, Problem, Refused, refuse

T = TypeVar("T")

LOOK_THREADS: Final = 32
COMMAND_THREADS: Final = 32
LOOK_DEADLINE_S: Final = 10.0
COMMAND_EXPECTED_S: Final = 10.0


class LookCalls:
    """Reads through connections to `uri` while `main` is up."""

    def __init__(self, uri: str, main: MainConnection, observe: Observer | None) -> None:
        self._main = main
        self.pool = CallPool("look", LOOK_THREADS, each=1, observe=observe)
        self.lines = Connections(lambda: libvirt.open(uri), close_quietly)

    async def ask(
        self,
        name: str,
        question: Callable[[libvirt.virConnect], T],
        *,
        about: Domain | None = None,
        deadline_s: float | None = None,
    ) -> T:
        """The answer to `question`, which is about a guest or about none. Raises Refused."""
        if not self._main.answers:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, self._main.last_error)
        turn = Turn()
        deadline_s = deadline_s or LOOK_DEADLINE_S

        def ask() -> T:
            with self.lines.lend(lambda: not turn.withdrawn) as connection:
                if not turn.begin():
                    raise Withdrawn
                return question(connection)

        key = about if about is not None and about.uuid else None
        try:
            return await self.pool.call(name, deadline_s, ask, key=key, turn=turn)
        except StillOut as error:
            guest = about.name if about is not None else ""
            words = f"libvirt has not answered an earlier question about '{guest}'"
            raise refuse(Code.LIBVIRT_UNAVAILABLE, f"{words} for {error.for_s:.0f} s") from None
        except Overdue as error:
            raise refuse(Code.LIBVIRT_UNAVAILABLE, str(error)) from None
        except libvirt.libvirtError as error:
            problem = problem_of(error)
            if problem.code is Code.CONNECTION_BROKE:
                problem = Problem(Code.LIBVIRT_UNAVAILABLE, problem.detail)
            raise Refused(problem) from error


class CommandCalls:
    """Acts through connections to `uri` while `main` is up."""

    def __init__(self, uri: str, main: MainConnection, observe: Observer | None) -> None:
        self._main = main
        self._tasks = Tasks("commands")
        self._opening: asyncio.Task[None] | None = None
        self.pool = CallPool("command", COMMAND_THREADS, each=1, observe=observe)
        self.lines = Connections(lambda: libvirt.open(uri), close_quietly)

    def be_ready(self) -> None:
        """Have a connection ready: an abort must not be the first that finds libvirtd full."""
        if self._opening is None or self._opening.done():
            self._opening = self._tasks.begun("open", self._open)

    async def make(
        self, name: str, domain: Domain, permit: Permit, act: commands.Act, may: commands.May
    ) -> bool:
        """Do `act` if `may` allows it then and `permit` still holds; whether it was done.

        Raises NotMade, and Refused with libvirt's refusal.
        """
        if not self._main.up:
            raise NotMade(Problem(Code.LIBVIRT_UNAVAILABLE, self._main.last_error))
        turn = Turn()

        def wanted() -> bool:
            return permit.wanted and not turn.withdrawn

        def begin() -> bool:
            return permit.wanted and turn.begin()

        def call() -> bool:
            try:
                with self.lines.lend(wanted) as connection:
                    return commands.carry_out(
                        connection, domain, may=may, wanted=wanted, begin=begin, act=act
                    )
            except Withdrawn:
                raise commands.not_wanted() from None
            except libvirt.libvirtError as error:  # of opening; all others have been told apart
                raise commands.unreachable(error) from error

        return await self.pool.run(name, call, key=domain, turn=turn, expected_s=COMMAND_EXPECTED_S)

    async def _open(self) -> None:
        def borrow() -> None:
            with self.lines.lend(lambda: True):
                pass

        # The next command tries it anew, and says so.
        with contextlib.suppress(libvirt.libvirtError):
            await self.pool.run("open", borrow, expected_s=COMMAND_EXPECTED_S)


def close_quietly(connection: libvirt.virConnect) -> None:
    """Close it; one that is lost cannot be closed any better."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()
