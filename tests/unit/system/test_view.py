"""Whether two mount tables lead a path to the same file, and what a look then says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pmigd.adapters.system.view import Mounts, MountView, PathState, Reference, Sight, whole

HOST = """\
20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
21 20 0:6 / /dev rw shared:2 - devtmpfs udev rw
22 20 0:30 / /tmp rw shared:3 - tmpfs tmpfs rw
23 20 0:40 / /mnt/nfs\\040share rw shared:4 - nfs4 server:/x rw
"""
SERVICE = """\
120 1 8:1 / / ro master:1 - ext4 /dev/sda1 rw
121 120 0:6 / /dev rw master:2 - devtmpfs udev rw
122 120 0:30 / /tmp ro master:3 - tmpfs tmpfs rw
123 120 0:40 / /mnt/nfs\\040share ro master:4 - nfs4 server:/x rw
124 120 8:1 /var/lib/pmigd /var/lib/pmigd rw master:1 - ext4 /dev/sda1 rw
"""
SMALL_DEV = (
    "125 121 0:50 / /dev rw - tmpfs tmpfs rw\n126 125 0:6 /null /dev/null rw - devtmpfs u r\n"
)
PRIVATE_TMP = "127 122 8:1 /tmp/systemd-private-1/tmp /tmp rw - ext4 /dev/sda1 rw\n"
BTRFS = "20 1 0:25 /@ / rw - btrfs /dev/sda1 rw\n21 20 0:25 /@home /home rw - btrfs /dev/sda1 rw\n"
COVERED = (
    "20 1 8:1 / / rw - ext4 a rw\n21 20 8:2 / /a/b rw - xfs b rw\n22 20 8:3 / /a rw - xfs c rw\n"
)


def same(ours: str, path: str, theirs: str = HOST) -> bool:
    return Mounts(ours).place(path) == Mounts(theirs).place(path)


@pytest.mark.parametrize(
    "path", ["/", "/dev/mapper/vg-web", "/tmp/x", "/mnt/nfs share/a", "/var/lib/pmigd/a", "/home"]
)
def test_a_service_that_may_only_read_sees_the_same(path: str) -> None:
    assert same(SERVICE, path)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (SMALL_DEV, "/dev/mapper/vg-web"),
        (SMALL_DEV, "/dev"),
        (PRIVATE_TMP, "/tmp/x"),
        ("125 120 0:50 / /home ro - tmpfs tmpfs rw\n", "/home/me/x"),
        # The service was started before the mount was made, and gets no news of it.
        ("", "/mnt/new/x"),
    ],
)
def test_what_something_else_was_put_in_front_of_is_another(more: str, path: str) -> None:
    later = "30 20 0:60 / /mnt/new rw shared:9 - xfs /dev/sdb1 rw\n"
    assert not same(SERVICE + more, path, HOST + later)
    assert same(SERVICE + more, "/srv/x", HOST + later)


def test_what_was_put_back_into_a_small_dev_is_the_same() -> None:
    assert same(SERVICE + SMALL_DEV, "/dev/null")


def test_a_part_of_a_file_system_is_told_from_the_whole() -> None:
    assert Mounts(BTRFS).place("/home/x") == ("0:25", "/@home/x")
    assert Mounts(BTRFS).place("/homely") == ("0:25", "/@/homely")
    assert Mounts(BTRFS).place("/") == ("0:25", "/@")


def test_a_mount_that_was_covered_by_a_later_one_counts_no_more() -> None:
    assert Mounts(COVERED).mount_of("/a/b/c").device == "8:3"


def test_without_a_root_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no mount"):
        Mounts("")


def states(view: MountView, *paths: Path | str) -> list[PathState]:
    return [sight.state for sight in view.look(map(str, paths)).values()]


def test_with_the_same_view_a_file_is_there_or_missing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("b")
    paths = ("link", "a", "a/under", "b")
    found = states(whole(), *(tmp_path / path for path in paths), "relative")
    assert found == [
        PathState.MISSING,
        PathState.THERE,
        PathState.MISSING,
        PathState.MISSING,
        PathState.UNSEEN,
    ]


def test_without_knowing_what_libvirt_sees_nothing_is_missing(tmp_path: Path) -> None:
    ours = Mounts(Path("/proc/self/mountinfo").read_text())
    (sight,) = MountView(ours, None).look([str(tmp_path / "a")]).values()
    assert sight == Sight(PathState.UNSEEN, "which files libvirt sees is not known")


def test_a_link_into_what_is_hidden_is_not_believed(tmp_path: Path) -> None:
    ours = Path("/proc/self/mountinfo").read_text()
    theirs = ours.replace(" /proc rw", " /elsewhere rw")
    assert theirs != ours
    (tmp_path / "link").symlink_to("/proc/nothing")
    view = MountView(Mounts(ours), Mounts(theirs))
    assert states(view, tmp_path / "link", tmp_path / "x") == [PathState.UNSEEN, PathState.MISSING]


def test_the_reference_is_who_listens_and_is_asked_once(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    reference = Reference([str(tmp_path / "none"), path])
    assert states(reference.view(), tmp_path) == [PathState.UNSEEN]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert states(reference.view(), tmp_path) == [PathState.THERE]
        server.accept()[0].close()
        os.unlink(path)  # noqa: PTH108 - nobody can connect any more
        assert states(reference.view(), tmp_path, tmp_path / "x") == [
            PathState.THERE,
            PathState.MISSING,
        ]
