"""An event loop on virtual time: when nothing is ready, time jumps to the next timer.

Nothing here waits. What is ready runs in the order in which it became ready, as asyncio promises
it; so the same inputs give the same run, to the last step.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

T = TypeVar("T")

SPINS_MAX: Final = 20_000
"""Turns of the loop in which no time passes, after which nothing but a circle can go on."""


class Stuck(Exception):  # noqa: N818 - reads as what happened
    """Nothing will ever happen any more, or everything happens at one instant."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop whose time passes only when there is nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._spins = 0
        self._selector = self  # asks only for select(); there is no input or output
        self.set_task_factory(_task_of_a_life)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def select(self, timeout_s: float | None) -> list[object]:
        """What asyncio calls to wait: wait no longer than that for no input at all."""
        if timeout_s is None:
            raise Stuck("nothing will ever happen any more")
        if timeout_s > 0:
            self._now_s += timeout_s
            self._spins = 0
        else:
            self._spins += 1
            if self._spins > SPINS_MAX:
                raise Stuck(f"{SPINS_MAX} turns of the loop, and no time has passed")
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There is no input."""

    def _write_to_self(self) -> None:
        """Nobody else's thread ever wakes this loop."""


class Life:
    """Tasks that end all at once: those of one process. They begin further ones of the same life.

    What the tasks still do when they are cancelled reaches nobody: whoever carries something out
    for them asks :attr:`alive` first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._context.run(_life.set, self)

    def spawn(self, work: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        """Begin a task of this life."""
        loop = asyncio.get_running_loop()
        return self._context.copy().run(loop.create_task, work, name=name or None)

    def begin(self, work: Coroutine[Any, Any, object], name: str = "") -> None:
        """Begin a task that nobody waits for."""
        _ = self.spawn(work, name)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Have the loop call `function` in this life, if it still lasts then."""
        asyncio.get_running_loop().call_soon(
            self._if_alive, function, *args, context=self._context.copy()
        )

    def end(self) -> None:
        """End it, as a SIGKILL does."""
        self.alive = False
        for task in self.tasks:
            task.cancel()

    def check(self) -> None:
        """Let nobody of an ended life get on."""
        if not self.alive:
            raise asyncio.CancelledError

    def _if_alive(self, function: Callable[..., object], *args: object) -> None:
        if self.alive:
            function(*args)


_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


def _task_of_a_life(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> asyncio.Task[T]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    life = _life.get()
    if life is not None:
        if not life.alive:
            task.cancel()
        life.tasks.add(task)
        task.add_done_callback(life.tasks.discard)
    return task


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end on a loop of its own; what it left running ends with it."""
    loop = VirtualLoop()
    loop.set_exception_handler(_complain)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


complaints: list[str] = []
"""What asyncio had to say: exceptions that nobody took. A run that has some has failed."""


def _complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    complaints.append(f"{context.get('message')}: {context.get('exception')!r}")
