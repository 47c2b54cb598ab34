"""For all tests: how several processes share them out, and how long each part took."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import examples

# A shell that starts the tests in the background has them ignore Ctrl-C, and whoever ignores a
# signal hands that down to its children: the tests of Ctrl-C would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

examples.register()

TOGETHER: Final = ("matrix", "leases", "systemd", "api", "web", "observability", "lab_selftest")
"""Folders whose tests share something that takes long to set up; what takes longest goes first."""
APART: Final = ("lab", "journal")
"""Folders whose tests go one by one to whoever is free, at last, so that all end together.

Each process has a lab for those of tests/lab.
"""


def folder(nodeid: str) -> str:
    """The folder of a test below tests/."""
    return nodeid.split("/")[1]


class Shares(LoadScopeScheduling):
    """What goes to one process as a whole: a folder, a file, or a test."""

    def _split_scope(self, nodeid: str) -> str:
        if folder(nodeid) in TOGETHER:
            return folder(nodeid)
        return nodeid if folder(nodeid) in APART else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    config.option.loadscopereorder = False  # in the order in which they were collected
    return Shares(config, log)


def _turn(nodeid: str) -> int:
    if folder(nodeid) in TOGETHER:
        return TOGETHER.index(folder(nodeid))
    return len(TOGETHER) + (folder(nodeid) in APART)


@pytest.hookimpl(tryfirst=True)  # before it is chosen by marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if folder(item.nodeid) != "unit":
            item.add_marker("programs")
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: _turn(item.nodeid))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How long each part took, where there was more than one."""
    took: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in (one for kind in terminalreporter.stats.values() for one in kind):
        if isinstance(report, pytest.TestReport):
            took[folder(report.nodeid)][report.nodeid] += report.duration  # type: ignore[assignment]
    if len(took) < 2:
        return
    terminalreporter.section("how long each part took")
    for part, tests in sorted(took.items(), key=lambda one: -one[1].total()):
        slowest, seconds = max(tests.items(), key=lambda one: one[1])
        terminalreporter.line(
            f"{tests.total():7.1f} s  tests/{part + ':':16}{len(tests):5} tests; "
            f"longest, {seconds:.1f} s: {slowest.removeprefix(f'tests/{part}/')}"
        )
    total = sum(tests.total() for tests in took.values())
    terminalreporter.line(f"{total:7.1f} s  in all, one after the other")
