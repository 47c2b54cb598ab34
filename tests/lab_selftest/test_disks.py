"""Disks travel with their content, and what libvirt needs for that is there or is not."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from contrib.lab import Disk, Guest, Lab, LabError
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contrib.lab import LabGuest

pytestmark = pytest.mark.hypervisor

ALL = ("--live", "--p2p", "--copy-storage-all")
INC = ("--live", "--p2p", "--copy-storage-inc")


@pytest.fixture
def pool_again(lab: Lab) -> Iterator[None]:
    yield
    for host in lab.hosts:
        host.define_images_pool()


def test_two_disks_arrive_as_they_were_sent(lab: Lab, start: Callable[..., LabGuest]) -> None:
    a, b = lab.hosts
    disks = (Disk(mib=8, fill_mib=3), Disk(mib=4, target="vdb", format="raw"))
    guest = start(Guest(name="two-disks", disks=disks))
    content = [guest.disk_digest(a, disk.target) for disk in disks]
    assert content[0] != content[1]
    guest.migrate(b, *ALL)
    assert [guest.disk_digest(b, disk.target) for disk in disks] == content
    assert b.path(guest.disk_path("vdb")).stat().st_size == 4 << 20


def test_a_write_is_seen_in_the_content_and_taken_along(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="written", disks=(Disk(mib=2),)))
    before = guest.disk_digest(a)
    guest.write_disk(a, offset=1 << 20, length=512, byte=7)
    after = guest.disk_digest(a)
    assert after != before
    guest.migrate(b, *ALL)
    assert guest.disk_digest(b) == after
    with pytest.raises(LabError, match="writing to vda"):
        guest.write_disk(b, offset=2 << 20, length=512, byte=7)


def test_what_is_written_during_the_copy_arrives_too(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="busy-disk", disks=(Disk(mib=24),)))
    before = guest.disk_digest(a)
    lab.link(b).shape(20)
    migration = a.popen(
        ["virsh", "migrate", *ALL, guest.name, b.uri_from_peer],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with migration:
        until(
            lambda: b.path(guest.disk_path()).exists() and "paused" in guest.states().values(),
            "the copy's begin",
            timeout=10,
        )
        for offset in (0, 12 << 20, (24 << 20) - 512):
            guest.write_disk(a, offset=offset, length=512, byte=9)
        after = guest.disk_digest(a)
        out, _ = migration.communicate(timeout=30)
    assert migration.returncode == 0, out
    assert before != after == guest.disk_digest(b)


def test_without_a_pool_the_image_must_be_there_already(
    lab: Lab, start: Callable[..., LabGuest], pool_again: None
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="no-pool", disks=(Disk(mib=2),)))
    content = guest.disk_digest(a)
    b.forget_images_pool()
    with pytest.raises(LabError, match="no storage pool with matching target path"):
        guest.migrate(b, *ALL)
    guest.create_disks(b)
    assert guest.disk_digest(b) != content
    guest.migrate(b, *ALL)
    assert guest.disk_digest(b) == content


def test_an_incremental_copy_leaves_the_backing_image_alone(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="layers", disks=(Disk(mib=8, fill_mib=2, backing_mib=6),)))
    content = guest.disk_digest(a)
    with pytest.raises(LabError, match="pre-creation of storage targets for incremental"):
        guest.migrate(b, *INC)
    guest.create_disks(b)
    assert guest.disk_digest(b) != content
    guest.migrate(b, *INC)
    assert guest.disk_digest(b) == content
    info = b.run(["qemu-img", "info", "-U", guest.disk_path()]).stdout
    assert "layers-vda.base.qcow2" in info
    image = b.path(guest.disk_path()).stat()
    assert 2 << 20 < image.st_blocks * 512 < 4 << 20


def test_only_the_disks_named_are_copied(lab: Lab, start: Callable[..., LabGuest]) -> None:
    a, b = lab.hosts
    disks = (Disk(mib=2), Disk(mib=2, target="vdb", shared=True))
    guest = start(Guest(name="half-shared", disks=disks))
    content = [guest.disk_digest(a, disk.target) for disk in disks]
    with pytest.raises(LabError, match="unsafe"):
        guest.migrate(b, *ALL, "--migrate-disks", "vda")
    guest.migrate(b, *ALL, "--migrate-disks", "vda", "--unsafe")
    assert [guest.disk_digest(b, disk.target) for disk in disks] == content


def test_deleted_images_are_created_again_by_the_next_copy(
    lab: Lab, start: Callable[..., LabGuest]
) -> None:
    a, b = lab.hosts
    guest = start(Guest(name="to-and-fro", disks=(Disk(mib=2),)))
    content = guest.disk_digest(a)
    # The third time libvirt knew the image that is gone.
    for source, to in ((a, b), (b, a), (a, b)):
        guest.migrate(to, *ALL)
        assert guest.disk_digest(to) == content
        guest.remove_disks(source)
        assert not source.path(guest.disk_path()).exists()


def test_disks_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"target": "sda"},
        {"mib": 1, "fill_mib": 2},
        {"format": "raw", "backing_mib": 1},
    ):
        with pytest.raises(ValueError, match=r"disk|room|target"):
            Disk(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two disks of one name"):
        Guest(name="g", disk_mib=1, disks=(Disk(),))
