"""What a domain's XML names that its next host must have, and libvirt's word on it.

The first half reads XML (pure), by one table of what libvirt and QEMU will look up when the guest
starts there. The second looks things up in a daemon. What each kind means is in
:mod:`pmigd.core.named`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, cast

import libvirt
from lxml import etree

from pmigd.core.named import Asked, Named, asked

_MADE_BY_LIBVIRT: Final = ("/var/lib/libvirt/qemu/", "/run/libvirt/", "/var/run/libvirt/")
"""What libvirt names itself it also makes."""
_NODES: Final = re.compile(r"(\^?)(\d+)(?:-(\d+))?")
_MOST_NODES: Final = 1024

# How what an XPath leads to, an attribute, a text or an element, is read.


def _as_written(value: str) -> Iterator[str]:
    yield value.strip()


def _path(value: str) -> Iterator[str]:
    if value.strip().startswith("/"):
        yield value.strip()


def _foreign(value: str) -> Iterator[str]:
    """A path that libvirt does not make itself."""
    return (path for path in _path(value) if not path.startswith(_MADE_BY_LIBVIRT))


def _folder(value: str) -> Iterator[str]:
    """The directory of a file that is made when the guest starts."""
    return (str(PurePosixPath(path).parent) for path in _foreign(value))


def _secret(element: etree._Element) -> Iterator[str]:
    """Its UUID, or its type and usage."""
    usage = element.get("usage")
    yield element.get("uuid") or (f"{element.get('type')}:{usage}" if usage else "")


def _volume(source: etree._Element) -> Iterator[str]:
    yield f"{source.get('pool')}/{source.get('volume')}"


def _pci(address: etree._Element) -> Iterator[str]:
    """Its place in /sys."""
    domain, bus, slot, function = (
        int(address.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")
    )
    yield f"/sys/bus/pci/devices/{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _mdev(address: etree._Element) -> Iterator[str]:
    yield f"/sys/bus/mdev/devices/{address.get('uuid', '')}"


def _scsi(source: etree._Element) -> Iterator[str]:
    adapter, address = source.find("adapter"), source.find("address")
    name = "" if adapter is None else adapter.get("name", "")
    if address is not None and name.startswith("scsi_host"):
        place = ":".join(address.get(part, "0") for part in ("bus", "target", "unit"))
        yield f"/sys/bus/scsi/devices/{name.removeprefix('scsi_host')}:{place}"


def _usb(source: etree._Element) -> Iterator[str]:
    """Vendor and product, if libvirt would not do without the device."""
    vendor, product = source.find("vendor"), source.find("product")
    if vendor is not None and product is not None and _mandatory(source):
        yield f"{int(vendor.get('id', '0'), 16):04x}:{int(product.get('id', '0'), 16):04x}"


def _usb_place(source: etree._Element) -> Iterator[str]:
    """Where it is plugged in, if that alone says which it is."""
    address = source.find("address")
    if address is not None and source.find("vendor") is None and _mandatory(source):
        numbers = (address.get(name, "0") for name in ("bus", "device"))
        bus, device = (int(n, 16 if n.startswith("0x") else 10) for n in numbers)
        yield f"/dev/bus/usb/{bus:03}/{device:03}"


def _mandatory(source: etree._Element) -> bool:
    return source.get("startupPolicy", "mandatory") == "mandatory"


def _nodes(value: str) -> Iterator[str]:
    """NUMA nodes as libvirt lists them: "0-2,4,^1"."""
    kept: set[int] = set()
    for part in value.split(","):
        match = _NODES.fullmatch(part.strip())
        if match is None:
            return
        first, last = int(match[2]), int(match[3] or match[2])
        nodes = range(first, min(last, _MOST_NODES) + 1)
        kept = kept - set(nodes) if match[1] else kept | set(nodes)
    yield from (f"/sys/devices/system/node/node{node}" for node in sorted(kept))


def _vsock(_element: etree._Element) -> Iterator[str]:
    yield "/dev/vhost-vsock"


def _address(host: str) -> Iterator[str]:
    """An address to listen on. Names are looked up there anew."""
    for address in _addresses(host):
        if not address.is_unspecified:
            yield str(address)


def _listener(source: etree._Element) -> Iterator[str]:
    """Where a TCP port is listened on."""
    host = source.get("host", source.get("address", ""))
    yield from _ports(host, [source.get("service", source.get("port", ""))])


def _console(graphics: etree._Element) -> Iterator[str]:
    """The ports of VNC and SPICE. One that libvirt chooses is chosen anew there."""
    hosts = [graphics.get("listen", "")]
    hosts += [listen.get("address", "") for listen in graphics.iterfind("listen")]
    fixed = graphics.get("autoport") != "yes"
    ports = [graphics.get(name, "") for name in ("port", "tlsPort") if fixed]
    ports.append(graphics.get("websocket", ""))
    for host in filter(None, hosts):
        yield from _ports(host, ports)


def _ports(host: str, ports: Iterable[str]) -> Iterator[str]:
    for address in _addresses(host):
        shown = f"[{address}]" if address.version == 6 else str(address)
        yield from (f"{shown}:{port}" for port in ports if port.isdigit() and int(port))


def _addresses(host: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        yield ipaddress.ip_address(host)
    except ValueError:
        return


@dataclass(frozen=True, slots=True)
class _Row:
    """Where an XML names things of a kind: an XPath, and how what it leads to is read.

    `called`: what it is to people; without it, the device that it stands in.
    """

    kind: str
    xpath: str
    read: Callable[[Any], Iterator[str]] = _path
    called: str = ""


_CHARACTER: Final = (
    "(devices/*[self::serial or self::parallel or self::console or self::channel"
    " or self::smartcard or self::redirdev] | devices/rng/backend[@model='egd'])"
)
"""Serial ports and their like."""
_HOSTDEV: Final = "devices/hostdev[@mode='subsystem'][not(teaming/@type='transient')]"
"""One with a stand-in is unplugged for the migration."""
_CARD: Final = "devices/interface[not(teaming/@type='transient')]"
_NETWORKS: Final = (
    "devices/interface[@type='network']/source/@network"
    " | devices/graphics/listen[@type='network']/@network"
)
_POOLS: Final = "devices/disk/source/@pool"
_LINKS: Final = (
    "devices/interface[@type='bridge']/source/@bridge"
    " | devices/interface[@type='direct']/source/@dev"
    " | devices/interface[@type='ethernet']/target[@managed='no']/@dev"
)

TABLE: Final = (
    # What the daemon itself keeps
    _Row("secret", "devices/disk//secret", _secret),
    _Row("secret", "devices/hostdev/source/auth/secret", _secret, "iSCSI device"),
    _Row("secret", "devices/tpm/backend/encryption/@secret", _as_written, "TPM"),
    _Row("filter", "devices/interface/filterref/@filter", _as_written, "network card"),
    _Row("network", _NETWORKS, _as_written, "network card"),
    _Row("active_network", _NETWORKS, _as_written, "network card"),
    _Row("pool", _POOLS, _as_written),
    _Row("active_pool", _POOLS, _as_written),
    _Row("volume", "devices/disk[@type='volume']/source", _volume),
    # Firmware and what is started with the guest. An nvram file is made by libvirt, of its
    # template; the directories of what is made are there already.
    _Row("file", "os/kernel/text()", called="kernel"),
    _Row("file", "os/initrd/text()", called="initrd"),
    _Row("file", "os/dtb/text()", called="device tree"),
    _Row("file", "os/shim/text()", called="shim"),
    _Row("file", "os/loader/text()", called="firmware"),
    _Row("file", "os/acpi/table/text()", called="ACPI table"),
    _Row("file", "os/nvram/source/@dev", called="NVRAM"),
    _Row("template", "os/nvram/@template", called="NVRAM"),
    _Row("state", "os/nvram/text() | os/nvram/source/@file", _folder, "NVRAM"),
    _Row("file", "sysinfo/entry/@file", called="firmware configuration"),
    _Row("file", "devices/*/rom/@file", called="option ROM"),
    _Row("state", "devices/pstore/path/text()", _folder, "pstore"),
    # Memory
    _Row("file", "devices/memory/source/path/text()", called="memory device"),
    _Row("node", "numatune/*/@nodeset", _nodes, "memory"),
    _Row("node", "devices/memory/source/nodemask/text()", _nodes, "memory device"),
    _Row("socket", "devices/shmem/server/@path", called="shared memory"),
    # Disks; their images are in DiskFacts
    _Row("socket", "devices/disk[@type='vhostuser']/source/@path"),
    _Row("device", "devices/disk[@type='vhostvdpa']/source/@dev"),
    _Row("device", "devices/disk[@type='nvme']/source/address", _pci),
    _Row("socket", "devices/disk/source/host[@transport='unix']/@socket"),
    _Row("socket", "devices/disk//reservations[@managed='no']/source/@path"),
    _Row("file", "devices/disk/source/config/@file"),
    _Row("file", "devices/disk/source/identity/@keyfile"),
    _Row("file", "blkiotune/device/path/text()", called="disk with a weight or a limit"),
    # Directories
    _Row("directory", "devices/filesystem[@type='mount']/source/@dir", called="shared directory"),
    _Row("socket", "devices/filesystem/source/@socket", called="shared directory"),
    _Row("file", "devices/filesystem/binary/@path", called="virtiofsd"),
    # Network
    _Row("link", _LINKS, _as_written, "network card"),
    _Row("file", "devices/interface[@type='ethernet']/script/@path", called="network script"),
    _Row("device", "devices/interface/backend/@tap", called="network card"),
    _Row("device", "devices/interface/backend/@vhost", called="network card"),
    _Row("directory", "devices/interface/backend/@logFile", _folder, "network card"),
    _Row("device", f"{_CARD}[@type='vdpa']/source/@dev", called="vDPA device"),
    _Row("device", f"{_CARD}[@type='hostdev']/source/address[@type='pci']", _pci, "PCI device"),
    _Row(
        "socket",
        "devices/interface[@type='vhostuser']/source[@mode='client']/@path",
        called="network card",
    ),
    _Row(
        "directory",
        "devices/interface[@type='vhostuser']/source[@mode!='client']/@path",
        _folder,
        "network card",
    ),
    _Row("address", "devices/interface[@type='server']/source/@address", _address, "network card"),
    _Row("listener", "devices/interface[@type='server']/source", _listener, "network card"),
    # Serial ports and their like
    _Row("file", f"{_CHARACTER}[@type='dev' or @type='pipe']/source/@path", _foreign),
    _Row("directory", f"{_CHARACTER}[@type='file']/source/@path", _folder),
    _Row("directory", f"{_CHARACTER}[@type='unix']/source[@mode='bind']/@path", _folder),
    _Row("socket", f"{_CHARACTER}[@type='unix']/source[not(@mode='bind')]/@path", _foreign),
    _Row("directory", "devices/*/log/@file", _folder),
    _Row("directory", "devices/smartcard/database/text()"),
    _Row(
        "address",
        f"{_CHARACTER}[@type='tcp' or @type='udp']/source[@mode='bind']/@host",
        _address,
    ),
    _Row("listener", f"{_CHARACTER}[@type='tcp']/source[@mode='bind']", _listener),
    # Consoles for people
    _Row("address", "devices/graphics/@listen | devices/graphics/listen/@address", _address),
    _Row("listener", "devices/graphics", _console),
    _Row("directory", "devices/graphics/listen[@type='socket']/@socket", _folder),
    _Row("file", "devices/graphics/gl/@rendernode", called="graphics card"),
    _Row("file", "devices/video/model/acceleration/@rendernode", called="graphics card"),
    _Row("file", "devices/input/source/@dev", called="input device"),
    _Row("file", "devices/input/source/@evdev", called="input device"),
    # TPM, random numbers, vsock
    _Row("file", "devices/tpm/backend/device/@path", called="TPM"),
    _Row("state", "devices/tpm/backend[@type='emulator']/source/@path", _folder, "TPM"),
    _Row("socket", "devices/tpm/backend[@type='external']/source/@path", called="TPM"),
    _Row("file", "devices/rng/backend[@model='random']/text()", called="source of random numbers"),
    _Row("device", "devices/vsock", _vsock, "device for vsock"),
    # Devices of the host, by what its kernel shows of them
    _Row("device", f"{_HOSTDEV}[@type='pci']/source/address", _pci, "PCI device"),
    _Row("device", f"{_HOSTDEV}[@type='mdev']/source/address", _mdev, "mediated device"),
    _Row("device", f"{_HOSTDEV}[@type='scsi']/source", _scsi, "SCSI device"),
    _Row("usb", f"{_HOSTDEV}[@type='usb']/source", _usb, "USB device"),
    _Row("device", f"{_HOSTDEV}[@type='usb']/source", _usb_place, "USB device"),
)
"""Where a domain's XML names what libvirt or QEMU will look up on its next host.

