"""What systemd is told, read from a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmigd.adapters.system.sdnotify import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        if request.param == "path":
            address = str(tmp_path / "notify")
            receiver.bind(address)
        else:
            address = f"@pmigd-test-{os.getpid()}"
            receiver.bind("\0" + address[1:])
        receiver.settimeout(5)
        yield receiver, address


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for sent, expected in (
        (notifier.ready("2 running"), b"READY=1\nSTATUS=2 running"),
        (notifier.ready(), b"READY=1"),
        (notifier.reloading(123456789), b"RELOADING=1\nMONOTONIC_USEC=123456789"),
        (notifier.stopping("leaving"), b"STOPPING=1\nSTATUS=leaving"),
        (notifier.status("caf\u00e9"), "STATUS=caf\u00e9".encode()),
        (notifier.watchdog(), b"WATCHDOG=1"),
    ):
        assert sent
        assert receiver.recv(4096) == expected


def test_a_status_cannot_set_another_variable(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    Notifier({"NOTIFY_SOCKET": address}).status("guest\nMAINPID=1\0" + "x" * 10_000)
    message = receiver.recv(65536)
    assert b"\n" not in message
    assert message.startswith(rb"STATUS=guest\x0aMAINPID=1\x00x")
    assert len(message) < 600


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"},
                                         {"NOTIFY_SOCKET": "vsock:2:1"}])  # fmt: skip
def test_outside_systemd_nothing_happens(environment: dict[str, str]) -> None:
    assert Notifier(environment).ready() is False


def test_a_manager_that_is_gone_or_full_neither_blocks_nor_raises(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    assert Notifier({"NOTIFY_SOCKET": address}).ready() is False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        assert not all(notifier.watchdog() for _ in range(100_000))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
        ({"WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "-1", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "42"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time_by_the_process_it_is_meant_for(
    environment: dict[str, str], expected: float | None
) -> None:
    assert watchdog_interval_s(environment, 42) == expected
