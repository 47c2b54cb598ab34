"""Threads for blocking calls (libvirt, user database). They decide nothing and repeat nothing.

A Python thread inside a C call cannot be cancelled, so:

* Threads are daemon threads: none of them holds the process.
* A place in a pool comes back when the thread has really ended, not when somebody stops waiting.
* Whoever waits for a look gives up at a deadline; whoever waits for a command waits for its end.
* What is cancelled, or overdue, before it was begun is not done any more: see :class:`Turn`.
* Calls may have a key, and a pool makes only so many of one key at once. A thing that does not
  answer takes that many threads and no more, and further questions about it are refused at once.

asyncio's default executor is never used: six blocked calls would stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, TypeVar

T = TypeVar("T")

IDLE_S: Final = 30.0
"""How long a thread waits for more to do."""

Observer = Callable[[str, float, bool], None]
"""Told of every call that was made, or not answered in time: its name, its seconds, and whether it
failed. Runs on the loop."""


class Overdue(Exception):  # noqa: N818 - reads as what happened
    """A call did not come back within `for_s` seconds. If it was begun it may still take effect."""

    def __init__(self, call: str, for_s: float) -> None:
        super().__init__(f"no answer to '{call}' within {for_s:g} s")
        self.for_s = for_s


class StillOut(Overdue):
    """A call was not made: as many as may be of its key are out, one for `for_s` seconds."""

    def __init__(self, call: str, for_s: float) -> None:
        super().__init__(call, for_s)
        self.args = (f"'{call}' waits for an earlier call that is out for {for_s:.0f} s",)


class Withdrawn(Exception):  # noqa: N818 - reads as what happened
    """A call was not made, because nobody wanted it any more when its turn came."""


class Turn:
    """Whether something is done is decided once, for good: it is begun, or withdrawn."""

    def __init__(self) -> None:
        self._decide = threading.Lock()
        self._begun: bool | None = None

    @property
    def begun(self) -> bool:
        """It was begun; it may have ended since."""
        return self._begun is True

    @property
    def withdrawn(self) -> bool:
        """It was not begun and never will be."""
        return self._begun is False

    def begin(self) -> bool:
        """To be asked right before it is done. False: it must not be done any more."""
        with self._decide:
            if self._begun is None:
                self._begun = True
                return True
            return False

    def withdraw(self) -> bool:
        """Prevent it. True is a proof: it was not begun and never will be."""
        with self._decide:
            if self._begun is None:
                self._begun = False
            return self._begun is False


@dataclass(eq=False, slots=True)
class _Call:
    """One call on its way through a pool."""

    name: str
    function: Callable[[], Any]
    key: Hashable | None
    turn: Turn
    due: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    """Settled on the loop when the thread has ended; cancelled if no thread will take it."""
    since: float = field(default_factory=monotonic)
    ended: bool = False
    """Its thread is done with it."""

    def settle(self, value: object, error: BaseException | None) -> None:
        """Tell whoever waits. Runs on the loop."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


