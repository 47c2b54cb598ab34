"""What only a newer host can have."""

from __future__ import annotations

import time

import pytest

from contrib.lab import Guest, Lab
from tests.lab.conftest import Pmig
from tests.support import newer

pytestmark = pytest.mark.hypervisor


def test_a_guest_whose_machine_the_older_host_does_not_know_runs_on_where_it_is(lab: Lab) -> None:
    newer.require()
    new = lab["hostc"]
    guest = lab.guest(Guest(name="newborn", machine="pc"), on=new)
    pmig = Pmig(new)
    m = pmig.end(pmig.submit(guest, "hosta")["id"], "failed")
    assert "machine" in m["problem"]["detail"]
    assert guest.states() == {"hostc": "running"}
    guest.heartbeats.wait(5, host="hostc", since=time.monotonic())
    guest.destroy()
