"""What each signal means to the daemon: stop, reload, or nothing where most would end a process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

MEANINGLESS: Final = (
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)


def ignore() -> None:
    """None but those that stop a process has an effect from now on."""
    for number in (signal.SIGHUP, *MEANINGLESS):
        signal.signal(number, signal.SIG_IGN)


def take(
    stop: Callable[[], None], reload: Callable[[], None], strange: Callable[[str], None]
) -> None:
    """Stop, reload, or say once, by its name, that a signal has no meaning here."""
    loop = asyncio.get_running_loop()
    said: set[int] = set()

    def meaningless(number: int) -> None:
        if number not in said:
            said.add(number)
            strange(signal.strsignal(number) or str(number))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in MEANINGLESS:
        loop.add_signal_handler(number, meaningless, number)


def give_up() -> None:
    """None has an effect any more; the loop's own end would give all of them back theirs."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, *MEANINGLESS):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
