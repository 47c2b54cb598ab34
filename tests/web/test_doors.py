"""The doors of a real daemon without libvirt: what its heads decide, and what is tried again."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from contrib.lab.deadlines import until
from pmigd.config.load import ConfigRefused, format_finding
from pmigd.daemon.configuration import check, load
from tests.web.conftest import Pki
from tests.web.open import Open, request

pytestmark = pytest.mark.timeout(400)  # each starts a daemon, beside all other tests

DOORS: Final = ("socket", "metrics", "peers")
ZEROES: Final = zlib.compress(bytes(1 << 20))


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Open]:
    daemon = Open(tmp_path_factory.mktemp("open"), pki)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def fresh(tmp_path: Path, pki: Pki) -> Iterator[Open]:
    """One that a test starts itself, and that does not outlive it."""
    daemon = Open(tmp_path, pki)
    yield daemon
    if hasattr(daemon, "process") and daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x", "identity, gzip"])
def test_nothing_is_inflated_whoever_sends_it_and_whereto(
    open_: Open, door: str, coding: str
) -> None:
    said = f"Content-Encoding: {coding}"
    for method, path in (
        ("POST", "/v1/migrations"),
        ("POST", "/peer/v1/leases"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
    ):
        # Of the body only a little comes: it is not waited for.
        words = request(method, path, said, "Content-Type: application/json", body=ZEROES)
        status, problem, closed = open_.say(door, words[:-500])
        assert (status, problem["code"], closed) == (415, "unsupported_media_type", True)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/healthz"), ("GET", "/metrics"), ("DELETE", "/v1/status"), ("POST", "/nothing")],
)
def test_a_body_that_nobody_wants_is_not_waited_for(
    open_: Open, door: str, method: str, path: str
) -> None:
    for framing in ("Content-Length: 99", "Transfer-Encoding: chunked"):
        began = time.monotonic()
        status, _, closed = open_.say(door, request(method, path, framing) + b"5\r\nabc")
        assert status in (200, 404, 405)
        assert closed
        assert time.monotonic() - began < 5  # no deadline for a body was waited for


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (("Content-Length: 99999999",), 413, "body_too_large"),
        (("Content-Length: 99", "Content-Type: text/xml"), 415, "unsupported_media_type"),
    ],
)
def test_a_body_is_judged_by_what_its_head_says_of_it(
    open_: Open, headers: tuple[str, ...], status: int, code: str
) -> None:
    said = open_.say("socket", request("POST", "/v1/migrations", *headers))
    assert (said[0], said[1]["code"], said[2]) == (status, code, True)


@pytest.mark.parametrize(("door", "path"), [("socket", "/v1/check"), ("peers", "/peer/v1/look")])
def test_a_body_may_come_in_so_many_pieces_and_no_more(open_: Open, door: str, path: str) -> None:
    head = request("POST", path, "Content-Type: application/json", "Transfer-Encoding: chunked")
    few = open_.say(door, head + b"1\r\n \r\n" * 4000 + b"2\r\n{}\r\n0\r\n\r\n")
    assert few[0] == 422  # it was read, and lacks its fields
    status, problem, closed = open_.say(door, head + b"1\r\n \r\n" * 300_000)
    assert (status, problem["code"], closed) == (413, "body_too_large", True)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("words", "statuses"),
    [
        (request("GET", "/metrics", "Expect: a-miracle"), {422}),
        (request("GET", "/nothing", "Expect: a-miracle"), {422}),
        (request("GET", "/nothing"), {404}),
        (request("PURGE", "/metrics"), {404, 405}),
        (request("GET", "/metrics", "Transfer-Encoding: gzip, chunked"), {400, 415}),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 70 + b"\r\n", {400}),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 4000 + b"\r\n") * 20, {400}),
        (b"GET / HTTP/3.0\r\n\r\n", {400}),
        (b"no HTTP\r\n\r\n", {400}),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_every_error_is_a_problem(open_: Open, door: str, words: bytes, statuses: set[int]) -> None:
    status, problem, _ = open_.say(door, words)
    assert status in statuses
    assert problem["code"]
    assert problem["remedy"]


@pytest.mark.parametrize(("door", "path"), [("socket", "/v1/check"), ("peers", "/peer/v1/look")])
def test_a_body_is_invited_only_when_it_is_wanted(open_: Open, door: str, path: str) -> None:
    kind = "Content-Type: application/json"
    with open_.connect(door) as sock:
        sock.sendall(request("POST", path, "Expect: 100-continue", kind, "Content-Length: 2"))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert sock.recv(12) == b"HTTP/1.1 422"
    unwanted = request("POST", "/nothing", "Expect: 100-continue", kind, "Content-Length: 2")
    assert open_.say(door, unwanted)[0] == 404
    large = request("POST", path, "Expect: 100-continue", kind, "Content-Length: 9999999")
    assert open_.say(door, large)[0] == 413


@pytest.mark.parametrize("depth", [100, 500, 900, 100_000])
def test_json_that_is_deep_is_refused(open_: Open, depth: int) -> None:
    deep = b'{"domain": ' + b"[" * depth + b"]" * depth + b', "destination": "b"}'
    kind = "Content-Type: application/json"
    status, problem, _ = open_.say("socket", request("POST", "/v1/check", kind, body=deep))
    assert status in (400, 422)
    assert problem["code"] in ("bad_json", "invalid_request")


def _address_in_use(daemon: Open, busy: socket.socket) -> str:
    text = daemon.config.read_text()
    return text.replace(f":{daemon.ports[0]}", f":{busy.getsockname()[1]}")


def test_an_address_that_is_in_use_is_said_and_opened_when_it_is_free(
    fresh: Open,
) -> None:
    daemon = fresh
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        daemon.config.write_text(_address_in_use(daemon, busy))
        daemon.start()
        shut = f"127.0.0.1:{port}"
        assert daemon.status()["doors_shut"] == {shut: "Address already in use"}
        said = [json.loads(line) for line in daemon.log().splitlines()]
        told = next(line for line in said if line["event"] == "address not opened")
        assert (told["address"], told["level"]) == (shut, "error")
        assert "ss -ltnp" in told["remedy"]
        assert "metrics.listen" in told["remedy"]
        # Who can be served is.
        assert daemon.say("peers", request("GET", "/peer/hello"))[0] == 200
    until(lambda: daemon.status()["doors_shut"] == {}, "the address", timeout=90)
    daemon.ports = (port, daemon.ports[1])
    assert daemon.say("metrics", request("GET", "/-/healthy"))[0] == 200
    daemon.stop()


def test_a_name_that_leads_nowhere_yet_does_not_keep_pmigd_from_starting(fresh: Open) -> None:
    daemon = fresh
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace(f"127.0.0.1:{daemon.peer_port}", "none.invalid:9717"))
    checked = daemon.run("--check")
    assert checked.returncode == 0, checked
    assert "Note: peer.listen: 'none.invalid' cannot be resolved now" in checked.stdout
    daemon.start()
    assert list(daemon.status()["doors_shut"]) == ["none.invalid:9717"]
    assert daemon.say("metrics", request("GET", "/-/healthy"))[0] == 200
    daemon.stop()


def test_signals_without_a_meaning_are_said_once_and_end_nothing(open_: Open) -> None:
    names = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR")
    numbers = [*(signal.Signals[name] for name in names), signal.SIGRTMIN + 3]
    for number in numbers * 3:
        open_.process.send_signal(number)
        open_.status()
    until(
        lambda: open_.log().count("signal ignored") >= len(numbers),
        "all of them said",
        timeout=10,
        evidence=open_.log,
    )
    assert open_.log().count("signal ignored") == len(numbers)
    assert open_.process.poll() is None


def test_a_reload_that_is_asked_for_at_a_start_or_a_stop_harms_neither(fresh: Open) -> None:
    daemon = fresh
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            if daemon.minds(signal.SIGHUP):
                daemon.process.send_signal(signal.SIGHUP)

    asking = threading.Thread(target=ask)
    asking.start()
    daemon.start()
    over.set()
    asking.join()
    assert daemon.status()["doors_shut"] == {}
    until(lambda: '"configuration reloaded"' in daemon.log(), "it, after the start", timeout=90)
    ready = daemon.log().index('"ready"')
    assert daemon.log().index('"configuration reloaded"') > ready
    daemon.process.send_signal(signal.SIGTERM)
    for _ in range(200):
        if daemon.process.poll() is not None:
            break
        os.kill(daemon.process.pid, signal.SIGHUP)
        time.sleep(0.01)
    assert daemon.process.wait(10) == 0
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o664, 0, "run chmod g-w on it"),
        (0o646, 0, "run chmod o-w on it"),
        (0o600, 12345, "run chown root on it"),
    ],
)
@pytest.mark.parametrize("file", ["config", "web"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_others_could_change_is_not_believed(
    fresh: Open, mode: int, owner: int, said: str, file: str
) -> None:
    path = fresh.config if file == "config" else fresh.web
    path.chmod(mode)
    os.chown(path, owner, 0)
    _, findings = check(fresh.config)
    told = [format_finding(finding) for finding in findings]
    with pytest.raises(ConfigRefused) as refused:
        load(fresh.config)
    assert [format_finding(finding) for finding in refused.value.findings] == told
    assert [str(path) in line and said in line for line in told] == [True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_with_a_file_that_others_could_change_it_neither_checks_nor_starts(fresh: Open) -> None:
    fresh.web.chmod(0o666)
    for options in (("--check",), ()):
        done = fresh.run(*options)
        assert done.returncode == 2
        assert "run chmod o-w on it" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    ["[" + ".".join(["a"] * 5000) + "]\n", "a = " + "[" * 5000, "a = " + "{a=" * 5000],
    ids=["a table's name", "lists", "tables"],
)
def test_a_configuration_that_is_absurdly_deep_is_refused(fresh: Open, text: str) -> None:
    fresh.config.write_text(text)
    _, findings = check(fresh.config)
    told = "".join(format_finding(finding) for finding in findings)
    assert "nested too deeply" in told or "not valid TOML" in told


def test_a_reload_of_a_file_that_others_could_change_keeps_the_one_before(open_: Open) -> None:
    open_.config.chmod(0o666)
    try:
        seen = open_.log().count("configuration not reloaded")
        open_.process.send_signal(signal.SIGHUP)
        until(
            lambda: open_.log().count("configuration not reloaded") > seen,
            "its refusal",
            timeout=10,
            evidence=open_.log,
        )
    finally:
        open_.config.chmod(0o600)
    assert open_.say("peers", request("GET", "/peer/hello"))[0] == 200
