"""Whoever should not be let in is not, is counted and named once, and disturbs nobody else."""

from __future__ import annotations

import asyncio
import json
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from pmigd.adapters.peer.names import AllowedNames
from pmigd.adapters.peer.tls import read_certificates
from pmigd.core.problem import Code
from pmigd.wire.peer import MESSAGE_LIMIT_BYTES
from tests.peer.conftest import ASKED, Pki, Serving, heard, request
from tests.support.certificates import Pair

HELLO = request("/peer/hello", method="GET")
ASK = request("/peer/v1/leases", msgspec.json.encode(ASKED))


@dataclass
class Told:
    """An answer."""

    status: int
    problem: dict[str, Any]


def told(answer: bytes) -> Told:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.count(b"HTTP/1.") == 1, answer[:200]
    return Told(int(head.split()[1]), json.loads(body))


@pytest.fixture(autouse=True)
async def _nobody_else_is_disturbed(hostb: Serving) -> AsyncIterator[None]:
    """A good peer asks all the time, before the stranger comes and while it is refused."""
    channel = hostb.channel()
    await channel.ask(ASKED)
    over = asyncio.Event()

    async def ask_on() -> int:
        asked = 0
        while not over.is_set():
            await channel.ask(ASKED)
            asked += 1
            await asyncio.sleep(0.02)
        return asked

    asking = asyncio.create_task(ask_on())
    yield
    over.set()
    assert await asking > 0
    fresh = hostb.channel()
    hostb.guard.context = hostb.pki.server().server
    hostb.guard.allowed = AllowedNames(["hosta.example.com"])
    await fresh.ask(ASKED)


@pytest.mark.parametrize(
    ("shows", "why"),
    [
        (lambda _pki: None, "no_certificate"),
        (lambda pki: pki.foreign, "untrusted"),
        (lambda pki: pki.old, "expired"),
        (lambda pki: pki.only_server, "untrusted"),
    ],
    ids=["none", "of another authority", "expired", "not for clients"],
)
async def test_a_certificate_that_is_not_good_gets_no_word(
    hostb: Serving, pki: Pki, shows: Callable[[Pki], Pair | None], why: str
) -> None:
    with capture_logs() as logs:
        assert await hostb.say(HELLO, shows(pki)) == b""
        await hostb.intruded(why)
    assert [(line["event"], line["why"]) for line in logs] == [("peer refused", why)]


async def test_a_revoked_certificate_gets_no_word(hostb: Serving, pki: Pki) -> None:
    revoked = pki.authority.issue("revoked", "DNS:hosta.example.com")
    assert told(await hostb.say(HELLO, revoked)).status == 200
    pki.authority.revoke(revoked)
    try:
        hostb.guard.context = pki.server().server
        assert await hostb.say(HELLO, revoked) == b""
        await hostb.intruded("revoked")
        assert told(await hostb.say(HELLO, pki.hosta)).status == 200
    finally:
        (pki.authority.directory / "cacrl.pem").unlink()


async def test_tls_before_1_2_is_not_spoken(hostb: Serving, pki: Pki) -> None:
    context = pki.knocking(pki.hosta)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await hostb.say(HELLO, context=context)
    await hostb.intruded("bad_tls")


@pytest.mark.parametrize(
    ("words", "why"),
    [(HELLO, "plain_http"), (b"\x00" * 64, "bad_tls"), (b"SSH-2.0-x\r\n", "bad_tls")],
    ids=["http", "zeroes", "ssh"],
)
async def test_what_is_not_tls_gets_no_word(hostb: Serving, words: bytes, why: str) -> None:
    async with hostb.talking(None) as (reader, writer):
        writer.write(words)
        assert await heard(reader) == b""
    await hostb.intruded(why)


async def test_a_host_that_is_not_allowed_gets_nothing_but_that(hostb: Serving, pki: Pki) -> None:
    stranger = pki.authority.issue("stranger", "DNS:stranger.example.com", "DNS:evil")
    for words in (HELLO, ASK, request("/peer/v1/events", method="GET"), request("/nothing")):
        answer = told(await hostb.say(words, stranger))
        assert answer.status == 403
        assert answer.problem["code"] == Code.PEER_NOT_ALLOWED
        assert "stranger.example.com, evil" in answer.problem["detail"]
    await hostb.intruded("not_allowed", times=4)
    assert {peer for peer, _ in hostb.behind.asked} == {"hosta.example.com"}


