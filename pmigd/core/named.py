"""What a guest's XML names and its destination must have: looked up there before it is sent.

One table says for each kind who is asked, what its absence is called, and what to do about it. The
destination's libvirt is asked for what it keeps itself, the destination's pmigd for what is on the
host. Only what libvirt or QEMU surely refuses blocks ("measured" is libvirt 9.0 with QEMU 7.2);
what nobody could look at is no finding here. Where an XML names it is in
:mod:`pmigd.adapters.libvirt.named`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pmigd.core.finding import FindingKind, Level, Origin


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that an XML names. `kind` is one of :data:`KINDS`, `by` is what names it.

    Another version may know other kinds: what is not known is not looked up.
    """

    kind: str
    name: str
    by: str = ""


class Asked(StrEnum):
    """Who can say whether the destination has it."""

    LIBVIRT = "libvirt"
    PATH = "path"  # its pmigd, which sees whether a path is there
    HOST = "host"  # its pmigd, which looks in another way
    EITHER = "either"  # its pmigd; where there is none its libvirt, which may not know


@dataclass(frozen=True, slots=True)
class NamedKind:
    """What is fixed about one kind. ``{name}`` and ``{by}`` stand in `detail`.

    `sure`: without it libvirt or QEMU refuses the guest; else its absence is a warning.
    """

    finding: FindingKind
    asked: Asked
    detail: str
    sure: bool = True


def _kind(
    code: str,
    title: str,
    remedy: str,
    *,
    mended: bool = True,
    unsure: bool = False,
) -> FindingKind:
    return FindingKind(
        code,
        title,
        Level.BLOCK,
        Origin.LOOK,
        "destination",
        remedy,
        unsure=unsure,
        mended=mended,
    )


FILE_MISSING: Final = _kind(
    "file_missing",
    "The destination does not have a file that the guest needs.",
    "Copy it there, or give the guest another with 'xml'.",
    unsure=True,
)
DIRECTORY_MISSING: Final = _kind(
    "directory_missing",
    "The destination does not have a directory that the guest needs.",
    "Make it there.",
    unsure=True,
)
DEVICE_MISSING: Final = _kind(
    "device_missing",
    "The destination does not have a device that the guest uses.",
    "Detach it here ('virsh detach-device'), or choose a host that has it.",
)
IMAGE_MISSING: Final = _kind(
    "image_missing",
    "The destination does not have an image of the guest, or what it is based on.",
    "Put it on storage that both hosts see, copy the disk with 'copy_storage': 'all', or, where "
    "only the top is to be copied, create it there over the same backing image.",
    unsure=True,
)
PORT_IN_USE: Final = _kind(
    "port_in_use",
    "Something at the destination listens already on a port that is needed.",
    "End that, or choose another port; for one of the guest's own give it with 'xml'.",
)

