"""How memory, and what people look at, gets from host to host: addresses and unusual transports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.lab import Host
from tests.lab.conftest import Pmig

pytestmark = pytest.mark.hypervisor

# libvirt lifts QEMU's limit of locked memory to the guest's size. Without CAP_SYS_RESOURCE, as in
# a container, it can go no higher than Linux's default of 8 MiB.
SMALL = {"memory_mib": 8, "fill_mib": 4}
HARD_LIMIT = "<memtune><hard_limit unit='MiB'>8</hard_limit></memtune>"
SPICE = (
    "<graphics type='spice' autoport='yes' listen='0.0.0.0'/><video><model type='none'/></video>"
)
VNC = SPICE.replace("spice", "vnc")


@pytest.fixture
def monitor_log(a: Pmig) -> Iterator[Path]:
    """What libvirt says to QEMU on hosta."""
    inside = "/run/lab/monitor.log"
    before = _logging(a.host)
    a.host.run(["virt-admin", "daemon-log-outputs", f"1:file:{inside}"])
    a.host.run(["virt-admin", "daemon-log-filters", "1:qemu.qemu_monitor"])
    yield a.host.path(inside)
    for command, value in before.items():
        a.host.run(["virt-admin", command, value])
    a.host.path(inside).unlink()


def _logging(host: Host) -> dict[str, str]:
    commands = ("daemon-log-filters", "daemon-log-outputs")
    answers = {command: host.run(["virt-admin", command]).stdout for command in commands}
    return {command: answer.partition(":")[2].strip() for command, answer in answers.items()}


def test_memory_is_sent_without_copying_it_first(a, b, guest) -> None:
    g = guest(**SMALL)
    m = a.end(a.submit(g, zerocopy=True, parallel_connections=2)["id"])
    assert m["request"]["zerocopy"]
    g.heartbeats.wait(5, host="hostb", since=time.monotonic())
    assert g.where() == [b.host]
    assert g.heartbeats.memory_ok


@pytest.mark.parametrize(
    ("features", "fields", "said"),
    [
        ("", {}, "hard limit"),
        (HARD_LIMIT, {}, "RDMA ERROR"),
        (HARD_LIMIT, {"rdma_pin_all": True}, "RDMA ERROR"),
    ],
    ids=["no hard limit", "no device", "no device, pinned"],
)
def test_rdma_reaches_qemu_which_finds_no_device_here(a, guest, features, fields, said) -> None:
    g = guest(**SMALL, features_xml=features)
    m = a.end(a.submit(g, migrate_uri="rdma://10.77.0.2", **fields)["id"], "failed")
    assert said in m["problem"]["detail"]
    assert g.where() == [a.host]


def test_viewers_by_spice_are_told_where_to_go(a, b, guest, monitor_log) -> None:
    g = guest(**SMALL, devices_xml=SPICE)
    a.end(a.submit(g, graphics_uri="spice://viewers.example.com:5999")["id"])
    assert g.where() == [b.host]
    told = '"protocol":"spice","hostname":"viewers.example.com","port":5999'
    assert told in monitor_log.read_text()


def test_without_spice_qemu_knows_no_viewers_and_the_guest_moves_all_the_same(
    a, b, guest, monitor_log
) -> None:
    g = guest(**SMALL, devices_xml=VNC)
    a.end(a.submit(g, graphics_uri="spice://viewers.example.com:5999")["id"])
    assert g.where() == [b.host]
    assert "SPICE is not in use" in monitor_log.read_text()


def test_the_destination_listens_at_the_address_given_and_at_no_other(a, b, guest) -> None:
    g = guest(**SMALL)
    m = a.end(a.submit(g, listen_address="10.77.99.99")["id"], "failed")
    assert "Cannot assign requested address" in m["problem"]["detail"]
    assert g.where() == [a.host]
    a.end(a.submit(g, listen_address="10.77.0.2")["id"])
    assert g.where() == [b.host]
