"""Two hosts of this machine's libvirt and, where their root can be had, two of a newer one."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from contrib.lab import Lab, missing
from tests.lab.conftest import no_tracebacks, start
from tests.support import newer


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lacking = missing(tls=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    roots = {} if newer.why_not() else {"hostc": newer.SUITE, "hostd": newer.SUITE}
    with Lab(
        2 + len(roots),
        name="matrix",
        roots=roots,
        tls=True,
        pmigd={"limits": {"max_outgoing": 8, "max_incoming": 8, "max_preparing": 8}},
        pmigd_argv=[sys.executable, "-m", "tests.support.strict"],
    ) as lab:
        for host in lab.hosts:
            start(host)
        yield lab


@pytest.fixture(autouse=True)
def _nothing_blocked_and_nothing_crashed(lab: Lab) -> Iterator[None]:
    with no_tracebacks(lab):
        yield
