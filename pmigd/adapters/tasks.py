"""Tasks of the event loop. Each has a name, an owner and a guard, so that none ends unseen.

Nothing else makes tasks: one whose exception nobody takes tells it when it is collected as garbage,
if ever, and until then whatever waits for it waits. Here a mistake of ours is told at once, through
the loop's exception handler like all others (:func:`hear`), and the owner goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import structlog

T = TypeVar("T")

AGAIN_S: Final = 1.0
"""The pause before a kept task is begun again."""
NOTHING: Final[Mapping[str, object]] = {}

Work = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


class Tasks:
    """The tasks of one owner, which ends them."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self,
        name: str,
        work: Work,
        *,
        failed: Callable[[], None] | None = None,
        about: Mapping[str, object] = NOTHING,
    ) -> None:
        """Begin `work`. If a mistake of ours ends it, that is told with `about`, and then `failed`
        is called: for whoever waits for something of it."""
        _ = self.begun(name, work, failed=failed, about=about)

    def begun(
        self,
        name: str,
        work: Work,
        *,
        failed: Callable[[], None] | None = None,
        about: Mapping[str, object] = NOTHING,
    ) -> asyncio.Task[None]:
        """As :meth:`begin`; the task, for who has to know whether it has ended."""
        guarded = self._guarded(name, work, failed, about)
        task = asyncio.get_running_loop().create_task(guarded, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def keep(self, name: str, work: Work) -> None:
        """Have `work` done for as long as its owner lives, whatever happens in it."""

        async def again() -> None:
            while True:
                await self._guarded(name, work, None, NOTHING)
                await asyncio.sleep(AGAIN_S)

        self.begin(name, again)

    def cancel(self) -> None:
        """End all of them, and do not wait for that."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """End all of them, and return when they have ended."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(
        self, name: str, work: Work, failed: Callable[[], None] | None, about: Mapping[str, object]
    ) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - it is told, and its owner goes on
            asyncio.get_running_loop().call_exception_handler(
                {
                    "message": "a task failed",
                    "exception": error,
                    "about": {"owner": self.owner, "task": name, **about},
                }
            )
            if failed is not None:
                failed()


def awaited(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose maker takes its result, and with it what it raises."""
    return asyncio.get_running_loop().create_task(work, name=name)


def hear(loop: asyncio.AbstractEventLoop) -> None:
    """Have everything logged that nobody took: of tasks, of callbacks, of what is collected."""
    loop.set_exception_handler(_say)


def _say(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    about = context.get("about")
    if about is None:
        source = context.get("task") or context.get("future") or context.get("handle")
        name = source.get_name() if isinstance(source, asyncio.Task) else repr(source)[:200]
        about = {"task": name if source is not None else ""}
    log.error(context["message"], **about, exc_info=context.get("exception"))