@pytest.mark.parametrize(
    ("alternatives", "subject", "passes"),
    [
        ((), "hosta.example.com", True),
        (("DNS:other.example.com",), "hosta.example.com", False),
        (("IP:127.0.0.1",), "hosta.example.com", False),
        (("DNS:*.example.com",), "", False),
        (("DNS:other.net", "DNS:HostA.Example.com"), "", True),
        (("DNS:a.hosta.example.com",), "", False),
        ((), "", False),
    ],
)
async def test_names_are_the_alternative_ones_or_else_the_common_one(
    hostb: Serving, pki: Pki, alternatives: tuple[str, ...], subject: str, passes: bool
) -> None:
    shown = pki.authority.issue("shown", *alternatives, subject=subject)
    answer = told(await hostb.say(HELLO, shown))
    assert answer.status == (200 if passes else 403)


@pytest.mark.parametrize("source", ["hostb", "hosta.example", "example.com", "a", "*", "x"])
async def test_nobody_speaks_for_another_host(hostb: Serving, pki: Pki, source: str) -> None:
    asked = len(hostb.behind.asked)
    for method in ("POST", "PUT"):
        body = {"source": source, "seq": 1, "lease": msgspec.to_builtins(ASKED.lease)}
        words = request("/peer/v1/leases", msgspec.json.encode(body), method)
        liar = pki.authority.issue("liar", "DNS:hosta.example.com", subject="x")
        answer = told(await hostb.say(words, liar))
        assert (answer.status, answer.problem["code"]) == (403, Code.PEER_FALSE_NAME)
        assert f'"{source}"' in answer.problem["detail"]
    await hostb.intruded("false_name", times=2)
    assert all(ask == ASKED for _, ask in hostb.behind.asked[asked:])


