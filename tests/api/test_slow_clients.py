"""Clients that say nothing, say it slowly, go away or do not read: nobody else notices them."""

from __future__ import annotations

import resource
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from pmigd.api.door import HEAD_DEADLINE_S
from pmigd.api.exchange import BODY_DEADLINE_S, STALLED_S
from pmigd.core.problem import Code
from tests.api.client import PROMPT_S, UNKNOWN_ID, Answer, Api, open_socket, read_answer

pytestmark = pytest.mark.hypervisor

SILENT: Final = 1000
ROUNDS: Final = 150
"""Submissions and aborts: more bytes of events than the kernel keeps for one who does not read."""
BODY_HEAD: Final = b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
MARGIN_S: Final = 3.0


def _resident_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - one read
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def _descriptors(host: Host) -> int:
    return int(host.run(["sh", "-c", f"ls /proc/{host.pmigd.pid}/fd | wc -l"]).stdout or 0)


@dataclass
class Crowd:
    """What became of everybody."""

    normal: list[float] = field(default_factory=list)
    silent_gone: list[float] = field(default_factory=list)
    dribble: Answer | None = None
    half_body: Answer | None = None
    half_body_closed_s: float = 0.0
    stalled_for_s: float = 0.0
    grown_kib: int = 0
    events: list[bytes] = field(default_factory=list)


def _until_closed(sock: socket.socket, began: float, *, keep: list[bytes] | None = None) -> float:
    try:
        while data := sock.recv(1 << 16):
            if keep is not None:
                keep.append(data)
    except ConnectionError:
        pass
    return time.monotonic() - began


def _dribble(path: str, crowd: Crowd) -> None:
    """A byte of the head now and then, for ever."""
    with open_socket(path) as sock:
        began = time.monotonic()
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
        try:
            while time.monotonic() - began < HEAD_DEADLINE_S + MARGIN_S:
                sock.sendall(b"y")
                sock.settimeout(0.25)
                try:
                    if sock.recv(1, socket.MSG_PEEK):
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        sock.settimeout(5)
        crowd.dribble = read_answer(sock, began)


def _half_body(path: str, crowd: Crowd) -> None:
    with open_socket(path) as sock:
        began = time.monotonic()
        sock.sendall(BODY_HEAD + b'{"domain": ')
        crowd.half_body = read_answer(sock, began)
        crowd.half_body_closed_s = _until_closed(sock, began)


@pytest.fixture(scope="module")
def crowd(hosta: Host, heavies: list[LabGuest]) -> Crowd:
    """Everybody at once, while a normal client asks ten times a second."""
    api, crowd = Api(hosta), Crowd()
    path = hosta.pmigd.socket
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    over = threading.Event()

    def normal() -> None:
        while not over.wait(0.1):
            crowd.normal.append(api.ask("GET", "/v1/status").seconds)

    with ExitStack() as stack:
        running = api.submit(heavies[0].name, bandwidth_mib_s=1)
        stack.callback(api.abort, running["id"])
        threads = [
            threading.Thread(target=normal),
            threading.Thread(target=_dribble, args=(path, crowd)),
            threading.Thread(target=_half_body, args=(path, crowd)),
        ]
        for thread in threads:
            thread.start()
        stack.callback(threads[0].join)
        stack.callback(over.set)
        began = time.monotonic()
        silent = [stack.enter_context(api.connect()) for _ in range(SILENT)]
        reader = stack.enter_context(api.connect())
        reader.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        before_kib = _resident_kib(hosta.pmigd.pid)
        for _ in range(ROUNDS):
            queued = api.submit(heavies[1].name)
            assert api.ask("POST", f"/v1/migrations/{queued['id']}/abort").status in (200, 202)
        crowd.grown_kib = _resident_kib(hosta.pmigd.pid) - before_kib
        stalled = time.monotonic()
        for sock in silent:
            crowd.silent_gone.append(_until_closed(sock, began))
        for thread in threads[1:]:
            thread.join()
        # It takes what the kernel has kept only when it was let go.
        until(lambda: _peer_is_gone(reader), "the end of who does not read", timeout=STALLED_S + 15)
        crowd.stalled_for_s = time.monotonic() - stalled
        _until_closed(reader, began, keep=crowd.events)
    return crowd


def _peer_is_gone(sock: socket.socket) -> bool:
    try:
        sock.send(b"\r\n")
    except OSError:
        return True
    return False


def test_normal_clients_are_served_all_the_time(crowd: Crowd) -> None:
    assert len(crowd.normal) > 100
    assert max(crowd.normal) < PROMPT_S


def test_a_thousand_silent_clients_are_let_go(crowd: Crowd) -> None:
    assert len(crowd.silent_gone) == SILENT
    assert crowd.silent_gone[0] > HEAD_DEADLINE_S - 2 * MARGIN_S
    assert max(crowd.silent_gone) < HEAD_DEADLINE_S + 2 * MARGIN_S


def test_a_head_byte_by_byte_is_ended_at_the_deadline(api: Api, crowd: Crowd) -> None:
    assert crowd.dribble is not None
    api.is_problem(crowd.dribble, Code.REQUEST_TOO_SLOW)
    assert abs(crowd.dribble.seconds - HEAD_DEADLINE_S) < MARGIN_S


def test_a_body_that_never_completes_is_ended_at_the_deadline(api: Api, crowd: Crowd) -> None:
    assert crowd.half_body is not None
    api.is_problem(crowd.half_body, Code.REQUEST_TOO_SLOW)
    assert abs(crowd.half_body.seconds - BODY_DEADLINE_S) < MARGIN_S
    assert crowd.half_body_closed_s < 2 * BODY_DEADLINE_S + MARGIN_S


def test_a_reader_that_takes_nothing_costs_no_memory_and_is_let_go(crowd: Crowd) -> None:
    assert crowd.grown_kib < 24 * 1024
    assert crowd.stalled_for_s < STALLED_S + 10
    received = b"".join(crowd.events)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert 0 < received.count(b'"event":"state"') < 2 * ROUNDS


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /v1/stat",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
        BODY_HEAD,
        BODY_HEAD + b'{"domain": ',
        b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /v1/migrations/{UNKNOWN_ID}?wait=9 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
    ids=lambda said: repr(said[:24]),
)
def test_clients_that_go_away_in_the_middle_leave_nothing_behind(
    api: Api, hosta: Host, said: bytes
) -> None:
    api.serves()
    before = _descriptors(hosta)
    errors = hosta.pmigd.log().count('"level": "error"')
    for _ in range(20):
        with api.connect() as sock:
            sock.sendall(said)
    until(lambda: _descriptors(hosta) <= before + 1, "free descriptors", timeout=8)
    api.serves()
    assert hosta.pmigd.log().count('"level": "error"') == errors
    assert "Traceback" not in hosta.pmigd.log()


def test_one_who_waits_for_an_end_and_goes_away_is_forgotten(
    api: Api, hosta: Host, slow: dict[str, Any]
) -> None:
    before = _descriptors(hosta)
    for _ in range(20):
        with api.connect() as sock:
            path = f"/v1/migrations/{slow['id']}?wait=600"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    until(lambda: _descriptors(hosta) <= before + 1, "free descriptors", timeout=8)
    api.serves()