Nothing that libvirt makes when it starts the guest is in it.
"""

_ENUMS: Final = (
    # What of the guest must be among what the host's capabilities list there, and its name.
    ("devices/video/model", "type", "devices/video/enum[@name='modelType']", "video card"),
    ("devices/graphics", "type", "devices/graphics/enum[@name='type']", "kind of graphics"),
    ("devices/tpm", "model", "devices/tpm/enum[@name='model']", "TPM"),
    ("devices/tpm/backend", "type", "devices/tpm/enum[@name='backendModel']", "kind of TPM"),
    ("devices/rng/backend", "model", "devices/rng/enum[@name='backendModel']", "kind of RNG"),
)
_ROWS: Final = tuple(
    (row, etree.XPath(row.xpath))
    for row in (
        *TABLE,
        *(
            _Row("model", f"{path}/@{attribute}", _as_written, called)
            for path, attribute, _enum, called in _ENUMS
        ),
    )
)


def named_of(root: etree._Element) -> tuple[Named, ...]:
    """Everything that a domain's XML names and :data:`TABLE` knows. Raises ValueError."""
    found = (
        Named(row.kind, name, row.called or _device_of(led_to))
        for row, leads in _ROWS
        for led_to in cast("list[Any]", leads(root))
        for name in row.read(led_to)
        if name
    )
    return tuple(dict.fromkeys(found))


