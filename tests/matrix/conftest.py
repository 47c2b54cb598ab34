"""Two hosts of this machine's libvirt and, where their root can be had, two of a newer one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contrib.lab import Lab
from tests.lab.conftest import no_tracebacks, started
from tests.support import newer


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    roots = {} if newer.why_not() else {"hostc": newer.SUITE, "hostd": newer.SUITE}
    with started(
        2 + len(roots),
        name="matrix",
        roots=roots,
        tls=True,
        pmigd={"limits": {"max_outgoing": 8, "max_incoming": 8, "max_preparing": 8}},
    ) as lab:
        yield lab


@pytest.fixture(autouse=True)
def _nothing_blocked_and_nothing_crashed(lab: Lab) -> Iterator[None]:
    with no_tracebacks(lab):
        yield
