"""What a guest's XML names, looked for on this host: addresses, listeners, links, USB devices.

Reads only, and never connects to anything.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pmigd.adapters.system.network import is_ours
from pmigd.core.named import Asked, Named, asked

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Listener = tuple[Address, int]

_LISTENING: Final = "0A"
_USB: Final = Path("/sys/bus/usb/devices")
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def lacking(named: Iterable[Named], *, arriving: bool) -> tuple[Named, ...]:
    """Those that this host has not, or that are taken.

    Of the host that the guest is on (not `arriving`), its own listeners are there, of course.
    Raises OSError.
    """
    found = []
    for thing in asked(named, Asked.HOST, Asked.EITHER):
        if thing.kind == "listener" and not arriving:
            continue
        there = _LOOKS.get(thing.kind)
        if there is not None and not there(thing.name):
            found.append(thing)
    return tuple(found)


def _ours(name: str) -> bool:
    address = ipaddress.ip_address(name)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return is_ours(family, (name, 0))


def _free(name: str) -> bool:
    """Whether nothing listens there: on that address, or on all of its kind."""
    host, _, port = name.rpartition(":")
    wanted = ipaddress.ip_address(host.strip("[]"))
    return not any(
        taken.version == wanted.version
        and at == int(port)
        and (taken == wanted or taken.is_unspecified or wanted.is_unspecified)
        for taken, at in _listeners()
    )


def _listeners() -> Iterator[Listener]:
    for table in _TABLES:
        with suppress(FileNotFoundError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                _slot, local, _remote, state = line.split()[:4]
                if state == _LISTENING:
                    address, _, port = local.partition(":")
                    yield _address(address), int(port, 16)


def _address(digits: str) -> Address:
    """The kernel writes an address as words of 32 bits, each in the byte order of the machine."""
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return ipaddress.ip_address(packed)


def _is_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _plugged_in(name: str) -> bool:
    vendor, _, product = name.partition(":")
    return any(
        _word(device / "idVendor") == vendor and _word(device / "idProduct") == product
        for device in (_USB.iterdir() if _USB.is_dir() else ())
    )


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


_LOOKS: Final[dict[str, Callable[[str], bool]]] = {
    "address": _ours,
    "link": _is_link,
    "listener": _free,
    "usb": _plugged_in,
}