@pytest.mark.parametrize(
    ("words", "status", "code", "why"),
    [
        (request("/peer/v1/leases", b"{"), 400, Code.BAD_JSON, "malformed"),
        (request("/peer/v1/leases", b"\xff\xfe"), 400, Code.BAD_JSON, "malformed"),
        (request("/peer/v1/leases", b"[" * 100_000), 400, Code.BAD_JSON, "malformed"),
        (request("/peer/v1/leases", b"[]"), 422, Code.INVALID_REQUEST, "malformed"),
        (request("/peer/v1/look", b"{}"), 422, Code.INVALID_REQUEST, "malformed"),
        (request("/peer/v1/leases"), 422, Code.INVALID_REQUEST, "malformed"),
        (
            request("/peer/v1/leases", b"{}", "POST", "Content-Type: text/plain"),
            422,
            Code.INVALID_REQUEST,
            "malformed",
        ),
        (
            request("/peer/v1/leases", b" " * (MESSAGE_LIMIT_BYTES + 1)),
            413,
            Code.BODY_TOO_LARGE,
            "too_large",
        ),
        (request("/v1/migrations"), 404, Code.UNKNOWN_RESOURCE, "unknown_resource"),
        (request("/peer/v2/leases"), 404, Code.UNKNOWN_RESOURCE, "unknown_resource"),
        (request("/peer/v1/look", method="GET"), 405, Code.METHOD_NOT_ALLOWED, "unknown_resource"),
        (b"no HTTP at all\r\n\r\n", 400, Code.BAD_HTTP, "bad_http"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400, Code.BAD_HTTP, "bad_http"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else None,
)
async def test_what_is_no_message_is_refused_as_a_problem(
    hostb: Serving, pki: Pki, words: bytes, status: int, code: Code, why: str
) -> None:
    answer = told(await hostb.say(words, pki.hosta))
    assert (answer.status, answer.problem["code"]) == (status, code)
    assert answer.problem["remedy"]
    await hostb.intruded(why)


async def test_a_body_in_chunks_is_no_longer_than_one_in_a_piece(hostb: Serving, pki: Pki) -> None:
    head = (
        b"POST /peer/v1/leases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    chunks = (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 20 + b"0\r\n\r\n"
    answer = told(await hostb.say(head + chunks, pki.hosta))
    assert (answer.status, answer.problem["code"]) == (413, Code.BODY_TOO_LARGE)
    await hostb.intruded("too_large")


async def test_a_handshake_that_never_ends_is_ended(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.door.HANDSHAKE_DEADLINE_S", 0.3)
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(hostb.talking(None)) for _ in range(20)]
        silent[0][1].write(b"\x16\x03\x01\x02\x00\x01")  # a handshake's first bytes
        assert {await heard(reader) for reader, _ in silent} == {b""}
    await hostb.intruded("too_slow", times=20)


async def test_a_head_that_never_ends_is_ended(
    hostb: Serving, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.door.HEAD_DEADLINE_S", 0.3)
    answer = told(await hostb.say(HELLO[:-2], pki.hosta))
    assert (answer.status, answer.problem["code"]) == (408, Code.REQUEST_TOO_SLOW)
    await hostb.intruded("too_slow")


async def test_a_body_that_never_ends_is_ended(
    hostb: Serving, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.exchange.BODY_DEADLINE_S", 0.3)
    async with hostb.talking(pki.knocking(pki.hosta)) as (reader, writer):
        writer.write(ASK[:-10])
        answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 408 ")
    await hostb.intruded("too_slow")


async def test_only_so_many_connections_of_one_address(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.guard.MAX_FROM_ONE_ADDRESS", 5)
    async with AsyncExitStack() as stack:

        async def knock(source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await stack.enter_async_context(hostb.talking(None, source))

        inside = [await knock("127.0.0.2") for _ in range(5)]
        reader, _ = await knock("127.0.0.2")
        assert await heard(reader) == b""
        await hostb.intruded("too_many")
        monkeypatch.setattr("pmigd.api.guard.MAX_CONNECTIONS", 6)  # these and the good peer's
        reader, _ = await knock("127.0.0.3")
        assert await heard(reader) == b""
        await hostb.intruded("too_many", times=2)
        for _, writer in inside:
            writer.transport.abort()
        async with asyncio.timeout(5):
            while hostb.guard._inside["127.0.0.2"]:
                await asyncio.sleep(0.01)
    assert hostb.behind.intruders == {"too_many": 2, "gave_up": 5}


async def test_a_flood_is_counted_in_full_and_logged_once(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.guard.QUIET_S", 1000.0)  # however long it takes here
    with capture_logs() as logs:
        for source in ("127.0.0.2", "127.0.0.3"):
            for _ in range(30):
                async with hostb.talking(None, source) as (reader, writer):
                    writer.write(HELLO)
                    assert await heard(reader) == b""
        await hostb.intruded("plain_http", times=60)
    assert [(line["why"], line["address"]) for line in logs] == [
        ("plain_http", "127.0.0.2"),
        ("plain_http", "127.0.0.3"),
    ]


async def test_without_certificates_of_its_own_nobody_is_let_in_until_there_are(
    hostb: Serving, pki: Pki
) -> None:
    missing = read_certificates(pki.other.files(Pair(pki.other.ca, pki.other.directory / "no")))
    hostb.guard.context = missing.server
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await hostb.say(HELLO, pki.hosta)
    await hostb.intruded("not_ready")
    hostb.guard.context = pki.server().server
    assert told(await hostb.say(HELLO, pki.hosta)).status == 200


async def test_new_certificates_and_names_are_for_who_comes_next(hostb: Serving, pki: Pki) -> None:
    channel = hostb.channel()
    await channel.ask(ASKED)
    other = pki.other
    hostb.guard.context = read_certificates(other.files(pki.foreign)).server
    await channel.ask(ASKED)  # over the connection that it has
    assert await hostb.say(HELLO, pki.hosta) == b""
    await hostb.intruded("untrusted")
    assert told(await hostb.say(HELLO, pki.foreign)).status == 200
