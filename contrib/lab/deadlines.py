"""Waiting for something to become true, never without a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

AT_FIRST_S: Final = 0.02
AT_LAST_S: Final = 0.2
"""Between two questions: a tenth of what was waited already, within these. A question is work, of a
program that is started or of the daemon that is watched, and to ask all the time keeps it busy."""


def until(
    probe: Callable[[], T],
    what: str,
    *,
    timeout: float,
    interval: float | None = None,
    evidence: Callable[[], str] | None = None,
) -> T:
    """Ask `probe` until its answer is true, and return that answer.

    `timeout` and `interval` are seconds; without an interval it is asked ever less often.
    Raises LabError naming `what` and, as `evidence`, the end of the log that is likely to tell why.
    """
    started = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer
        waited = time.monotonic() - started
        if waited >= timeout:
            proof = f"\n{evidence()}" if evidence else ""
            raise LabError(f"{what}: not within {timeout:g} s{proof}")
        time.sleep(min(max(AT_FIRST_S, waited / 10), AT_LAST_S) if interval is None else interval)


def tail(text: str, lines: int = 40) -> str:
    """The last lines of a log."""
    return "\n".join(text.splitlines()[-lines:])
