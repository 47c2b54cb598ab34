"""pmigd, as its unit runs it, sees the files of guests as libvirt does, or says that it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contrib.lab import Host, LabError
from tests.lab.conftest import start
from tests.leases.test_examine import blocks, check

SHARED = "/run/lab/images"
HIDING = "PrivateTmp=yes\nPrivateDevices=yes\nProtectHome=tmpfs\n"
DISK = """<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>
<source dev='{}'/><target dev='vdb' bus='virtio'/><shareable/></disk>"""
CD = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
<source file='{}'/><target dev='hda' bus='ide'/><readonly/></disk>"""
# A server that never says a word, and goes when its input ends.
SILENT_SERVER = """
import ctypes, os, sys
fd = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"silent", sys.argv[1].encode(), b"fuse", ctypes.c_ulong(0), data.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    """Undone while the hosts are still up."""
    with ExitStack() as undo:
        yield undo


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[str]:
    """A block device that all hosts have; the kernel takes it back whatever ends this process."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    find = ["losetup", "--find", "--show", str(image)]
    device = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
    with open(device, "rb"):  # noqa: PTH123 - held, not read
        subprocess.run(["losetup", "--detach", device], check=True)
        yield device


@contextmanager
def shared(host: Host, directory: str) -> Iterator[None]:
    """`directory` is one that the hosts share, for the services that run there already, too."""
    host.run(["mkdir", "-p", SHARED, directory])
    host.run(["mount", "--bind", SHARED, directory])
    try:
        yield
    finally:
        host.run(["umount", "--lazy", directory])


def unchecked(findings: list[dict[str, str]]) -> str:
    """What the destination's pmigd says it could not look at."""
    return "".join(
        finding["detail"]
        for finding in findings
        if (finding["code"], finding["field"]) == ("not_checked", "destination")
    )


def test_a_block_device_that_both_hosts_have_is_seen(a, b, guest, volume) -> None:
    g = guest(devices_xml=DISK.format(volume))
    assert blocks(a) == set()
    xml = a.host.virsh("dumpxml", g.name).replace(volume, "/dev/mapper/nothing")
    assert blocks(a, xml=xml) == {"image_missing"}
    a.end(a.submit(g)["id"])
    assert g.where() == [b.host]


@pytest.mark.parametrize("directory", ["/tmp", "/var/tmp", "/home", "/root", "/run/user"])
def test_an_image_is_seen_wherever_it_lies(a, b, guest, undo, directory) -> None:
    for host in (a.host, b.host):
        undo.enter_context(shared(host, directory))
    path = f"{directory}/disc.iso"
    a.host.path(path).write_bytes(bytes(1 << 16))
    g = guest(devices_xml=CD.format(path))
    assert blocks(a) == set()
    b.host.path(path).rename(b.host.path(f"{path}.away"))
    assert blocks(a) == {"medium_missing"}
    with pytest.raises(LabError, match="Cannot access storage file"):
        g.migrate(b.host)
    b.host.path(f"{path}.away").rename(b.host.path(path))
    a.end(a.submit(g)["id"])
    assert g.where() == [b.host]


def test_what_its_unit_hides_from_it_it_says_and_does_not_block(a, b, guest, undo, volume) -> None:
    if sys.executable.startswith("/tmp/"):
        pytest.skip(
            "pmigd itself is below /tmp here, and could not be started where that is hidden"
        )
    for host in (a.host, b.host):
        undo.enter_context(shared(host, "/tmp"))
    a.host.path("/tmp/disc.iso").write_bytes(bytes(1 << 16))
    g = guest(devices_xml=DISK.format(volume) + CD.format("/tmp/disc.iso"))
    b.host.pmigd.stop()
    start(b.host, drop_in=HIDING)
    try:
        findings = check(a, postcopy="allowed")
        assert [f for f in findings if f["level"] == "block"] == []
        said = unchecked(findings)
        assert f"{volume} (pmigd's /dev is not the one that libvirt sees)" in said
        assert "/tmp/disc.iso (pmigd's /tmp is not the one that libvirt sees)" in said
        assert "userfaultfd (pmigd's /dev is not the one that libvirt sees)" in said
        a.end(a.submit(g)["id"])
        assert g.where() == [b.host]
    finally:
        b.host.pmigd.stop()


def test_a_server_that_is_silent_holds_up_no_other_look(a, b, guest, undo) -> None:
    g = guest()
    b.host.run(["mkdir", "-p", "/run/lab/silent"])
    server = b.host.popen(
        [sys.executable, "-c", SILENT_SERVER, "/run/lab/silent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    undo.callback(server.communicate, "", timeout=5)
    undo.callback(b.host.run, ["umount", "-l", "/run/lab/silent"])
    assert server.stdout.readline() == "mounted\n"
    plain = a.host.virsh("dumpxml", g.name)
    discs = CD.format("/run/lab/silent/disc.iso") + CD.format("/nowhere.iso").replace("hda", "hdb")
    xml = plain.replace("</devices>", f"{discs}</devices>")
    for _ in range(2):
        findings = check(a, xml=xml)
        assert {f["code"] for f in findings if f["level"] == "block"} == {"medium_missing"}
        assert "/run/lab/silent/disc.iso (/run/lab/silent does not answer)" in unchecked(findings)
