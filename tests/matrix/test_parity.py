"""The same request through virsh and through pmigd leaves both hosts in the same state.

Between hosts of one libvirt and of two. A row that one of them is too old for is refused with the
version that it needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from contrib.lab import Lab
from contrib.parity.rows import ROWS, Row
from tests.lab.conftest import no_tracebacks
from tests.support import newer, parity

pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(600)]

PAIRS = {
    "old to old": ("hosta", "hostb"),
    "old to new": ("hosta", "hostc"),
    "new to old": ("hostc", "hosta"),
    "new to new": ("hostc", "hostd"),
}
CASES = [
    pytest.param(pair, row, id=f"{pair}, {row.name}")
    for pair in PAIRS
    for row in ROWS
    if row.short or newer.FORCED or pair == "old to old"
]


@pytest.fixture(scope="module")
def ran(lab: Lab, request: pytest.FixtureRequest) -> Callable[[str], parity.Results]:
    """What came of the rows that are wanted between two hosts: all of them are run at once."""

    @functools.cache
    def run(pair: str) -> parity.Results:
        hosts = [lab[name] for name in PAIRS[pair]]
        wanted = [
            item.callspec.params["row"]
            for item in request.session.items
            if item.path == request.path and item.callspec.params["pair"] == pair
        ]
        with no_tracebacks(lab):
            return parity.run(parity.Pair(lab, *hosts), wanted)

    return run


@pytest.mark.parametrize(("pair", "row"), CASES)
def test_virsh_and_pmigd_leave_the_same_behind(ran, pair: str, row: Row) -> None:
    if "new" in pair:
        newer.require()
    ran(pair)[row.name].result().check()
