"""What a guest's XML names and its destination must have: looked up there before it is sent.

One table says for each kind who is asked, what its absence is called, and what to do about it. The
destination's libvirt is asked for what it keeps itself, the destination's pmigd for what is on the
host. Only what libvirt or QEMU surely refuses is in the table ("measured" is libvirt 9.0 with QEMU
7.2); what nobody could look at is no finding here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pmigd.core.finding import Finding, Level, Origin
from pmigd.core.problem import Code


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


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about one kind. ``{name}`` and ``{by}`` stand in `detail`.

    `mended`: when the guest comes, a hook there may make it or take it out of the XML.
    """

    code: str
    asked: Asked
    detail: str
    remedy: str
    mended: bool = True


_FILE_REMEDY: Final = "Copy it there, or give the guest another with 'xml'."

KINDS: Final[dict[str, Kind]] = {
    # Measured: "Secret not found: no secret with matching uuid".
    "secret": Kind(
        "secret_missing",
        Asked.LIBVIRT,
        "The destination has no secret {name}, which {by} needs.",
        "Define it there, with its value: 'virsh secret-define', 'virsh secret-set-value'.",
    ),
    # Measured: "referenced filter 'x' is missing".
    "filter": Kind(
        "filter_missing",
        Asked.LIBVIRT,
        "The destination has no network filter '{name}', which {by} refers to.",
        "'virsh nwfilter-dumpxml' here, 'virsh nwfilter-define' there.",
    ),
    # Measured: "Storage volume not found: no storage vol with matching name".
    "volume": Kind(
        "volume_missing",
        Asked.LIBVIRT,
        "The destination has no storage volume {name}, which is {by}.",
        "Create it there ('virsh pool-refresh' if it is there already), or copy the disk.",
    ),
    # Measured: "domain configuration does not support ...", "TPM version '2.0' is not supported".
    "model": Kind(
        "device_unsupported",
        Asked.LIBVIRT,
        "The destination's libvirt or QEMU has no {by} '{name}'.",
        "Install there what the source has (QEMU's modules, swtpm), or give the guest another.",
        mended=False,
    ),
    # Measured: "Failed to bind socket: Cannot assign requested address".
    "address": Kind(
        "address_missing",
        Asked.HOST,
        "The guest's {by} listens on {name}, which is no address of the destination.",
        "Give it an address that both hosts have (0.0.0.0, ::), or its own with 'xml'.",
    ),
    # Measured: "Failed to bind socket: Address already in use".
    "listener": Kind(
        "port_in_use",
        Asked.HOST,
        "The guest's {by} listens on {name}, and at the destination something else does already.",
        "End that, or give the guest another port with 'xml'.",
        mended=False,
    ),
    # Libvirt: "Did not find USB device 1234:beef".
    "usb": Kind(
        "device_missing",
        Asked.HOST,
        "The destination has no USB device {name}.",
        "Plug it in there, or detach it here ('virsh detach-device').",
    ),
    # Measured: "unable to stat: /x: No such file or directory", "could not load PC BIOS '/x'".
    "file": Kind(
        "file_missing",
        Asked.PATH,
        "The destination does not have {name}, the guest's {by}.",
        _FILE_REMEDY,
    ),
    # Measured: "Cannot access backing file '/x' of storage file '/y'".
    "backing": Kind(
        "image_missing",
        Asked.PATH,
        "The destination does not have {name}, which the image of {by} is based on.",
        "Put it on storage that both hosts see, or copy the disk with 'copy_storage'.",
    ),
    # Measured: "Failed to create file '/x/y'", "Unable to bind to UNIX socket path".
    "directory": Kind(
        "directory_missing",
        Asked.PATH,
        "The destination has no directory {name}, which the guest's {by} is in.",
        "Make it there.",
    ),
    # Measured: "unable to stat: /x.sock: No such file or directory".
    "socket": Kind(
        "socket_missing",
        Asked.PATH,
        "The destination has no socket {name}, which the guest's {by} connects to.",
        "Start there what serves it.",
    ),
    # Libvirt: "Device 0000:01:00.0 not found", "mediated device '...' not found".
    "device": Kind(
        "device_missing",
        Asked.PATH,
        "The destination has no {by} ({name}).",
        "Detach it here ('virsh detach-device'), or choose a host that has it.",
    ),
}

_TOLD: Final = frozenset(str(code) for code in Code)


def paths(named: Iterable[Named]) -> tuple[str, ...]:
    """Those that the host is asked for as paths."""
    return tuple(thing.name for thing in named if _asked(thing) is Asked.PATH)


def asked(named: Iterable[Named], who: Asked) -> Iterator[Named]:
    """Those that are looked up with `who`."""
    return (thing for thing in named if _asked(thing) is who)


def lacking(
    named: Iterable[Named],
    missing: Collection[Named],
    paths_missing: Collection[str],
    exempt: Collection[str],
) -> Iterator[Finding]:
    """One finding for each that is missing. `exempt`: of these disks nothing has to be there."""
    for thing in dict.fromkeys(named):
        kind = KINDS.get(thing.kind)
        if kind is None or thing.by in exempt:
            continue
        if thing in missing or (kind.asked is Asked.PATH and thing.name in paths_missing):
            yield Finding(
                kind.code,
                Level.BLOCK,
                kind.detail.format(name=thing.name, by=thing.by),
                kind.remedy,
                "destination",
                Code(kind.code) if kind.code in _TOLD else Code.CHECK_FAILED,
                Origin.LOOK,
            )


def _asked(thing: Named) -> Asked | None:
    kind = KINDS.get(thing.kind)
    return None if kind is None else kind.asked
