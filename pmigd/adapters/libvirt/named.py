"""What a domain's XML names that its next host must have, and libvirt's word on it.

The first half reads XML (pure), the second looks things up in a daemon. What each kind means is in
:mod:`pmigd.core.named`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

import libvirt
from lxml import etree

from pmigd.core.named import Asked, Named, asked

# Whatever a text or an attribute at the path names, if it is there: kind, path, attribute ("" is
# the element's text), and what it is called. Nothing here may be made by libvirt when it starts the
# guest: an nvram file is, of its template.
_PATHS: Final = (
    ("file", "os/kernel", "", "kernel"),
    ("file", "os/initrd", "", "initrd"),
    ("file", "os/dtb", "", "device tree"),
    ("file", "os/loader", "", "firmware"),
    ("file", "os/acpi/table", "", "ACPI table"),
    ("file", "devices/*/rom[@file]", "file", "option ROM"),
    ("file", "devices/rng/backend[@model='random']", "", "source of random numbers"),
    ("file", "devices/tpm/backend/device", "path", "TPM"),
    ("file", "devices/memory/source/path", "", "memory device"),
    ("file", "devices/input/source", "dev", "input device"),
    ("file", "devices/input/source", "evdev", "input device"),
    ("directory", "devices/filesystem[@type='mount']/source", "dir", "shared directory"),
    ("socket", "devices/filesystem/source", "socket", "shared directory"),
    ("socket", "devices/disk[@type='vhostuser']/source", "path", "vhost-user disk"),
    ("socket", "devices/shmem/server", "path", "shared memory"),
)
_CHARACTER_DEVICES: Final = ("serial", "parallel", "console", "channel", "smartcard", "redirdev")
_MADE_BY_LIBVIRT: Final = ("/var/lib/libvirt/qemu/", "/run/libvirt/", "/var/run/libvirt/")
_ENUMS: Final = (
    # What of the guest must be among what the host's capabilities list there, and its name.
    ("devices/video/model", "type", "devices/video/enum[@name='modelType']", "video card"),
    ("devices/graphics", "type", "devices/graphics/enum[@name='type']", "kind of graphics"),
    ("devices/tpm", "model", "devices/tpm/enum[@name='model']", "TPM"),
    ("devices/tpm/backend", "type", "devices/tpm/enum[@name='backendModel']", "kind of TPM"),
    ("devices/rng/backend", "model", "devices/rng/enum[@name='backendModel']", "kind of RNG"),
)
_SECRET_TYPES: Final = {
    "ceph": libvirt.VIR_SECRET_USAGE_TYPE_CEPH,
    "iscsi": libvirt.VIR_SECRET_USAGE_TYPE_ISCSI,
    "passphrase": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
    "volume": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
}


def named_of(root: etree._Element) -> tuple[Named, ...]:
    """Everything that a domain's XML names and :data:`pmigd.core.named.KINDS` knows."""
    found = [
        *_paths(root),
        *_of_disks(root),
        *_of_character_devices(root),
        *_of_interfaces(root),
        *_of_graphics(root),
        *_host_devices(root),
        *(
            Named("model", element.get(attribute, ""), called)
            for path, attribute, _enum, called in _ENUMS
            for element in root.iterfind(path)
        ),
    ]
    return tuple(dict.fromkeys(thing for thing in found if thing.name))


def _paths(root: etree._Element) -> Iterator[Named]:
    for kind, path, attribute, called in _PATHS:
        for element in root.iterfind(path):
            text = element.get(attribute, "") if attribute else (element.text or "").strip()
            if text.startswith("/"):
                yield Named(kind, text, called)


def _of_disks(root: etree._Element) -> Iterator[Named]:
    for disk in root.iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        called = f"disk {'' if target is None else target.get('dev', '')}"
        for secret in disk.iterfind(".//secret"):
            yield Named("secret", _secret(secret), called)
        if disk.get("type") == "volume" and source is not None:
            yield Named("volume", f"{source.get('pool')}/{source.get('volume')}", called)
    for secret in root.iterfind("devices/hostdev/source/auth/secret"):
        yield Named("secret", _secret(secret), "iSCSI device")
    for encryption in root.iterfind("devices/tpm/backend/encryption"):
        yield Named("secret", encryption.get("secret", ""), "TPM")


def backing_of(root: etree._Element) -> tuple[Named, ...]:
    """The files below the images of a running guest's disks: the destination follows them anew."""
    found = []
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        for backing in disk.iterfind(".//backingStore/source"):
            path = backing.get("file") or backing.get("dev") or ""
            if path.startswith("/"):
                called = f"disk {'' if target is None else target.get('dev', '')}"
                found.append(Named("backing", path, called))
    return tuple(found)


def _secret(element: etree._Element) -> str:
    """Its UUID, or its type and usage."""
    usage = element.get("usage")
    return element.get("uuid") or (f"{element.get('type')}:{usage}" if usage else "")


def _of_character_devices(root: etree._Element) -> Iterator[Named]:
    """Serial ports and their like; what libvirt names itself it also makes."""
    for tag in _CHARACTER_DEVICES:
        for device in root.iterfind(f"devices/{tag}"):
            yield from _character_device(device, device.get("type", ""), tag)
    for backend in root.iterfind("devices/rng/backend[@model='egd']"):
        yield from _character_device(backend, backend.get("type", ""), "rng")