class CallPool:
    """At most `size` named daemon threads that make blocking calls; they come and go with need.

    `each`: how many calls of one key are made at once; the next of that key wait in their order.
    """

    def __init__(
        self,
        name: str,
        size: int,
        *,
        each: int | None = None,
        observe: Observer | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self._each = each
        self._observe = observe
        self._changed = threading.Condition()
        # Below: only with `_changed` held.
        self._waiting: list[_Call] = []
        self._running: list[_Call] = []
        self._threads = 0
        self._idle = 0
        self._started = 0
        self._stopped = False

    @property
    def busy(self) -> int:
        """Threads inside a call now, overdue ones included."""
        return len(self._running)

    @property
    def overdue(self) -> int:
        """Threads inside calls that should have come back by now."""
        return self.overdue_by_key().total()

    def overdue_by_key(self) -> Counter[Hashable | None]:
        """The same, by what they are about."""
        now = monotonic()
        with self._changed:
            return Counter(call.key for call in self._running if call.due < now)

    @property
    def waiting(self) -> int:
        """Calls that lack nothing but a free thread."""
        with self._changed:
            return sum(1 for call in self._waiting if self._may_run(call))

    async def call(
        self,
        name: str,
        deadline_s: float,
        function: Callable[[], T],
        *,
        key: Hashable | None = None,
        turn: Turn | None = None,
    ) -> T:
        """Run `function` in a thread. Raises Overdue, or whatever `function` raises.

        With a `turn` the function itself has to begin it, right before what may still be prevented.
        """
        if (for_s := self._out_for(key, overdue_only=True)) is not None:
            raise StillOut(name, for_s)
        call = self._enter(name, function, key, turn, monotonic() + deadline_s)
        failed, overdue = True, False
        try:
            async with asyncio.timeout(deadline_s):
                value: T = await asyncio.shield(call.future)
            failed = False
        except TimeoutError:
            if not call.ended:
                overdue = True
                raise self._overdue(call, deadline_s) from None
            # The answer is here: it was the loop that came late, or the error is the call's own.
            value = await call.future
            failed = False
        finally:
            self._leave(call, failed=failed, overdue=overdue)
        return value

    async def run(
        self,
        name: str,
        function: Callable[[], T],
        *,
        key: Hashable | None = None,
        turn: Turn | None = None,
        expected_s: float,
    ) -> T:
        """Like :meth:`call`, but it is waited for as long as it takes, and never refused.

        After `expected_s` it counts as overdue; nothing else happens then.
        """
        call = self._enter(name, function, key, turn, monotonic() + expected_s)
        failed = True
        try:
            value: T = await asyncio.shield(call.future)
            failed = False
        finally:
            self._leave(call, failed=failed, overdue=False)
        return value

    async def quiet(self, key: Hashable) -> None:
        """Return when no call of this key waits or is out."""
        while True:
            with self._changed:
                futures = [c.future for c in (*self._waiting, *self._running) if c.key == key]
            if not futures:
                return
            await asyncio.wait(futures)

    def stop(self) -> None:
        """Let idle threads end. Those inside a call end with it, or with the process."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # On the loop

    def _enter(
        self,
        name: str,
        function: Callable[[], Any],
        key: Hashable | None,
        turn: Turn | None,
        due: float,
    ) -> _Call:
        loop = asyncio.get_running_loop()
        own = turn or Turn()
        made = function if turn is not None else _in_turn(own, function)
        call = _Call(name, made, key, own, due, loop, loop.create_future())
        call.future.add_done_callback(_heard)
        with self._changed:
            self._waiting.append(call)
            runnable = sum(1 for other in self._waiting if self._may_run(other))
            if runnable > self._idle and self._threads < self.size:
                self._start_thread()
            self._changed.notify()
        return call

    def _leave(self, call: _Call, *, failed: bool, overdue: bool) -> None:
        """Nobody waits for it any more: what was not begun is not done."""
        if not call.future.done():
            call.turn.withdraw()
            with self._changed:
                if call in self._waiting:
                    self._waiting.remove(call)
                    call.future.cancel()
        if self._observe is not None and (call.turn.begun or overdue):
            self._observe(call.name, monotonic() - call.since, failed)

    def _overdue(self, call: _Call, deadline_s: float) -> Overdue:
        if not call.turn.begun and (for_s := self._out_for(call.key)) is not None:
            return StillOut(call.name, for_s)
        return Overdue(call.name, deadline_s)

    def _out_for(self, key: Hashable | None, *, overdue_only: bool = False) -> float | None:
        """For how long calls have taken up all that a key may have; None if they do not."""
        if key is None or self._each is None:
            return None
        now = monotonic()
        with self._changed:
            out = [call for call in self._running if call.key == key]
        if overdue_only:
            out = [call for call in out if call.due < now]
        return None if len(out) < self._each else now - min(call.since for call in out)

    # In the threads, or with the lock held

    def _may_run(self, call: _Call) -> bool:
        """Whether it waits for nothing but a thread."""
        if call.key is None or self._each is None:
            return True
        return sum(other.key == call.key for other in self._running) < self._each

    def _start_thread(self) -> None:
        self._threads += 1
        self._started += 1
        name = f"pmigd-{self.name}-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            value, error = outcome_of(call.function)
            with self._changed:
                call.ended = True
                self._running.remove(call)
                self._changed.notify_all()  # others of its key may go on
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                call.loop.call_soon_threadsafe(call.settle, value, error)
            del call, value, error  # an idle thread holds nothing of the last call

    def _next(self) -> _Call | None:
        """The next call, once there is one; None if there was none for a while."""
        with self._changed:
            may_wait = True
            while True:
                for call in self._waiting:
                    if self._may_run(call):
                        self._waiting.remove(call)
                        self._running.append(call)
                        return call
                if self._stopped or not may_wait:
                    self._threads -= 1
                    return None
                self._idle += 1
                may_wait = self._changed.wait(IDLE_S)
                self._idle -= 1


def _in_turn(turn: Turn, function: Callable[[], T]) -> Callable[[], T]:
    def made() -> T:
        if not turn.begin():
            raise Withdrawn
        return function()

    return made


def _heard(future: asyncio.Future[Any]) -> None:
    """An error of a call that nobody waits for any more is not worth a word."""
    if not future.cancelled():
        future.exception()


def outcome_of(function: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What `function` gives, or raises, to be handed to another thread.

    An error takes its frames along, and they what they had in hand: freed by the loop, a libvirt
    domain that outlived its connection makes the loop wait for libvirt. So that is let go here.
    """
    try:
        return function(), None
    except BaseException as caught:  # noqa: BLE001 - whatever it is belongs to the one who waits
        chain: list[BaseException | None] = [caught]
        seen: set[int] = set()
        while chain:
            error = chain.pop()
            if error is not None and id(error) not in seen:
                seen.add(id(error))
                traceback.clear_frames(error.__traceback__)
                chain += [error.__cause__, error.__context__]
        return None, caught


def start_thread(name: str, function: Callable[[], object]) -> None:
    """Run one long thing in a daemon thread of its own; if the process ends, so does it."""
    threading.Thread(target=function, name=name, daemon=True).start()
