"""One lab for the whole session; each test makes and ends its own guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contrib.lab import Guest, Lab, LabGuest, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def able() -> None:
    lacking = missing()
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))


@pytest.fixture(scope="session")
def lab(able: None) -> Iterator[Lab]:
    with Lab(name="selftest") as lab:
        yield lab


@pytest.fixture
def start(lab: Lab) -> Iterator[Callable[..., LabGuest]]:
    """Start a guest on hosta; it ends with the test, as does what was done to the links."""
    started: list[LabGuest] = []

    def start(spec: Guest) -> LabGuest:
        guest = lab.guest(spec, on=lab.hosts[0])
        started.append(guest)
        return guest

    yield start
    for host in lab.hosts:
        lab.link(host).up()
        lab.link(host).unshape()
    for guest in started:
        guest.destroy()
