"""Ctrl-C while something is followed: the first is an item in line, the second leaves at once.

SIGTERM leaves at once, too, but in good order: whoever holds the terminal gives it back.
"""

from __future__ import annotations

import signal
import sys

from pmigd.cli import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Self


class Interrupts:
    """From entering to leaving, the first SIGINT is told and every later one raises.

    A SIGINT that the parent had switched off (nohup, a shell's background job) stays off.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._notify: Callable[[], None] | None = None
        self._installed = False
        self._terminable = False

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            self._terminable = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._terminable:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def tell(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` for the first SIGINT, now if it came already.

        ``notify`` runs in a signal handler and may only do what is safe there.
        """
        self._notify = notify
        if self._pressed:
            notify()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
        if self._notify is not None:
            self._notify()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    sys.exit(exits.TERMINATED)
