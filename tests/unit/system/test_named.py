"""What a guest names, looked for on this machine."""

from __future__ import annotations

import socket
import sys

import pytest

from pmigd.adapters.system import named as module
from pmigd.adapters.system.named import not_here
from pmigd.core.named import Named


def missing(*things: tuple[str, str], arriving: bool = True) -> list[str]:
    found = not_here([Named(*thing) for thing in things], arriving=arriving)
    return [thing.name for thing in found]


def test_an_address_of_another_host_is_none_of_ours() -> None:
    asked = (("address", "127.0.0.1"), ("address", "192.0.2.7"), ("address", "2001:db8::7"))
    assert missing(*asked) == ["192.0.2.7", "2001:db8::7"]
    # The host that the guest is on is asked the same, as a control.
    assert missing(*asked, arriving=False) == ["192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize(
    ("bound", "wanted", "taken"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.2", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "[::1]", False),
    ],
)
def test_a_port_is_taken_where_both_could_not_listen(bound: str, wanted: str, taken: bool) -> None:
    with socket.create_server((bound, 0)) as listener:
        name = f"{wanted}:{listener.getsockname()[1]}"
        assert missing(("listener", name)) == ([name] if taken else [])
        # At home it is the guest itself that listens.
        assert missing(("listener", name), arriving=False) == []
    assert missing(("listener", name)) == []


def test_ipv6_listeners_are_read_as_the_kernel_writes_them() -> None:
    digits = "".join(
        int.from_bytes(socket.inet_pton(socket.AF_INET6, "2001:db8::7")[at : at + 4], sys.byteorder)
        .to_bytes(4, "big")
        .hex()
        for at in range(0, 16, 4)
    )
    assert str(module._address(digits)) == "2001:db8::7"


def test_a_usb_device_is_known_by_vendor_and_product(tmp_path, monkeypatch) -> None:
    device = tmp_path / "1-1"
    device.mkdir()
    (tmp_path / "usb1").mkdir()
    (device / "idVendor").write_text("1234\n")
    (device / "idProduct").write_text("beef\n")
    monkeypatch.setattr(module, "_USB", tmp_path)
    assert missing(("usb", "1234:beef"), ("usb", "1234:dead")) == ["1234:dead"]


def test_what_is_asked_of_others_and_what_is_not_known_is_left_alone() -> None:
    assert missing(("file", "/nowhere"), ("secret", "u"), ("hologram", "x")) == []