def _device_of(led_to: Any) -> str:
    """What people call the device that this stands in."""
    element = led_to if etree.iselement(led_to) else led_to.getparent()
    while (above := element.getparent()) is not None and above.tag != "devices":
        element = above
    if element.tag == "disk":
        target = element.find("target")
        return f"disk {'' if target is None else target.get('dev', '')}"
    if element.tag == "graphics":
        return f"{element.get('type')} console"
    return str(element.tag)


def backing_of(root: etree._Element) -> tuple[Named, ...]:
    """The files below the images of a running guest's disks: the destination follows them anew."""
    found = []
    for source in root.iterfind("devices/disk//backingStore/source"):
        path = source.get("file") or source.get("dev") or ""
        if path.startswith("/"):
            found.append(Named("backing", path, _device_of(source)))
    return tuple(found)


# libvirt's word


@dataclass(frozen=True, slots=True)
class _Lookup:
    """`find` gives what there is, or False. `absent`: the code with which the daemon says no.

    `elsewhere`: the code for which another kind has a finding.
    """

    find: Callable[[libvirt.virConnect, str], object]
    absent: int | None
    elsewhere: tuple[int, ...] = ()


_SECRET_TYPES: Final = {
    "ceph": libvirt.VIR_SECRET_USAGE_TYPE_CEPH,
    "iscsi": libvirt.VIR_SECRET_USAGE_TYPE_ISCSI,
    "passphrase": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
    "volume": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
}


