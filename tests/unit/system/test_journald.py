"""Entries for systemd's journal, read from a socket as journald would read them."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmigd.adapters.system.journald import Journald, leads_to_journald


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "socket"))
        reader.settimeout(5)
        yield reader


@pytest.fixture
def unsent() -> list[int]:
    return []


@pytest.fixture
def journald(tmp_path: Path, unsent: list[int]) -> Journald:
    return Journald(lambda: unsent.append(1), tmp_path / "socket")


def parsed(entry: bytes) -> list[tuple[str, bytes]]:
    """The fields, by the protocol's two forms."""
    found = []
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, plain, value = line.partition(b"=")
        if not plain:
            size = int.from_bytes(entry[:8], "little")
            value, end, entry = entry[8 : 8 + size], entry[8 + size : 9 + size], entry[9 + size :]
            assert end == b"\n"
        found.append((name.decode(), value))
    return found


def test_fields_arrive_as_they_are(journald: Journald, reader: socket.socket) -> None:
    assert journald.send([("MESSAGE", "a = b"), ("PMIGD_DOMAIN", "wéb1"), ("PMIGD_PEER", "")])
    assert parsed(reader.recv(1 << 16)) == [
        ("MESSAGE", b"a = b"),
        ("PMIGD_DOMAIN", "wéb1".encode()),
        ("PMIGD_PEER", b""),
    ]


def test_no_value_can_set_another_field(journald: Journald, reader: socket.socket) -> None:
    name = "vm\nPRIORITY=0\nMESSAGE=all is well\udcff"
    assert journald.send([("PMIGD_DOMAIN", name), ("PRIORITY", "6")])
    assert parsed(reader.recv(1 << 16)) == [
        ("PMIGD_DOMAIN", name.encode(errors="backslashreplace")),
        ("PRIORITY", b"6"),
    ]


def test_what_is_too_big_for_a_datagram_goes_as_a_file_that_nobody_can_change(
    journald: Journald, reader: socket.socket, unsent: list[int]
) -> None:
    message = "x" * (8 << 20)
    assert journald.send([("MESSAGE", message)])
    data, (descriptor,), _, _ = socket.recv_fds(reader, 16, 1)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        assert parsed(file.read()) == [("MESSAGE", message.encode())]
        seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    assert data == b""
    assert seals & fcntl.F_SEAL_WRITE
    assert seals & fcntl.F_SEAL_SHRINK
    assert unsent == []


@pytest.mark.timeout(10)
def test_a_journal_that_does_not_read_is_not_waited_for(
    journald: Journald, reader: socket.socket, unsent: list[int]
) -> None:
    # The kernel queues a few, then a sender that waits would wait for ever.
    taken = [journald.send([("MESSAGE", "x")]) for _ in range(5000)]
    assert taken[0]
    assert not taken[-1]
    assert len(unsent) == taken.count(False)


def test_a_journal_that_is_gone_and_comes_back_is_found_again(
    journald: Journald, tmp_path: Path, unsent: list[int]
) -> None:
    assert not journald.send([("MESSAGE", "to nobody")])
    assert unsent == [1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as back:
        back.bind(str(tmp_path / "socket"))
        assert journald.send([("MESSAGE", "again")])
        assert back.recv(100) == b"MESSAGE=again\n"


def test_only_the_very_stream_that_systemd_connected_leads_to_the_journal() -> None:
    here, there = socket.socketpair()
    with here, there:
        stat = os.fstat(here.fileno())
        environment = {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}
        assert leads_to_journald(environment, here.fileno())
        assert not leads_to_journald(environment, there.fileno())
        assert not leads_to_journald({}, here.fileno())
        closed = here.fileno()
    assert not leads_to_journald(environment, closed)
