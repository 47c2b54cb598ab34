"""Requests that are odd before their body is: resources, methods, parameters, not HTTP at all."""

from __future__ import annotations

import time

import pytest

from pmigd.core.problem import Code
from tests.api.client import PROMPT_S, UNKNOWN_ID, Api, fields_of, read_answer

pytestmark = pytest.mark.hypervisor

POST = b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/migrations",
        "/v1/migration",
        "/v1/migrations/",
        "//v1/status",
        "/v1/status/..",
        "/v1/migrations/%2e%2e/%2e%2e/etc/passwd",
        "/v1/%00%0a%1b[31m",
        f"/v1/migrations/{UNKNOWN_ID}/explode",
        "/v1/" + "x" * 5000,
        "/docs",
    ],
    ids=lambda path: path[:40],
)
def test_unknown_resources_are_not_found(api: Api, path: str) -> None:
    api.refused(Code.UNKNOWN_RESOURCE, "GET", path)


@pytest.mark.parametrize(
    "iden", [UNKNOWN_ID, "1", "web1", "x" * 3000, "%00", "%0a%1b[2J", "..%2f..", "%ff"]
)
@pytest.mark.parametrize("resource", ["", "/events", "/abort"])
def test_unknown_migrations_are_not_found(api: Api, iden: str, resource: str) -> None:
    method = "POST" if resource == "/abort" else "GET"
    answer = api.ask(method, f"/v1/migrations/{iden}{resource}")
    api.is_problem(answer, Code.UNKNOWN_MIGRATION)
    assert answer.seconds < PROMPT_S
    api.serves()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/migrations", "GET, POST"),
        ("PUT", "/v1/status", "GET"),
        ("POST", "/v1/events", "GET"),
        ("GET", f"/v1/migrations/{UNKNOWN_ID}/abort", "POST"),
        ("TRACE", "/healthz", "GET"),
        ("OPTIONS", "/metrics", "GET"),
        ("PURGE", "/readyz", "GET"),
    ],
)
def test_a_method_that_a_resource_has_not_is_refused_and_the_others_named(
    api: Api, method: str, path: str, allowed: str
) -> None:
    api.refused(Code.METHOD_NOT_ALLOWED, method, path)
    answer = api.ask(method, path)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=" + "9" * 4000, "limit"),
        ("limit=5&limit=6", "limit"),
        ("state=running", "state"),
        ("state=queued&state=", "state"),
        ("state=" + "x" * 3000, "state"),
        ("domain=", "domain"),
        ("domain=a%00b", "domain"),
        ("domain=" + "x" * 3000, "domain"),
        ("cursor=", "cursor"),
        ("cursor=5", "cursor"),
        ("cursor=zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz", "cursor"),
        ("cursor=" + UNKNOWN_ID + "%0a", "cursor"),
        ("cursor=%ff%fe", "cursor"),
        ("page=2", "page"),
        ("Limit=2", "Limit"),
    ],
    ids=lambda x: x[:24],
)
def test_a_bad_query_parameter_is_refused_and_named(api: Api, query: str, field: str) -> None:
    problem = api.refused(Code.INVALID_REQUEST, "GET", f"/v1/migrations?{query}")
    assert fields_of(problem) == [field]


def test_all_bad_query_parameters_are_told_at_once(api: Api) -> None:
    query = "limit=x&state=y&cursor=z&domain=&page=1&%1b%5b31m=1"
    problem = api.refused(Code.INVALID_REQUEST, "GET", f"/v1/migrations?{query}")
    named = fields_of(problem)
    assert sorted(named[:5]) == ["cursor", "domain", "limit", "page", "state"]
    assert len(named) == 6
    assert all(name.isprintable() for name in named)


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "601", "1e9", "soon", "", "9" * 4000, "1_0"])
def test_a_bad_wait_is_refused(api: Api, wait: str) -> None:
    path = f"/v1/migrations/{UNKNOWN_ID}?wait={wait}"
    problem = api.refused(Code.INVALID_REQUEST, "GET", path)
    assert fields_of(problem) == ["wait"]


def test_a_parameter_where_there_is_none_is_refused(api: Api) -> None:
    problem = api.refused(Code.INVALID_REQUEST, "GET", "/v1/status?verbose=1")
    assert fields_of(problem) == ["verbose"]


def test_monitoring_may_add_parameters_of_its_own(api: Api) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        assert api.ask("GET", f"{path}?probe=1").status == 200


def test_a_well_formed_cursor_before_everything_is_an_empty_page(api: Api) -> None:
    old = "00000000-0000-7000-8000-000000000000"
    assert api.get(f"/v1/migrations?cursor={old}") == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("key", [b"", b"x" * 201, b"a\tb", b"\xa0\x80\xff", b" "])
def test_an_odd_idempotency_key_is_refused(api: Api, key: bytes) -> None:
    body = b'{"domain": "heavy1", "destination": "nowhere"}'
    answer = api.say(
        b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nIdempotency-Key: %s\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (key, len(body), body)
    )
    problem = api.is_problem(answer, Code.INVALID_REQUEST)
    assert fields_of(problem) == ["Idempotency-Key"]
    api.serves()


def test_two_idempotency_keys_are_refused(api: Api) -> None:
    body = b'{"domain": "heavy1", "destination": "hostb"}'
    answer = api.say(
        b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    assert fields_of(api.is_problem(answer, Code.INVALID_REQUEST)) == ["Idempotency-Key"]
    assert api.open() == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        b"GET /" + b"z" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"\x00\xff\x1b[31m\r\n\r\n",
    ],
    ids=lambda garbage: repr(garbage[:32]),
)
def test_what_is_not_http_is_answered_with_a_problem_and_the_connection_closed(
    api: Api, garbage: bytes
) -> None:
    with api.connect() as sock:
        began = time.monotonic()
        sock.sendall(garbage)
        answer = read_answer(sock, began)
        api.is_problem(answer, Code.BAD_HTTP)
        assert answer.seconds < PROMPT_S
        assert sock.recv(1) == b""
    api.serves()


def test_an_expectation_that_http_does_not_know_is_refused(api: Api) -> None:
    api.refused(Code.INVALID_REQUEST, "GET", "/healthz", headers={"Expect": "a-miracle"})


def test_a_client_may_wait_for_leave_to_send_its_body(api: Api) -> None:
    with api.connect() as sock:
        sock.sendall(
            b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 2\r\n\r\n"
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        problem = api.is_problem(read_answer(sock), Code.INVALID_REQUEST)
    assert fields_of(problem) == ["domain", "destination"]


def test_many_requests_on_one_connection_are_answered_in_order(api: Api) -> None:
    with api.connect() as sock:
        sock.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        )
        with sock.makefile("rb") as answers:
            statuses: list[int] = []
            while len(statuses) < 100:
                line = answers.readline()
                assert line
                if line.startswith(b"HTTP/1.1 "):
                    statuses.append(int(line.split()[1]))
                elif b"HTTP/1.1 " in line:  # a body has no newline of its own
                    statuses.append(int(line.rpartition(b"HTTP/1.1 ")[2].split()[0]))
    assert statuses == [200, 404] * 50
