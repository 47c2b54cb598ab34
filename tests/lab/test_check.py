"""What ``pmigctl check`` finds on real hosts, and that libvirt does refuse what blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contrib.lab import Disk, LabGuest
from contrib.lab.disks import IMAGES_DIR
from tests.lab.conftest import Pmig

pytestmark = pytest.mark.hypervisor

OTHER_UUID = "11111111-2222-4333-8444-555555555555"
NETWORK = "<network><name>{0}</name><bridge name='{0}'/></network>"
Undo = Callable[..., object]


@dataclass
class Hosts:
    """The two hosts, and what is undone when the test is over."""

    a: Pmig
    b: Pmig
    undo: ExitStack


@dataclass(frozen=True)
class Case:
    """One thing that is wrong. `refusal` is how libvirt puts it when it is tried nevertheless."""

    findings: dict[str, str]
    refusal: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    before: Callable[[Hosts], object] = lambda hosts: None
    after: Callable[[Hosts, LabGuest], object] = lambda hosts, g: None
    fields: dict[str, Any] = field(default_factory=dict)
    virsh: tuple[str, ...] = ()


def only_at_source(hosts: Hosts) -> str:
    path = f"{IMAGES_DIR}/only-here.iso"
    hosts.a.host.path(IMAGES_DIR).mkdir(exist_ok=True)
    hosts.a.host.path(path).write_bytes(bytes(1 << 16))
    hosts.undo.callback(hosts.a.host.path(path).unlink)
    hosts.b.host.define_images_pool()
    return path


def other_emulator(hosts: Hosts) -> None:
    link = hosts.a.host.path("/var/lib/libvirt/other-qemu")
    link.symlink_to("/usr/bin/qemu-system-x86_64")
    hosts.undo.callback(link.unlink)


def bridge(hosts: Hosts) -> None:
    hosts.a.host.run(["ip", "link", "add", "br-here", "type", "bridge"])
    hosts.undo.callback(hosts.a.host.run, ["ip", "link", "del", "br-here"])


def network(hosts: Hosts, *, there: bool) -> None:
    hosts.a.host.virsh("net-create", "/dev/stdin", input=NETWORK.format("inner"))
    hosts.undo.callback(hosts.a.host.virsh, "net-destroy", "inner")
    if there:
        hosts.b.host.virsh("net-define", "/dev/stdin", input=NETWORK.format("inner"))
        hosts.undo.callback(hosts.b.host.virsh, "net-undefine", "inner")


def snapshot(hosts: Hosts, g: LabGuest) -> None:
    hosts.a.host.virsh("snapshot-create-as", g.name, "s1", "--disk-only")
    hosts.undo.callback(hosts.a.host.virsh, "snapshot-delete", g.name, "s1", "--metadata")


def copy_job(hosts: Hosts, g: LabGuest) -> None:
    """A copy job stays until it is ended, also when all is copied."""
    copy = f"{IMAGES_DIR}/{g.name}.copy"
    hosts.undo.callback(hosts.a.host.path(copy).unlink)
    hosts.undo.callback(hosts.a.host.virsh, "blockjob", g.name, "vda", "--abort")
    hosts.a.host.virsh("blockcopy", g.name, "vda", copy, "--transient-job")


def define_there(hosts: Hosts, g: LabGuest, old: str, new: str) -> None:
    hosts.b.host.virsh("define", "/dev/stdin", input=g.xml.replace(old, new))
    name = new if old == g.name else g.name
    hosts.undo.callback(hosts.b.host.virsh, "undefine", name)


def no_pool_there(hosts: Hosts) -> None:
    hosts.b.host.forget_images_pool()
    hosts.undo.callback(hosts.b.host.define_images_pool)


def called_localhost(hosts: Hosts, g: LabGuest) -> None:
    hosts.b.host.run(["hostname", "localhost"])
    hosts.undo.callback(hosts.b.host.run, ["hostname", hosts.b.host.name])


def leads_back(hosts: Hosts, g: LabGuest) -> None:
    """As Debian's installer has it: the host's own name on 127.0.1.1, copied to its neighbour."""
    file = hosts.a.host.path("/etc/hosts")
    hosts.undo.callback(file.write_text, file.read_text())
    file.write_text("127.0.0.1 localhost\n127.0.1.1 hostb\n")
    hosts.a.reload({"peers": {"hostb": {"uri": f"qemu+tcp://{hosts.b.host.address}/system"}}})


def no_certificates(hosts: Hosts) -> None:
    """As on a host that nobody has set up for TLS."""
    here, away = "/etc/pki/qemu", "/etc/pki/away"
    if hosts.a.host.path(here).exists():
        hosts.a.host.run(["mv", here, away])
        hosts.undo.callback(hosts.a.host.run, ["mv", away, here])


def most_memory() -> int:
    total = re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    assert total
    return int(total[1]) // 1024 - 64


CDROM = """<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
<source file='/var/lib/libvirt/images/only-here.iso'{}/><target dev='hda' bus='ide'/><readonly/>
</disk>"""
INTERFACE = "<interface type='{0}'><source {0}='{1}'/><model type='virtio'/></interface>"
ONE_DISK = {"disks": (Disk(mib=1),)}
COPY = {"copy_storage": "all"}
VIRTIOFS = {
    "features_xml": "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
    "devices_xml": "<filesystem type='mount' accessmode='passthrough'><driver type='virtiofs'/>"
    f"<source dir='{IMAGES_DIR}'/><target dir='t'/></filesystem>",
}

RISKS_OF_POSTCOPY = {"postcopy_recovery_told_failed": "warn", "postcopy_first_moment": "warn"}
"""What is known of this libvirt and QEMU."""

CASES = {
    "nothing": Case({}),
    "snapshots": Case(
        {"snapshots": "block"},
        "cannot migrate domain with 1 snapshots",
        ONE_DISK,
        after=snapshot,
        fields=COPY,
        virsh=("--copy-storage-all",),
    ),
    "block job": Case(
        {"block_job": "block"},
        "domain has active block job",
        ONE_DISK,
        after=copy_job,
        fields=COPY,
        virsh=("--copy-storage-all",),
    ),
    "local disk": Case(
        {"unsafe_storage": "block", "image_missing": "warn"},
        "without shared storage is unsafe",
        ONE_DISK,
    ),
    "local disk, unsafe": Case(
        {"unsafe_storage": "warn", "image_missing": "warn"},
        "No such file",
        ONE_DISK,
        fields={"unsafe": True},
        virsh=("--unsafe",),
    ),
    "local CD": Case(
        {"medium_missing": "warn"},
        "Cannot access storage file",
        {"devices_xml": CDROM.format("")},
        before=only_at_source,
    ),
    "local CD that may be missing": Case(
        {}, spec={"devices_xml": CDROM.format(" startupPolicy='optional'")}, before=only_at_source
    ),
    "transient disk": Case(
        {"transient_disk": "block"},
        "transient disk is not supported",
        {
            "devices_xml": "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{IMAGES_DIR}/only-here.iso'/><target dev='vdb' bus='virtio'/>"
            "<transient/></disk>"
        },
        before=only_at_source,
        fields=COPY,
        virsh=("--copy-storage-all",),
    ),
    "virtiofs": Case({"virtiofs": "block"}, "cannot migrate domain", VIRTIOFS),
    "shared memory": Case(
        {"shared_memory": "block"},
        "peer mode",
        {
            "devices_xml": "<shmem name='s' role='peer'><model type='ivshmem-plain'/>"
            "<size unit='M'>4</size></shmem>"
        },
    ),
    "post-copy of a paused guest": Case(
        {"postcopy_paused_guest": "block", **RISKS_OF_POSTCOPY},
        "not supported with non-live or paused migration",
        after=lambda hosts, g: hosts.a.host.virsh("suspend", g.name),
        fields={"postcopy": "allowed"},
        virsh=("--postcopy",),
    ),
    "no such disk": Case(
        {"disk_not_copyable": "block"},
        "disk target vdx not found",
        ONE_DISK,
        fields={**COPY, "migrate_disks": ["vda", "vdx"]},
        virsh=("--copy-storage-all", "--migrate-disks", "vda,vdx"),
    ),
    "emulator": Case(
        {"machine_unknown": "block"},
        "Cannot check QEMU binary",
        {"devices_xml": "<emulator>/var/lib/libvirt/other-qemu</emulator>"},
        before=other_emulator,
    ),
    "memory": Case({"memory_short": "warn"}, spec={"memory_mib": most_memory()}),
    "bridge": Case(
        {"bridge_missing": "block"},
        "No such device",
        {"devices_xml": INTERFACE.format("bridge", "br-here")},
        before=bridge,
    ),
    "network": Case(
        {"network_missing": "block"},
        "Network not found",
        {"devices_xml": INTERFACE.format("network", "inner")},
        before=lambda hosts: network(hosts, there=False),
    ),
    "network not started": Case(
        {"network_inactive": "block"},
        "is not active",
        {"devices_xml": INTERFACE.format("network", "inner")},
        before=lambda hosts: network(hosts, there=True),
    ),
    "name taken": Case(
        {"destination_has_domain": "block"},
        "already exists with uuid",
        after=lambda hosts, g: define_there(hosts, g, g.uuid, OTHER_UUID),
    ),
    "UUID taken": Case(
        {"destination_has_domain": "block"},
        "is already defined with uuid",
        after=lambda hosts, g: define_there(hosts, g, g.name, "another"),
    ),
    "nowhere to copy to": Case(
        {"no_pool_for_copy": "warn"},
        "no storage pool with matching target path",
        ONE_DISK,
        after=lambda hosts, g: no_pool_there(hosts),
        fields=COPY,
        virsh=("--copy-storage-all",),
    ),
    "nothing to add to": Case(
        {"image_missing": "warn"},
        "incremental storage migration is not supported",
        ONE_DISK,
        fields={"copy_storage": "inc"},
        virsh=("--copy-storage-inc",),
    ),
    "host name": Case(
        {"destination_hostname": "warn"},
        "hostname on destination resolved to localhost",
        after=called_localhost,
    ),
    "host name leads back": Case(
        {"destination_hostname": "warn"}, "Connection refused", after=leads_back
    ),
    "TLS": Case(
        {"tls_not_set_up": "block", "tls_long_transfer": "warn"},
        "TLS|credentials",
        before=no_certificates,
        fields={"tls": True},
        virsh=("--tls",),
    ),
}


@pytest.fixture
def both(a: Pmig, b: Pmig, guest: object) -> Iterator[Hosts]:
    """Undone before the guests end."""
    with ExitStack() as undo:
        yield Hosts(a, b, undo)


def found(hosts: Hosts, g: LabGuest, **fields: Any) -> dict[str, Any]:
    body = {"domain": g.name, "destination": "hostb", **fields}
    return hosts.a.call("POST", "/v1/check", body)


def codes(answer: dict[str, Any]) -> dict[str, str]:
    """What was found, but for what nobody could look at."""
    return {f["code"]: f["level"] for f in answer["findings"] if f["level"] != "info"}


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_and_libvirt_refuses_it(both: Hosts, guest, name: str) -> None:
    case = CASES[name]
    case.before(both)
    g = guest(**case.spec)
    case.after(both, g)
    answer = found(both, g, **case.fields)
    assert codes(answer) == case.findings, answer
    assert answer["ready"] is ("block" not in case.findings.values())
    assert all(f["detail"].endswith(".") and f["remedy"].endswith(".") for f in answer["findings"])
    if case.refusal:
        uri = f"qemu+tcp://{both.b.host.address}/system"
        command = ["virsh", "migrate", "--live", "--p2p", *case.virsh, g.name, uri]
        done = both.a.host.run(command, check=False)
        assert done.returncode == 1
        assert re.search(case.refusal, done.stderr), done.stderr


def test_all_of_it_is_found_at_once_and_ends_a_start(both: Hosts, guest) -> None:
    bridge(both)
    g = guest(**ONE_DISK, devices_xml=INTERFACE.format("bridge", "br-here"))
    snapshot(both, g)
    define_there(both, g, g.uuid, OTHER_UUID)
    blocks = {
        "snapshots": "block",
        "unsafe_storage": "block",
        "bridge_missing": "block",
        "destination_has_domain": "block",
    }
    assert codes(found(both, g)).items() >= blocks.items()
    m = both.a.end(both.a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "check_failed"
    assert len(m["problem"]["errors"]) == len(blocks)
    assert g.where() == [both.a.host]


def test_one_that_blocks_alone_keeps_its_code(both: Hosts, guest) -> None:
    g = guest()
    define_there(both, g, g.uuid, OTHER_UUID)
    m = both.a.end(both.a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "destination_has_domain"
    m = both.a.end(both.a.submit(g, dname="free")["id"])
    assert m["result"]["mode"] == "precopy"


def test_what_was_not_looked_at_is_said_in_one_finding(both: Hosts, guest) -> None:
    answer = found(both, guest(), tls=False, postcopy="allowed")
    assert codes(answer) == RISKS_OF_POSTCOPY
    (finding,) = (f for f in answer["findings"] if f["code"] == "not_checked")
    assert finding["level"] == "info"
    for word in ("ports", "userfaultfd", "clock", ".img"):
        assert word in finding["detail"]
    assert answer["ready"]
    assert answer["prediction"] is None


def test_what_is_known_to_be_broken_is_shown_with_the_peers_versions(both: Hosts, guest) -> None:
    (peer,) = both.a.call("GET", "/v1/peers")["items"]
    there = both.b.host.virsh("version", "--daemon")
    assert f"QEMU {peer['hypervisor_version']}" in there
    assert f"daemon: {peer['libvirt_version']}" in there
    defects = {defect["code"]: defect for defect in peer["defects"]}
    said = found(both, guest(), postcopy="allowed")["findings"]
    for told in (f for f in said if f["code"] in defects):
        assert told["detail"] == defects[told["code"]]["detail"]
    assert {"postcopy_first_moment", "shutdown_crashes_libvirt"} <= {f["code"] for f in said}
    shown = both.a.ctl("peers").stdout
    assert peer["libvirt_version"] in shown
    assert "to hostb: warn tls_long_transfer with --tls: In a long transfer" in shown


def test_with_a_limit_the_time_is_predicted(both: Hosts, guest) -> None:
    g = guest(disks=(Disk(mib=8),), fill_mib=16)
    said = found(both, g, bandwidth_mib_s=10, **COPY)["prediction"]
    assert 16 << 20 < said["memory_bytes"] <= 64 << 20
    assert 8 << 20 <= said["disk_bytes"] < 9 << 20
    total = said["memory_bytes"] + said["disk_bytes"]
    assert said["seconds_at_least"] == round(total / (10 << 20), 1)