def _secret_there(connection: libvirt.virConnect, name: str) -> object:
    kind, colon, usage = name.partition(":")
    if not colon:
        return connection.secretLookupByUUIDString(name)
    return connection.secretLookupByUsage(_SECRET_TYPES.get(kind, 0), usage)


def _volume_there(connection: libvirt.virConnect, name: str) -> object:
    pool, _, volume = name.partition("/")
    found = connection.storagePoolLookupByName(pool)
    return found.storageVolLookupByName(volume) if found.isActive() else found


_NO_NETWORK: Final = libvirt.VIR_ERR_NO_NETWORK
_NO_POOL: Final = libvirt.VIR_ERR_NO_STORAGE_POOL

LOOKUPS: Final[dict[str, _Lookup]] = {
    "secret": _Lookup(_secret_there, libvirt.VIR_ERR_NO_SECRET),
    "filter": _Lookup(lambda c, name: c.nwfilterLookupByName(name), libvirt.VIR_ERR_NO_NWFILTER),
    "network": _Lookup(lambda c, name: c.networkLookupByName(name), _NO_NETWORK),
    "active_network": _Lookup(
        lambda c, name: bool(c.networkLookupByName(name).isActive()), None, (_NO_NETWORK,)
    ),
    "link": _Lookup(lambda c, name: c.interfaceLookupByName(name), libvirt.VIR_ERR_NO_INTERFACE),
    "pool": _Lookup(lambda c, name: c.storagePoolLookupByName(name), _NO_POOL),
    "active_pool": _Lookup(
        lambda c, name: bool(c.storagePoolLookupByName(name).isActive()), None, (_NO_POOL,)
    ),
    "volume": _Lookup(_volume_there, libvirt.VIR_ERR_NO_STORAGE_VOL, (_NO_POOL,)),
}


def is_missing(connection: libvirt.virConnect, thing: Named) -> bool:
    """Whether the daemon says that it has no such thing. Raises libvirtError for another answer."""
    lookup = LOOKUPS[thing.kind]
    try:
        return lookup.find(connection, thing.name) is False
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        if code == lookup.absent:
            return True
        if code in lookup.elsewhere:
            return False
        raise


def to_look_up(named: tuple[Named, ...]) -> Iterator[Named]:
    """Those that :func:`is_missing` is for."""
    return (t for t in asked(named, Asked.LIBVIRT, Asked.EITHER) if t.kind in LOOKUPS)


def models_lacking(named: tuple[Named, ...], capabilities: etree._Element) -> Iterator[Named]:
    """The models that a host's domain capabilities list others than."""
    for _path, _attribute, enum, called in _ENUMS:
        device = capabilities.find(enum.rpartition("/")[0])
        if device is None:
            continue  # this libvirt does not say
        known = {value.text for value in capabilities.iterfind(f"{enum}/value")}
        if not known and device.get("supported") != "no":
            continue
        yield from (
            thing
            for thing in named
            if thing.kind == "model" and thing.by == called and thing.name not in known
        )
