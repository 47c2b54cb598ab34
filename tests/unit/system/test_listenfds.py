"""Taking over sockets passed by systemd, with real descriptors."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pmigd.adapters.system.listenfds import ListenDescriptorsUnusable, passed_sockets
from tests.support.installed import lacks

PID = 4242


def environment(count: int | str, names: str | None = None, pid: int = PID) -> dict[str, str]:
    found = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count)}
    return found if names is None else found | {"LISTEN_FDNAMES": names}


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_listening_socket_is_taken_over_by_its_name(tmp_path: Path) -> None:
    listener = unix_listener(tmp_path / "s")
    os.set_inheritable(listener.fileno(), True)
    descriptor = listener.detach()
    passed = passed_sockets(environment(1, "api"), PID, first_descriptor=descriptor)
    assert [item.name for item in passed] == ["api"]
    with passed[0].socket as taken, socket.socket(socket.AF_UNIX) as client:
        assert taken.fileno() == descriptor
        assert not os.get_inheritable(descriptor)
        assert not taken.getblocking()
        client.connect(str(tmp_path / "s"))
        connection, _ = taken.accept()
        connection.close()


def test_a_socket_without_a_name_is_called_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = os.dup(listener.fileno())
    passed = passed_sockets(environment(1), PID, first_descriptor=descriptor)
    assert [item.name for item in passed] == ["unknown"]
    passed[0].socket.close()


@pytest.mark.parametrize(
    "variables", [{}, {"LISTEN_FDS": "1"}, environment(1, pid=PID + 1), environment(0)]
)
def test_nothing_is_touched_that_is_not_meant_for_this_process(variables: dict[str, str]) -> None:
    assert passed_sockets(variables, PID, first_descriptor=999_999) == []


@pytest.mark.parametrize("count", ["", "x", "-1", "65", "99999", "1e3", "٣"])
def test_a_count_that_makes_no_sense_is_an_error(count: str) -> None:
    with pytest.raises(ListenDescriptorsUnusable):
        passed_sockets(environment(count), PID, first_descriptor=999_999)


def test_names_and_sockets_must_be_as_many() -> None:
    with pytest.raises(ListenDescriptorsUnusable, match="1 sockets and 2 names"):
        passed_sockets(environment(1, "api:metrics"), PID, first_descriptor=999_999)


def test_what_cannot_be_listened_on_is_an_error_and_stays_open(tmp_path: Path) -> None:
    plain = os.open(tmp_path, os.O_RDONLY)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_INET) as idle,
    ):
        datagram.bind(str(tmp_path / "d"))
        for descriptor, why in (
            (plain, "is not a socket"),
            (datagram.fileno(), "is not a stream socket"),
            (idle.fileno(), "does not listen"),
            (999_999, "is not open"),
        ):
            with pytest.raises(ListenDescriptorsUnusable, match=why):
                passed_sockets(environment(1, "api"), PID, first_descriptor=descriptor)
        os.fstat(plain)
        os.fstat(datagram.fileno())
        os.fstat(idle.fileno())
    os.close(plain)


@pytest.mark.programs
def test_the_real_systemd_socket_activation_is_understood(tmp_path: Path) -> None:
    """systemd's own tool passes the socket; the child it starts prints what it took over."""
    tool = Path("/usr/bin/systemd-socket-activate")
    if not tool.exists():
        lacks("systemd-socket-activate")
    path = tmp_path / "s"
    code = (
        "import os\n"
        "from pmigd.adapters.system.listenfds import passed_sockets\n"
        "for p in passed_sockets(os.environ, os.getpid()):\n"
        "    print(p.name, p.socket.getsockname(), flush=True)\n"
    )
    python_path = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [tool, f"--listen={path}", "--fdname=api", f"--setenv=PYTHONPATH={python_path}",
         sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        process.stderr.readline()  # "Listening on …": it may be connected to now
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert output == f"api {path}\n"
