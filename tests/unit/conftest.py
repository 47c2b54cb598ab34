"""What makes these tests quick: none starts a process, but those that say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import pytest

STARTS: Final = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
_forbidden = False


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if _forbidden and event in STARTS:
        raise AssertionError(f"{event} {arguments[:1]}: mark the test `programs`")


sys.addaudithook(_look)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    global _forbidden
    _forbidden = item.get_closest_marker("programs") is None
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    global _forbidden
    try:
        return (yield)
    finally:
        _forbidden = False
