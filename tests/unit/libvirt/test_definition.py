"""A domain's XML as the checks see it."""

from __future__ import annotations

import pytest
from lxml import etree

from pmigd.adapters.libvirt.definition import definition_of, xml_fault
from pmigd.core.facts import Definition, DiskFacts, HostDevice
from pmigd.core.named import Named

GIB = 1 << 30
FULL = """\
<domain type='kvm'>
  <memory unit='KiB'>2097152</memory>
  <memtune><hard_limit unit='KiB'>1</hard_limit></memtune>
  <memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>EPYC</model><topology sockets='1' cores='2' threads='1'/>
    <feature policy='require' name='invtsc'/>
  </cpu>
  <clock offset='utc'><timer name='tsc' frequency='2000000000'/></clock>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/><source file='/i/a.qcow2'/>
      <target dev='vda' bus='virtio'/><shareable/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/vg/b'/><target dev='vdb'/><transient/>
    </disk>
    <disk type='network' device='disk'><source protocol='rbd' name='p/c'/><target dev='vdc'/></disk>
    <disk type='volume' device='disk'>
      <source pool='p' volume='d'/><target dev='vdd'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
    <disk type='file' device='cdrom'>
      <source file='/i/cd.iso' startupPolicy='optional'/><target dev='sdb'/><readonly/>
    </disk>
    <interface type='bridge'><source bridge='br0'/></interface>
    <interface type='bridge'><source bridge='br0'/></interface>
    <interface type='direct'><source dev='eth1' mode='bridge'/></interface>
    <interface type='network'><source network='lan'/></interface>
    <interface type='hostdev'><teaming type='transient' persistent='ua-1'/></interface>
    <interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>
    <hostdev mode='subsystem' type='pci' managed='yes'/>
    <hostdev mode='capabilities' type='misc'/>
    <filesystem type='mount'><driver type='virtiofs'/></filesystem>
    <filesystem type='mount'/>
    <shmem name='s' role='master'/>
    <shmem name='t'/>
  </devices>
</domain>"""


def test_all_that_is_looked_for_is_found() -> None:
    found = definition_of(FULL)
    cpu = etree.fromstring(found.cpu_xml)
    assert [child.tag for child in cpu] == ["model", "feature"]
    assert found == Definition(
        emulator="/usr/bin/qemu-system-x86_64",
        arch="x86_64",
        machine="pc-q35-7.2",
        virt_type="kvm",
        cpu_xml=found.cpu_xml,
        cpu_checked=True,
        invariant_tsc=True,
        tsc_frequency=True,
        memory_bytes=2 * GIB,
        memory_limited=True,
        hugepages=((2048, 2 * GIB),),
        disks=(
            DiskFacts("vda", path="/i/a.qcow2", cache="none", shareable=True),
            DiskFacts("vdb", kind="block", path="/dev/vg/b", transient=True),
            DiskFacts("vdc", kind="network"),
            DiskFacts("vdd", kind="volume", pool="p", volume="d"),
            DiskFacts("sda", device="cdrom", read_only=True),
            DiskFacts("sdb", device="cdrom", path="/i/cd.iso", read_only=True, optional=True),
        ),
        host_devices=(
            HostDevice("pci"),
            HostDevice("capabilities"),
            HostDevice("pci", replaceable=True),
            HostDevice("vdpa"),
        ),
        filesystems=("virtiofs", "path"),
        shared_memory=(("s", "master"), ("t", "peer")),
        named=(
            Named("network", "lan", "network card"),
            Named("active_network", "lan", "network card"),
            Named("pool", "p", "disk vdd"),
            Named("active_pool", "p", "disk vdd"),
            Named("volume", "p/d", "disk vdd"),
            Named("link", "br0", "network card"),
            Named("link", "eth1", "network card"),
            Named("device", "/dev/vhost-vdpa-0", "vDPA device"),
        ),
    )


def test_only_a_drive_without_a_medium_is_empty() -> None:
    assert [disk.target for disk in definition_of(FULL).disks if disk.empty] == ["sda"]


def test_the_smallest_domain_has_nothing_of_it() -> None:
    assert definition_of("<domain/>") == Definition()


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        ("<memory>1024</memory>", 1 << 20),
        ("<memory unit='bytes'>1024</memory>", 1024),
        ("<memory unit='KB'>1000</memory>", 1_000_000),
        ("<memory unit='MiB'>3</memory>", 3 << 20),
        ("<memory unit='MB'>3</memory>", 3_000_000),
        ("<memory unit='G'>1</memory>", GIB),
        ("<memory unit='TiB'>1</memory>", GIB << 10),
    ],
)
def test_memory_in_libvirts_units(memory: str, size: int) -> None:
    assert definition_of(f"<domain>{memory}</domain>").memory_bytes == size


@pytest.mark.parametrize(
    ("cpu", "checked"),
    [("check='none'", False), ("check='partial'", True), ("check='full'", True), ("", False)],
)
def test_libvirt_compares_a_cpu_that_says_so(cpu: str, checked: bool) -> None:
    assert definition_of(f"<domain><cpu mode='custom' {cpu}/></domain>").cpu_checked is checked


@pytest.mark.parametrize(
    ("xml", "one"),
    [
        ("", True),
        ("<cpu><numa><cell id='0'/></numa></cpu>", False),
        ("<memoryBacking><source type='memfd'/></memoryBacking>", False),
    ],
)
def test_memory_of_one_piece(xml: str, one: bool) -> None:
    assert definition_of(f"<domain>{xml}</domain>").memory_in_one is one


def test_hugepages_without_a_size_are_the_hosts() -> None:
    xml = "<domain><memory>4</memory><memoryBacking><hugepages/></memoryBacking></domain>"
    assert definition_of(xml).hugepages == ((0, 4096),)


@pytest.mark.parametrize("xml", ["", "<domain>", "<domain><memory unit='X'>1</memory></domain>"])
def test_what_is_no_definition_is_refused(xml: str) -> None:
    with pytest.raises((etree.XMLSyntaxError, ValueError)):
        definition_of(xml)


def test_entities_stay_unread(tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root")
    xml = f"""<!DOCTYPE d [<!ENTITY s SYSTEM "file://{secret}">]>
    <domain><devices><emulator>&s;</emulator></devices></domain>"""
    assert definition_of(xml).emulator == ""


@pytest.mark.parametrize(
    "memory",
    [
        "<memory>" + "9" * 400 + "</memory>",
        "<memory>" + "9" * 5000 + "</memory>",
        "<memory unit='E'>" + "9" * 19 + "</memory>",
        "<memory>1e999</memory>",
        "<memory>-1</memory>",
        "<memory>inf</memory>",
        "<memory unit='" + "y" * 5000 + "'>1</memory>",
        "<memoryBacking><hugepages><page size='" + "9" * 400 + "'/></hugepages></memoryBacking>",
    ],
    ids=lambda xml: xml[:30],
)
def test_a_size_that_no_machine_has_is_a_fault_and_not_a_crash(memory: str) -> None:
    fault = xml_fault(f"<domain>{memory}</domain>")
    assert fault
    assert len(fault) <= 300
    assert xml_fault("<domain><memory unit='TiB'>64</memory></domain>") == ""


def test_xml_that_is_absurdly_deep_is_a_fault() -> None:
    assert xml_fault("<a>" * 5000 + "</a>" * 5000)
