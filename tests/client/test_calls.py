"""What both clients ask, and how they tell apart what goes wrong."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pmigd import client as library
from pmigd.client import (
    AsyncClient,
    BrokenError,
    Client,
    LateError,
    OddAnswerError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
    calls,
    http,
)
from pmigd.client.link import DEFAULT_SOCKET
from tests.cli.stub import SETTINGS, Stub, migration, problem
from tests.client.conftest import Make, Sayer

ONE = migration(1)["id"]


def test_both_clients_offer_the_same() -> None:
    def face(of: type) -> dict[str, list[str]]:
        return {
            name: [str(p).replace("'", "") for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(of, inspect.isfunction)
            if not name.startswith("_") and name != "following"
        }

    assert face(Client) == face(AsyncClient)


def test_every_call_asks_what_the_contract_says(client: Any, stub: Stub) -> None:
    stub.add(migration(1))
    assert client.migration(ONE).raw == migration(1)
    assert client.settings(ONE) == SETTINGS
    assert client.set(ONE, max_downtime_ms=500).id == ONE
    assert stub.sent("PATCH", f"/v1/migrations/{ONE}").body == {"max_downtime_ms": 500}
    for action in ("abort", "postcopy", "suspend", "recover"):
        assert getattr(client, action)(ONE).id == ONE
        stub.sent("POST", f"/v1/migrations/{ONE}/{action}")
    assert client.check("web1", "hostb", tls=True)["ready"] is True
    wanted = {"domain": "web1", "destination": "hostb", "tls": True}
    assert stub.sent("POST", "/v1/check").body == wanted
    assert client.resolve(ONE, "failed").state == "failed"
    assert client.status()["name"] == "hosta"
    assert client.limits() == stub.limits
    assert client.peers() == stub.peers
    assert client.domains() == stub.domains


def test_a_submission_carries_a_key_and_the_trace(client: Any, stub: Stub) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = client.submit("web1", "hostb", traceparent=trace, max_downtime_ms=500)
    assert (made.domain, made.state, made.terminal, made.succeeded) == (
        "web1",
        "queued",
        False,
        False,
    )
    sent = stub.sent("POST", "/v1/migrations")
    assert sent.body == {"domain": "web1", "destination": "hostb", "max_downtime_ms": 500}
    assert sent.headers["traceparent"] == trace
    assert len(sent.headers["idempotency-key"]) == 32
    assert client.submit("web1", "hostb", key=sent.headers["idempotency-key"]).id == made.id


def test_lists_come_page_after_page(client: Any, stub: Stub) -> None:
    stub.page = 2
    stub.add(*(migration(n, state="failed" if n % 2 else "precopy") for n in range(1, 8)))
    assert len(list(client.migrations())) == 7
    assert {m.state for m in client.migrations(["failed"])} == {"failed"}
    assert list(client.migrations(domain="nobody")) == []


@pytest.mark.parametrize(
    ("typed", "found"), [("0199c1d2-7a00-7000-8000-000000000001", 1), ("db", 2), (" DB", None)]
)
def test_a_person_may_type_less_than_an_id(
    client: Any, stub: Stub, typed: str, found: int | None
) -> None:
    stub.add(migration(1), migration(2, domain={"name": "db", "uuid": "u"}))
    if found is None:
        with pytest.raises(RefusedError) as refused:
            client.find(typed)
        assert refused.value.code == "unknown_migration"
    else:
        assert client.find(typed) == migration(found)["id"]


def test_what_fits_two_is_refused_with_both_named(client: Any, stub: Stub) -> None:
    stub.add(migration(1), migration(2))
    for typed in ("web1", "0199c1d2"):
        with pytest.raises(RefusedError) as refused:
            client.find(typed)
        assert refused.value.code == "ambiguous_id"
        assert all(migration(n)["id"] in str(refused.value) for n in (1, 2))


def test_a_refusal_is_the_daemons_problem(client: Any, stub: Stub) -> None:
    errors = [{"field": "live", "message": "must be true"}, "odd"]
    stub.answers["POST", "/v1/migrations"] = (
        422,
        problem(422, "invalid_request", retryable=True, errors=errors, detail="no \x1b[2J way"),
    )
    with pytest.raises(RefusedError) as refused:
        client.submit("web1", "hostb")
    error = refused.value
    assert (error.code, error.status, error.retryable) == ("invalid_request", 422, True)
    assert error.title == "Invalid request"
    assert error.remedy == "Do something about it."
    assert error.errors == [("live", "must be true")]
    assert str(error) == r"no \x1b[2J way"
    assert len([r for r in stub.requests if r.method == "POST"]) == 1


def test_a_refusal_that_is_no_problem_object_is_one_all_the_same(client: Any, stub: Stub) -> None:
    stub.answers["GET", "/v1/status"] = (502, b"<html>bad gateway</html>")
    with pytest.raises(RefusedError) as refused:
        client.status()
    assert (refused.value.status, str(refused.value)) == (502, "<html>bad gateway</html>")


def test_nobody_at_the_socket(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / "none", "no such socket"),
        (tmp_path / "file", "nobody listens"),
        ("/" + "x" * 200, "too long"),
    ):
        with pytest.raises(UnreachableError, match=words) as unreachable:
            make(str(path)).status()
        assert not isinstance(unreachable.value, BrokenError)
        assert (unreachable.value.code, unreachable.value.retryable) == ("daemon_unreachable", True)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize(
    "says",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        OK % (6, b"<html>"),
        OK % (3, b"[1]"),
        OK % (4, b"\xff\xfe{}"),
        OK % (200_000, b"[" * 200_000),
        b"HTTP/1.1 200 OK\r\n" + b"X-Endless: yes\r\n" * 10_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["ssh", "html", "list", "not-utf8", "deep", "endless-head", "bad-chunk"],
)
def test_what_is_not_pmigd_is_called_so(make: Make, sayer: Sayer, says: bytes) -> None:
    sayer.says = says
    with pytest.raises(OddAnswerError, match="what answers here is not pmigd") as odd:
        make(sayer.path).status()
    assert odd.value.remedy == "check --socket and PMIGD_SOCKET"


def test_an_answer_beyond_all_bounds_is_not_kept(
    make: Make, sayer: Sayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_MAX", 1024**2)
    sayer.says = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (2 * 1024**2)
    with pytest.raises(OddAnswerError, match="larger than 1 MiB"):
        make(sayer.path).status()


@pytest.mark.parametrize("kept", [0, 9, 30, 44])
def test_an_answer_that_breaks_off_is_told_from_a_daemon_that_is_away(
    make: Make, sayer: Sayer, kept: int
) -> None:
    sayer.says = (OK % (8, b'{"a": 1}'))[:kept]
    with pytest.raises(BrokenError, match="the connection was lost") as broken:
        make(sayer.path).status()
    assert not isinstance(broken.value, LateError)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"])
def test_an_answer_that_does_not_come_is_late(make: Make, sayer: Sayer, says: bytes) -> None:
    sayer.hangs_up, sayer.says = False, says
    with pytest.raises(LateError, match="no answer in time"):
        make(sayer.path, answer_s=0.2).status()


def test_a_refusal_is_heard_although_the_request_was_not_read(make: Make, sayer: Sayer) -> None:
    said = json.dumps(problem(413, "body_too_large")).encode()
    sayer.says = b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    with pytest.raises(RefusedError) as refused:
        make(sayer.path).post("/v1/check", {"xml": "x" * 4 * 1024**2})
    assert refused.value.code == "body_too_large"


def test_a_submission_whose_answer_was_lost_is_repeated_under_its_key(
    client: Any, stub: Stub
) -> None:
    told: list[str] = []
    stub.break_next = 2
    made = client.submit("web1", "hostb", told=told.append)
    sent = [stub.sent("POST", "/v1/migrations", n) for n in (1, 2, 3)]
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert list(stub.migrations) == [made.id]
    assert len(told) == 1
    assert "the connection was lost" in told[0]


def test_a_submission_that_never_gets_through_says_that_it_is_not_known(
    client: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "RETRY_S", 0.5)
    stub.break_next = 1000
    with pytest.raises(OutcomeUnknownError, match="is not known") as unknown:
        client.submit("web1", "hostb", key="mine")
    assert unknown.value.key == "mine"


def test_other_calls_are_never_repeated(client: Any, stub: Stub) -> None:
    stub.add(migration(1))
    stub.break_next = 1
    with pytest.raises(BrokenError):
        client.abort(ONE)
    assert len([r for r in stub.requests if r.path.endswith("/abort")]) == 1


def test_threads_may_share_a_client(stub: Stub) -> None:
    stub.add(*(migration(n) for n in range(1, 9)))
    shared = Client(str(stub.socket))
    found: list[str] = []

    def ask(number: int) -> None:
        found.extend(shared.migration(migration(number)["id"]).id for _ in range(5))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert len(set(found)) == 8


def test_the_socket_is_the_usual_one_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMIGD_SOCKET", raising=False)
    assert Client().path == AsyncClient().path == DEFAULT_SOCKET
    monkeypatch.setenv("PMIGD_SOCKET", "/there")
    assert Client().path == AsyncClient().path == "/there"
    assert Client("/here").path == "/here"


def test_a_program_that_only_asks_loads_little() -> None:
    """asyncio, and what takes longest of the standard library, only where it is used."""
    program = (
        "import sys; from pmigd.client import Client, ClientError, Migration, Event; Client();"
        "print(*sys.modules)"
    )
    argv = [sys.executable, "-c", program]
    loaded = set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())
    assert "pmigd.client.blocking" in loaded
    heavy = "asyncio http ssl email urllib logging threading inspect dataclasses datetime"
    assert loaded.isdisjoint(heavy.split())
    ours = {name for name in loaded if name.startswith("pmigd.")}
    assert all(name.startswith(("pmigd.client", "pmigd.core")) for name in ours)


def test_what_the_library_names_is_there() -> None:
    for name in library.__all__:
        assert getattr(library, name).__name__ == name or name == "JsonObject"
    with pytest.raises(AttributeError, match="nonsense"):
        library.nonsense  # noqa: B018


def test_its_types_are_for_those_who_use_it() -> None:
    assert Path(library.__file__).parents[1].joinpath("py.typed").exists()
