"""Guests on real hosts: they migrate, and what goes wrong with them is seen."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from contrib.lab import Guest, Lab, LabError
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from contrib.lab import LabGuest

pytestmark = pytest.mark.hypervisor


def test_a_guest_migrates_and_is_heard_from_the_other_host(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="moves", working_set_mib=4, dirty_pages_per_tick=16))
    assert guest.where() == [a]
    # Once through the working set, so that every page has been checked.
    guest.heartbeats.wait(70)
    started = time.monotonic()
    guest.migrate(b)
    guest.heartbeats.wait(70, host=b.name)
    beats = guest.heartbeats
    assert guest.where() == [b]
    assert beats.hosts == [a.name, b.name]
    assert (beats.restarts, beats.duplicated, beats.garbled) == (0, 0, 0)
    assert beats.memory_ok
    gap = beats.longest_gap(started)
    assert 0.015 < gap.seconds < 1.0
    assert b.virsh("domuuid", "moves") == guest.uuid


def test_heartbeats_come_at_the_rate_asked_for(lab: Lab, start: Callable[..., LabGuest]) -> None:
    guest = start(Guest(name="steady", tick_hz=100))
    started = time.monotonic()
    guest.heartbeats.wait(60)
    assert guest.heartbeats.rate(started) == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("page", [0, 255])
def test_damaged_memory_is_found_by_the_guest(
    lab: Lab, start: Callable[..., LabGuest], page: int
) -> None:
    guest = start(Guest(name=f"damaged{page}", working_set_mib=1, dirty_pages_per_tick=16))
    guest.heartbeats.wait(20)
    assert guest.heartbeats.memory_ok
    guest.corrupt_memory(lab.hosts[0], page=page)
    until(lambda: guest.heartbeats.errors, "the guest's report", timeout=5)
    assert guest.heartbeats.errors == 1
    assert not guest.heartbeats.memory_ok


def test_damaged_filled_memory_is_found_by_the_guest(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    guest = start(Guest(name="filled", working_set_mib=1, fill_mib=1))
    guest.corrupt_memory(lab.hosts[0], page=256 + 9)
    until(lambda: guest.heartbeats.errors, "the guest's report", timeout=10)


def test_a_rebooted_guest_is_not_taken_for_a_paused_one(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a = lab.hosts[0]
    guest = start(Guest(name="reboots"))
    guest.heartbeats.wait(20)
    a.virsh("reset", guest.name)
    until(lambda: guest.heartbeats.restarts, "the counter's restart", timeout=10)


def test_a_slow_link_slows_the_migration(lab: Lab, start: Callable[..., LabGuest]) -> None:
    _, b = lab.hosts
    guest = start(Guest(name="slow", fill_mib=40))
    lab.link(b).shape(20)
    assert guest.migrate(b) > 40 / 20
    assert guest.heartbeats.memory_ok


def test_a_pulled_cable_silences_the_guest_until_it_is_back(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a = lab.hosts[0]
    guest = start(Guest(name="silent"))
    lab.link(a).down()
    pulled = time.monotonic()
    with pytest.raises(LabError, match="heartbeats"):
        guest.heartbeats.wait(since=pulled + 0.1, timeout=0.5)
    lab.link(a).up()
    guest.heartbeats.wait(host=a.name)
    assert guest.heartbeats.longest_gap(pulled).seconds > 0.5
    assert (guest.heartbeats.restarts, guest.heartbeats.duplicated) == (0, 0)


def test_a_reset_connection_fails_the_migration_and_the_guest_runs_on(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="reset", fill_mib=50))
    lab.link(a).shape(10)
    migration = a.popen(
        ["virsh", "migrate", "--live", "--p2p", guest.name, b.uri_from_peer],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with migration:
        until(lambda: lab.link(a).reset_connections(), "the migration's connection", timeout=10)
        out, _ = migration.communicate(timeout=20)
    assert migration.returncode == 1, out
    guest.heartbeats.wait(10, host=a.name)
    assert guest.where() == [a]
    assert guest.heartbeats.hosts == [a.name]
    assert guest.heartbeats.memory_ok


def test_a_guest_with_a_disk_takes_it_along(lab: Lab, start: Callable[..., LabGuest]) -> None:
    b = lab.hosts[1]
    guest = start(Guest(name="disk", disk_mib=16))
    guest.migrate(b, "--live", "--p2p", "--copy-storage-all")
    assert guest.where() == [b]
    assert guest.disk
    assert b.path(guest.disk).stat().st_size > 16 << 20


def test_a_transient_guest_leaves_nothing_at_its_source(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    b = lab.hosts[1]
    guest = start(Guest(name="transient", persistent=False))
    guest.migrate(b)
    assert guest.states() == {b.name: "running"}
