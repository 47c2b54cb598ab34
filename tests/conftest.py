"""For all tests."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# A shell that starts the tests in the background has them ignore Ctrl-C, and whoever ignores a
# signal hands that down to its children: the tests of Ctrl-C would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Shares(LoadScopeScheduling):
    """What stays together when several processes share the tests out; the largest shares go first.

    The tests of a folder stay together, as they share its lab. Only those of tests/lab, most of the
    work, go one by one to whoever is free: each process has a lab for them, and all end together.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return nodeid if folder == "lab" else folder


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    return Shares(config, log)
