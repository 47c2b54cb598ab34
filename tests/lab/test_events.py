"""libvirt's events on asyncio, against a real libvirtd."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.lab.conftest import ROOT

pytestmark = pytest.mark.hypervisor


def delay(a, g, kind: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.support.event_delay", a.host.libvirt_uri, g.name, kind]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=True)
    return json.loads(run.stdout)


def test_events_read_on_a_worker_thread_reach_an_idle_loop_at_once(a, guest) -> None:
    seen = delay(a, guest(), "safe")
    assert seen["events"] == 20
    assert seen["longest_s"] < 1  # without it: until something else wakes the loop, seconds


def test_that_measurement_shows_the_fault_of_plain_libvirtaio(a, guest) -> None:
    """Should this one fail, libvirtaio has learnt to marshal, and our subclass may go."""
    seen = delay(a, guest(), "plain")
    assert seen["events"] < 20 or seen["longest_s"] > 0.1
