"""Threads for blocking calls (libvirt, user database), with a deadline for everyone who waits.

A Python thread inside a C call cannot be cancelled. So the threads are daemon threads that
never hold the process, whoever waits gives up at the deadline, and a pool either stays at its size
(calls on the one control connection, of which libvirt serves only five at a time) or replaces
threads that are overdue (calls to peers that may never answer). asyncio's default executor is never
used: six blocked calls would stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeVar

T = TypeVar("T")

MAX_OVERDUE: Final = 32
"""Threads that a pool may have lost to calls that do not come back before it lends no more."""

Observer = Callable[[str, float, bool], None]
"""Told of every call: its name, its seconds, and whether it failed. Runs on the loop."""


class Overdue(Exception):  # noqa: N818 - reads as what happened
    """A call did not come back within its deadline. It may still take effect."""

    def __init__(self, call: str, deadline_s: float) -> None:
        super().__init__(f"no answer to '{call}' within {deadline_s:g} s")
        self.call = call


class CallPool:
    """A fixed number of named daemon threads that make blocking calls."""

    def __init__(
        self,
        name: str,
        size: int,
        *,
        observe: Observer | None = None,
        replace_overdue: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self.overdue = 0
        self._busy = 0
        self._observe = observe
        self._replace = replace_overdue
        self._work: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._started = 0
        for _ in range(size):
            self._start_thread()

    @property
    def busy(self) -> int:
        """Threads inside a call now, overdue ones included."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Calls that no thread has begun yet."""
        return self._work.qsize()

    async def call(self, name: str, deadline_s: float, function: Callable[[], T]) -> T:
        """Run `function` in a thread. Raises Overdue, or whatever `function` raises."""
        loop = asyncio.get_running_loop()
        call = _Call(function, loop, loop.create_future())
        began = monotonic()
        failed = True
        self._work.put(call)
        try:
            async with asyncio.timeout(deadline_s):
                value: T = await call.future
            failed = False
        except TimeoutError:
            # A call that no thread has begun is not made any more.
            if not call.abandon() and self._replace and self.overdue < MAX_OVERDUE:
                self._lose(call)
            raise Overdue(name, deadline_s) from None
        finally:
            if self._observe is not None:
                self._observe(name, monotonic() - began, failed)
        return value

    def post(self, function: Callable[[], object]) -> None:
        """Run `function` some time; nobody waits for it and its errors are dropped."""
        loop = asyncio.get_running_loop()
        call = _Call(function, loop, loop.create_future())
        call.future.add_done_callback(lambda future: future.exception())
        self._work.put(call)

    def stop(self) -> None:
        """Let idle threads end. Those inside a call end with it, or with the process."""
        for _ in range(self._started):
            self._work.put(None)

    def _lose(self, call: _Call) -> None:
        if call.give_up():
            self.overdue += 1
            self._start_thread()

    def _start_thread(self) -> None:
        self._started += 1
        name = f"pmigd-{self.name}-{self._started}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while (call := self._work.get()) is not None:
            self._busy += 1
            try:
                call.run()
            finally:
                self._busy -= 1
            if call.finish():
                self.overdue -= 1
                return


class _Call:
    """One call on its way through a pool."""

    def __init__(
        self,
        function: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.future = future
        self._lost = False
        self._finished = False
        self._end = threading.Lock()
        self._function = function
        self._loop = loop
        self._taken = threading.Lock()

    def abandon(self) -> bool:
        """Prevent the call. False if a thread has begun it."""
        return self._taken.acquire(blocking=False)

    def give_up(self) -> bool:
        """Its thread is lost to it. False if the call has just ended after all."""
        with self._end:
            self._lost = not self._finished
            return self._lost

    def finish(self) -> bool:
        """The thread is done with it. True if it was given up, and replaced, meanwhile."""
        with self._end:
            self._finished = True
            return self._lost

    def run(self) -> None:
        """Make the call, unless it was abandoned, and hand its result to the loop."""
        if not self._taken.acquire(blocking=False):
            return
        value: Any = None
        error: Exception | None = None
        try:
            value = self._function()
        except Exception as caught:  # noqa: BLE001 - whatever it is belongs to the one who waits
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, value, error)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


def run_in_thread(name: str, function: Callable[[], T]) -> asyncio.Future[T]:
    """Run one long call in a daemon thread of its own. There is no deadline: a migration has none.

    The future is settled on the running loop; if the process ends first, the thread ends with it.
    """
    loop = asyncio.get_running_loop()
    call = _Call(function, loop, loop.create_future())
    threading.Thread(target=call.run, name=name, daemon=True).start()
    return call.future