def _character_device(device: etree._Element, kind: str, called: str) -> Iterator[Named]:
    for source in device.iterfind("source"):
        path = source.get("path", "")
        binds = source.get("mode") == "bind"
        if kind in ("tcp", "udp") and binds:
            yield from _listens(source.get("host", ""), source.get("service", ""), called, kind)
        if not path.startswith("/") or path.startswith(_MADE_BY_LIBVIRT):
            continue
        if kind in ("dev", "pipe"):
            yield Named("file", path, called)
        elif kind == "file" or (kind == "unix" and binds):
            yield Named("directory", str(PurePosixPath(path).parent), called)
        elif kind == "unix":
            yield Named("socket", path, called)


def _of_interfaces(root: etree._Element) -> Iterator[Named]:
    for card in root.iterfind("devices/interface"):
        called = "network card"
        for filterref in card.iterfind("filterref"):
            yield Named("filter", filterref.get("filter", ""), called)
        source = card.find("source")
        if card.get("type") == "vhostuser" and source is not None:
            path = source.get("path", "")
            if source.get("mode") == "client":
                yield Named("socket", path, called)
            elif path.startswith("/") and not path.startswith(_MADE_BY_LIBVIRT):
                yield Named("directory", str(PurePosixPath(path).parent), called)


def _of_graphics(root: etree._Element) -> Iterator[Named]:
    """Listeners of VNC and SPICE. A port that libvirt chooses is chosen anew there."""
    for graphics in root.iterfind("devices/graphics"):
        called = f"{graphics.get('type')} console"
        hosts = [graphics.get("listen", "")]
        hosts += [listen.get("address", "") for listen in graphics.iterfind("listen")]
        fixed = graphics.get("autoport") != "yes"
        ports = [graphics.get(name, "") for name in ("port", "tlsPort") if fixed]
        ports.append(graphics.get("websocket", ""))
        for host in dict.fromkeys(filter(None, hosts)):
            for port in ports:
                yield from _listens(host, port, called, "tcp")


def _listens(host: str, port: str, called: str, protocol: str) -> Iterator[Named]:
    """An address to listen on and, for TCP, the port there. Names are looked up there anew."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not address.is_unspecified:
        yield Named("address", str(address), called)
    if protocol == "tcp" and port.isdigit() and int(port):
        shown = f"[{address}]" if address.version == 6 else str(address)
        yield Named("listener", f"{shown}:{port}", called)


def _host_devices(root: etree._Element) -> Iterator[Named]:
    """Devices of the host that the destination's kernel must show, by their place in /sys."""
    for device in root.iterfind("devices/hostdev[@mode='subsystem']"):
        if device.find("teaming[@type='transient']") is not None:
            continue  # unplugged for the migration
        address = device.find("source/address")
        match device.get("type"):
            case "pci" if address is not None:
                yield Named("device", f"/sys/bus/pci/devices/{_pci(address)}", "PCI device")
            case "mdev" if address is not None:
                path = f"/sys/bus/mdev/devices/{address.get('uuid', '')}"
                yield Named("device", path, "mediated device")
            case "usb":
                yield Named("usb", _usb(device), "USB device")
            case _:
                pass


def _pci(address: etree._Element) -> str:
    domain, bus, slot, function = (
        int(address.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _usb(device: etree._Element) -> str:
    """Vendor and product; empty where libvirt would do without the device."""
    source = device.find("source")
    vendor, product = device.find("source/vendor"), device.find("source/product")
    if source is None or vendor is None or product is None:
        return ""
    if source.get("startupPolicy", "mandatory") != "mandatory":
        return ""
    return f"{int(vendor.get('id', '0'), 16):04x}:{int(product.get('id', '0'), 16):04x}"


# libvirt's word


Lookup = Callable[[libvirt.virConnect, str], object]


def _secret_there(connection: libvirt.virConnect, name: str) -> object:
    kind, colon, usage = name.partition(":")
    if not colon:
        return connection.secretLookupByUUIDString(name)
    return connection.secretLookupByUsage(_SECRET_TYPES.get(kind, 0), usage)


def _volume_there(connection: libvirt.virConnect, name: str) -> object:
    pool, _, volume = name.partition("/")
    return connection.storagePoolLookupByName(pool).storageVolLookupByName(volume)


LOOKUPS: Final[dict[str, Lookup]] = {
    "secret": _secret_there,
    "filter": lambda connection, name: connection.nwfilterLookupByName(name),
    "volume": _volume_there,
}
NOT_THERE: Final = {
    "secret": libvirt.VIR_ERR_NO_SECRET,
    "filter": libvirt.VIR_ERR_NO_NWFILTER,
    # Of a pool that is not there, or not active, another finding tells.
    "volume": libvirt.VIR_ERR_NO_STORAGE_VOL,
}


def is_missing(connection: libvirt.virConnect, thing: Named) -> bool:
    """Whether the daemon says that it has no such thing. Raises libvirtError for another answer."""
    try:
        LOOKUPS[thing.kind](connection, thing.name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == NOT_THERE[thing.kind]:
            return True
        raise
    return False


def to_look_up(named: tuple[Named, ...]) -> Iterator[Named]:
    """Those that :func:`is_missing` is for."""
    return (thing for thing in asked(named, Asked.LIBVIRT) if thing.kind in LOOKUPS)


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
