"""A domain's XML as the plain values that the checks are about. Pure functions."""

from __future__ import annotations

import copy
import re
from typing import Final

from lxml import etree

from pmigd.adapters.libvirt.named import named_of
from pmigd.core.facts import Definition, DiskFacts, HostDevice
from pmigd.core.printable import printable
from pmigd.schema.validate import show

_DIGITS: Final = re.compile(r"\s*[0-9]{1,20}\s*\Z")
_MAX_SIZE: Final = 2**63 - 1
_KIB_OF: Final = {"b": 1 / 1024, "bytes": 1 / 1024, "KB": 1000 / 1024, "k": 1, "KiB": 1}
_SCALE: Final = {"M": 1024, "G": 1024**2, "T": 1024**3, "P": 1024**4, "E": 1024**5}


def parse(xml: str) -> etree._Element:
    """The root element. Raises etree.XMLSyntaxError; entities and the network are left alone."""
    return etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True))


def definition_of(xml: str) -> Definition:
    """What the checks need of a domain's XML. Raises etree.XMLSyntaxError or ValueError."""
    root = parse(xml)
    kind = root.find("os/type")
    cpu = root.find("cpu")
    memory = _bytes(root.find("memory"))
    return Definition(
        emulator=root.findtext("devices/emulator") or "",
        arch="" if kind is None else kind.get("arch", ""),
        machine="" if kind is None else kind.get("machine", ""),
        virt_type=root.get("type", ""),
        cpu_xml=_comparable(cpu),
        cpu_checked=cpu is not None and cpu.get("check") in ("partial", "full"),
        invariant_tsc=any(
            feature.get("policy") in ("require", "force")
            for feature in root.iterfind("cpu/feature[@name='invtsc']")
        ),
        tsc_frequency=root.find("clock/timer[@name='tsc'][@frequency]") is not None,
        memory_bytes=memory,
        memory_in_one=root.find("cpu/numa") is None and root.find("memoryBacking/source") is None,
        memory_limited=root.find("memtune/hard_limit") is not None,
        hugepages=_hugepages(root, memory),
        disks=tuple(_disk(disk) for disk in root.iterfind("devices/disk")),
        host_devices=_host_devices(root),
        filesystems=tuple(_driver(element) for element in root.iterfind("devices/filesystem")),
        shared_memory=tuple(
            (shmem.get("name", ""), shmem.get("role", "peer"))
            for shmem in root.iterfind("devices/shmem")
        ),
        named=named_of(root),
    )


def xml_fault(xml: str) -> str:
    """Why this cannot be read as a domain's XML, for whom no definition can be made of it."""
    try:
        definition_of(xml)
    except (etree.XMLSyntaxError, ValueError) as error:
        return printable(str(error), 300)
    return ""


def _bytes(element: etree._Element | None) -> int:
    """A size with libvirt's units, which are KiB unless said otherwise."""
    if element is None:
        return 0
    return _size(element.text or "0", element.get("unit", "KiB"), 1024)


def _size(text: str, unit: str, of_kib: int) -> int:
    """A size in parts of a KiB. Raises ValueError: it is no number, or no machine's."""
    if not _DIGITS.match(text):
        raise ValueError(f"{show(text)} is not a size")
    size = round(int(text) * _kib(unit) * of_kib)
    if size > _MAX_SIZE:
        raise ValueError(f"{show(text)} {unit} is more than any machine has")
    return size


def _kib(unit: str) -> float:
    if unit in _KIB_OF:
        return _KIB_OF[unit]
    letter, rest = unit[:1].upper(), unit[1:]
    if letter not in _SCALE or rest not in ("", "B", "iB"):
        raise ValueError(f"unit {show(unit)} is not known")
    if rest != "B":
        return _SCALE[letter]
    return 1000.0 ** ("KMGTPE".index(letter) + 1) / 1024


def _comparable(cpu: etree._Element | None) -> str:
    """The CPU without what is the host's business and not part of a comparison."""
    if cpu is None or not cpu.get("mode"):
        return ""
    kept = copy.deepcopy(cpu)
    for name in ("topology", "numa", "cache"):
        for child in kept.findall(name):
            kept.remove(child)
    return etree.tostring(kept, encoding="unicode").strip()


def _hugepages(root: etree._Element, memory_bytes: int) -> tuple[tuple[int, int], ...]:
    """Pages by size; those of single NUMA nodes are left out, for they have no sum."""
    backing = root.find("memoryBacking/hugepages")
    if backing is None:
        return ()
    pages = backing.findall("page")
    if any(page.get("nodeset") for page in pages):
        return ()
    sizes = [_size(page.get("size", "0"), page.get("unit", "KiB"), 1) for page in pages]
    return tuple((size, memory_bytes) for size in sizes or [0])


def _disk(disk: etree._Element) -> DiskFacts:
    source = disk.find("source")
    target = disk.find("target")
    driver = disk.find("driver")
    kind = disk.get("type", "file")
    values: dict[str, str] = {} if source is None else {str(k): str(v) for k, v in source.items()}
    return DiskFacts(
        target="" if target is None else target.get("dev", ""),
        device=disk.get("device", "disk"),
        kind=kind,
        path={"file": values.get("file", ""), "block": values.get("dev", "")}.get(kind, ""),
        pool=values.get("pool", ""),
        volume=values.get("volume", ""),
        cache="default" if driver is None else driver.get("cache", "default"),
        read_only=disk.find("readonly") is not None,
        shareable=disk.find("shareable") is not None,
        transient=disk.find("transient") is not None,
        optional=values.get("startupPolicy") in ("optional", "requisite"),
    )


def _driver(filesystem: etree._Element) -> str:
    driver = filesystem.find("driver")
    return "path" if driver is None else driver.get("type", "path")


def _host_devices(root: etree._Element) -> tuple[HostDevice, ...]:
    found = []
    for device in root.iterfind("devices/hostdev"):
        subsystem = device.get("mode", "subsystem") == "subsystem"
        found.append(
            HostDevice(
                device.get("type", "") if subsystem else "capabilities", _has_stand_in(device)
            )
        )
    for card in root.iterfind("devices/interface"):
        # A card out of a network's pool of devices is a hostdev in the running guest only.
        actual = card.find("actual")
        kind = card.get("type") if actual is None else actual.get("type")
        if kind in ("hostdev", "vdpa"):
            found.append(HostDevice("pci" if kind == "hostdev" else kind, _has_stand_in(card)))
    return tuple(found)


def _has_stand_in(device: etree._Element) -> bool:
    return device.find("teaming[@type='transient']") is not None
