"""Waiting for something to become true, never without a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(
    probe: Callable[[], T],
    what: str,
    *,
    timeout: float,
    interval: float = 0.02,
    evidence: Callable[[], str] | None = None,
) -> T:
    """Ask `probe` until its answer is true, and return that answer.

    `timeout` and `interval` are seconds. Raises LabError naming `what` and, as
    `evidence`, the end of the log that is likely to tell why.
    """
    started = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() - started >= timeout:
            proof = f"\n{evidence()}" if evidence else ""
            raise LabError(f"{what}: not within {timeout:g} s{proof}")
        time.sleep(interval)


def tail(text: str, lines: int = 40) -> str:
    """The last lines of a log."""
    return "\n".join(text.splitlines()[-lines:])