KINDS: Final[dict[str, NamedKind]] = {
    # Measured: "Secret not found: no secret with matching uuid".
    "secret": NamedKind(
        _kind(
            "secret_missing",
            "The destination does not have a secret that the guest needs.",
            "Define it there, with its value: 'virsh secret-define', 'virsh secret-set-value'.",
        ),
        Asked.LIBVIRT,
        "The destination has no secret {name}, which {by} needs.",
    ),
    # Measured: "referenced filter 'x' is missing".
    "filter": NamedKind(
        _kind(
            "filter_missing",
            "The destination does not have a network filter of the guest.",
            "'virsh nwfilter-dumpxml' here, 'virsh nwfilter-define' there.",
        ),
        Asked.LIBVIRT,
        "The destination has no network filter '{name}', which {by} refers to.",
    ),
    # Measured: "Network not found".
    "network": NamedKind(
        _kind(
            "network_missing",
            "The destination does not have a network of the guest.",
            "Define and start it there, or give the guest another with 'xml'.",
        ),
        Asked.LIBVIRT,
        "The destination has no network '{name}'.",
    ),
    # Measured: "network 'x' is not active".
    "active_network": NamedKind(
        _kind(
            "network_inactive",
            "A network of the guest is not active at the destination.",
            "'virsh net-start {name}' there.",
        ),
        Asked.LIBVIRT,
        "Network '{name}' is not active at the destination.",
    ),
    # Measured: "Cannot get interface MTU on 'x': No such device".
    "link": NamedKind(
        _kind(
            "bridge_missing",
            "The destination does not have a network device that the guest is attached to.",
            "Make it there, or give the guest another with 'xml'.",
            unsure=True,
        ),
        Asked.EITHER,
        "The destination has no network device '{name}'.",
    ),
    # Measured: "Storage pool not found: no storage pool with matching name".
    "pool": NamedKind(
        _kind(
            "pool_missing",
            "The destination does not have a storage pool of the guest.",
            "Define and start it there.",
        ),
        Asked.LIBVIRT,
        "The destination has no storage pool '{name}'.",
    ),
    # Measured: "storage pool 'x' containing volume 'y' is not active".
    "active_pool": NamedKind(
        _kind(
            "pool_inactive",
            "A storage pool of the guest is not active at the destination.",
            "'virsh pool-start {name}' there.",
        ),
        Asked.LIBVIRT,
        "Storage pool '{name}' is not active at the destination.",
    ),
    # Measured: "Storage volume not found: no storage vol with matching name".
    "volume": NamedKind(
        _kind(
            "volume_missing",
            "The destination does not have a storage volume of the guest.",
            "Create it there ('virsh pool-refresh' if it is there already), or copy the disk.",
        ),
        Asked.LIBVIRT,
        "The destination has no storage volume {name}, which is {by}.",
    ),
    # Measured: "domain configuration does not support ...", "TPM version '2.0' is not supported".
    "model": NamedKind(
        _kind(
            "device_unsupported",
            "The destination's libvirt or QEMU does not have a kind of device of the guest.",
            "Install there what the source has (QEMU's modules, swtpm), or give the guest another.",
            mended=False,
        ),
        Asked.LIBVIRT,
        "The destination's libvirt or QEMU has no {by} '{name}'.",
    ),
    # Measured: "Failed to bind socket: Cannot assign requested address".
    "address": NamedKind(
        _kind(
            "address_missing",
            "The guest listens on an address that is none of the destination.",
            "Give it an address that both hosts have (0.0.0.0, ::), or its own with 'xml'.",
        ),
        Asked.HOST,
        "The guest's {by} listens on {name}, which is no address of the destination.",
    ),
    # Measured: "Failed to bind socket: Address already in use".
    "listener": NamedKind(
        PORT_IN_USE,
        Asked.HOST,
        "The guest's {by} listens on {name}, and at the destination something else does already.",
    ),
    # Libvirt: "Did not find USB device 1234:beef".
    "usb": NamedKind(DEVICE_MISSING, Asked.HOST, "The destination has no USB device {name}."),
    # Measured: "unable to stat: /x: No such file or directory", "could not load PC BIOS '/x'".
    "file": NamedKind(
        FILE_MISSING, Asked.PATH, "The destination does not have {name}, the guest's {by}."
    ),
    "template": NamedKind(
        FILE_MISSING,
        Asked.PATH,
        "The destination does not have {name}, of which libvirt makes the guest's {by} anew where "
        "that is not there.",
        sure=False,
    ),
    # Measured: "Cannot access backing file '/x' of storage file '/y'".
    "backing": NamedKind(
        IMAGE_MISSING,
        Asked.PATH,
        "The destination does not have {name}, which the image of {by} is based on.",
    ),
    # Measured: "Failed to create file '/x/y'", "Unable to bind to UNIX socket path".
    "directory": NamedKind(
        DIRECTORY_MISSING,
        Asked.PATH,
        "The destination has no directory {name}, which the guest's {by} is in.",
    ),
    "state": NamedKind(
        DIRECTORY_MISSING,
        Asked.PATH,
        "The destination has no directory {name}, where the guest's {by} is kept.",
        sure=False,
    ),
    # Measured: "unable to stat: /x.sock: No such file or directory".
    "socket": NamedKind(
        _kind(
            "socket_missing",
            "The destination does not have a socket that the guest connects to.",
            "Start there what serves it.",
        ),
        Asked.PATH,
        "The destination has no socket {name}, which the guest's {by} connects to.",
    ),
    # Libvirt: "Device 0000:01:00.0 not found", "mediated device '...' not found".
    "device": NamedKind(DEVICE_MISSING, Asked.PATH, "The destination has no {by} ({name})."),
    # Libvirt: "NUMA node 1 is unavailable".
    "node": NamedKind(
        FindingKind(
            "numa_node_missing",
            "The destination does not have a NUMA node that the guest's memory is bound to.",
            Level.WARN,
            Origin.LOOK,
            "destination",
            "Bind it to nodes that both hosts have: 'virsh numatune', or its own with 'xml'.",
        ),
        Asked.PATH,
        "The destination has no NUMA node {name}, which the guest's {by} is bound to.",
    ),
}


def paths(named: Iterable[Named]) -> tuple[str, ...]:
    """Those that the host is asked for as paths."""
    return tuple(thing.name for thing in asked(named, Asked.PATH))


def asked(named: Iterable[Named], *whom: Asked) -> Iterator[Named]:
    """Those that are looked up in one of these ways."""
    return (thing for thing in named if thing.kind in KINDS and KINDS[thing.kind].asked in whom)
