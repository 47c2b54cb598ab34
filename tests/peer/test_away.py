"""hosta asks somebody who does not answer as a pmigd does: it says so, in time, and in one way."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from pmigd.adapters.peer import client
from pmigd.adapters.peer.client import PeerAway, PeerChannel, PeerRefused
from pmigd.adapters.peer.tls import Certificates, read_certificates
from pmigd.adapters.pool import CallPool
from pmigd.core.problem import Code
from pmigd.core.uri import PmigdUrl
from pmigd.wire.peer import MESSAGE_LIMIT_BYTES, LeaseReport
from tests.peer.conftest import ASKED, GRANTED, Pki, Serving
from tests.support.certificates import Pair

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]

HELLO = {
    "protocols": [1],
    "name": "hostb",
    "version": "1",
    "at": datetime(2026, 1, 2, tzinfo=UTC),
    "mood": "fine",
}


@dataclass
class Odd:
    """A server that answers as the test says; the hello is in order unless it says so."""

    pki: Pki
    pool: CallPool
    url: PmigdUrl = PmigdUrl("127.0.0.1", 1)  # noqa: RUF009 - it is frozen
    answers: dict[str, Answering] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    channels: list[PeerChannel] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.heard.append(request.path)
        self.connections.add(request.transport)
        if request.path not in self.answers and request.path == "/peer/hello":
            return json(HELLO)
        return await self.answers[request.path](request)

    def channel(
        self, url: PmigdUrl | None = None, certificates: Certificates | None = None
    ) -> PeerChannel:
        mine = certificates or self.pki.client()
        made = PeerChannel("hostb", url or self.url, certificates=lambda: mine, pool=self.pool)
        self.channels.append(made)
        return made

    async def asked(self) -> str:
        """What is told of an ask that came to nothing."""
        channel = self.channel()
        with pytest.raises(PeerAway) as away:
            await channel.ask(ASKED)
        assert channel.known is None
        assert str(away.value).startswith(f"{self.url.text}: ")
        return str(away.value)


def json(value: object, status: int = 200, kind: str = "application/json") -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=kind)


@pytest.fixture
async def odd(pki: Pki, pool: CallPool) -> AsyncIterator[Odd]:
    odd = Odd(pki, pool)
    server = web.Server(odd.handle, access_log=None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.hostb.cert, pki.hostb.key)
    listening = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", 0, ssl=context, ssl_shutdown_timeout=0.1
    )
    odd.url = PmigdUrl("127.0.0.1", listening.sockets[0].getsockname()[1])
    yield odd
    for channel in odd.channels:
        await channel.close()
    listening.close()
    await server.shutdown(0.1)
    await listening.wait_closed()


async def test_nobody_listens(odd: Odd) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = PmigdUrl("127.0.0.1", reserved.getsockname()[1])
        with pytest.raises(PeerAway, match=r"^https://127\.0\.0\.1:\d+: Connection refused$"):
            await odd.channel(url).hello()


async def test_a_name_that_nobody_knows(odd: Odd) -> None:
    with pytest.raises(PeerAway, match=r"hostz\.invalid:9717: its name cannot be resolved"):
        await odd.channel(PmigdUrl("hostz.invalid", 9717)).hello()


async def test_a_resolver_that_does_not_answer(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_DEADLINE_S", 0.2)
    over = threading.Event()
    odd.pool = CallPool("one", 1)
    busy = asyncio.ensure_future(odd.pool.call("hold", 10, over.wait))
    try:
        with pytest.raises(PeerAway, match=r"resolved: no answer to 'resolve' within 0\.2 s"):
            await odd.channel(PmigdUrl("hostz.invalid", 9717)).hello()
    finally:
        over.set()
        await busy
        odd.pool.stop()


async def test_an_answer_that_does_not_come(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CALL_DEADLINE_S", 0.3)
    never = asyncio.Event()

    async def wait(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return json({})

    odd.answers["/peer/v1/leases"] = wait
    try:
        assert "no answer within 0.3 s" in await odd.asked()
    finally:
        never.set()


async def test_an_answer_that_comes_byte_by_byte(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CALL_DEADLINE_S", 0.3)

    async def dribble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    odd.answers["/peer/v1/leases"] = dribble
    assert "no answer within 0.3 s" in await odd.asked()


async def test_a_channel_that_is_closed_meanwhile_and_used_again(odd: Odd) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def wait(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await never.wait()
        return json(GRANTED)

    odd.answers["/peer/v1/leases"] = wait
    channel = odd.channel()
    asking = asyncio.ensure_future(channel.ask(ASKED))
    await reached.wait()
    await channel.close()
    never.set()
    with pytest.raises(PeerAway):
        await asking
    assert await channel.ask(ASKED) == GRANTED


async def test_a_connection_that_is_closed_without_an_answer(odd: Odd) -> None:
    async def close(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return json({})

    odd.answers["/peer/v1/leases"] = close
    assert "it closed the connection" in await odd.asked()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: json({"state": "granted"}, 500), "what answers there is not pmigd"),
        (lambda: web.Response(text="hello"), "its answer is not understood"),
        (lambda: json({"state": "perhaps"}), "its answer is not understood"),
        (lambda: json([]), "its answer is not understood"),
        (lambda: json({}, 403, "application/problem+json"), "its answer is not understood"),
        (lambda: web.Response(body=b" " * (MESSAGE_LIMIT_BYTES + 1)), "is larger than 1 MiB"),
        (
            lambda: web.Response(
                body=gzip.compress(msgspec.json.encode(GRANTED)),
                headers={"Content-Encoding": "gzip"},
            ),
            "its answer is not understood",
        ),
        (
            lambda: web.Response(status=307, headers={"Location": "/peer/hello"}),
            "what answers there is not pmigd (HTTP status 307)",
        ),
    ],
    ids=["500", "text", "value", "list", "problem", "large", "compressed", "redirect"],
)
async def test_an_answer_that_is_none(
    odd: Odd, answer: Callable[[], web.Response], told: str
) -> None:
    async def odd_answer(_request: web.Request) -> web.Response:
        return answer()

    odd.answers["/peer/v1/leases"] = odd_answer
    assert told in await odd.asked()
    assert odd.heard == ["/peer/hello", "/peer/v1/leases"]


async def test_later_fields_of_an_answer_are_ignored(odd: Odd) -> None:
    async def later(_request: web.Request) -> web.Response:
        return json({"state": "granted", "until": 12, "findings": []})

    odd.answers["/peer/v1/leases"] = later
    assert await odd.channel().ask(ASKED) == GRANTED


@pytest.mark.parametrize(
    ("speaks", "told"),
    [([2], "protocol 2"), ([3, 2], "protocols 2-3"), ([], "no protocol")],
)
async def test_a_peer_that_speaks_other_protocols_only(
    odd: Odd, speaks: list[int], told: str
) -> None:
    async def hello(_request: web.Request) -> web.Response:
        return json({**HELLO, "protocols": speaks})

    odd.answers["/peer/hello"] = hello
    channel = odd.channel()
    for _ in range(2):
        with pytest.raises(PeerRefused) as refused:
            await channel.ask(ASKED)
        assert refused.value.problem.code is Code.PEER_PROTOCOL
        assert refused.value.problem.detail == f"hostb speaks {told}, this host 1."
    assert odd.heard == ["/peer/hello"] * 2


async def test_a_peer_that_has_changed_its_version_is_greeted_anew(odd: Odd) -> None:
    spoken = [1]

    async def hello(_request: web.Request) -> web.Response:
        return json({**HELLO, "protocols": spoken})

    async def lease(_request: web.Request) -> web.Response:
        if spoken == [1]:
            return json(GRANTED)
        gone = {"type": "", "title": "", "status": 404, "detail": "", "code": "unknown_resource"}
        return json({**gone, "remedy": "", "retryable": False}, 404, "application/problem+json")

    odd.answers |= {"/peer/hello": hello, "/peer/v1/leases": lease}
    channel = odd.channel()
    await channel.ask(ASKED)
    spoken[:] = [2]
    with pytest.raises(PeerRefused, match=r"hostb speaks protocol 2, this host 1\."):
        await channel.ask(ASKED)


async def test_a_refusal_of_a_kind_that_is_not_known_yet(odd: Odd) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        told = {
            "type": "x",
            "title": "x",
            "status": 418,
            "detail": "I am a\x1b[31m teapot.",
            "code": "teapot",
            "remedy": "x",
            "retryable": False,
        }
        return json(told, 418, "application/problem+json")

    odd.answers["/peer/v1/leases"] = refuse
    with pytest.raises(PeerRefused) as refused:
        await odd.channel().ask(ASKED)
    assert refused.value.problem.code is Code.PEER_PROTOCOL
    assert refused.value.problem.detail == "hostb refuses with teapot: I am a\\x1b[31m teapot."


async def test_a_peer_is_greeted_again_after_it_was_away(odd: Odd) -> None:
    fine = [json(GRANTED), web.Response(text="x"), json(GRANTED)]

    async def lease(_request: web.Request) -> web.Response:
        return fine.pop(0)

    odd.answers["/peer/v1/leases"] = lease
    channel = odd.channel()
    await channel.ask(ASKED)
    with pytest.raises(PeerAway):
        await channel.ask(ASKED)
    await channel.ask(ASKED)
    assert [path for path in odd.heard if path == "/peer/hello"] == ["/peer/hello"] * 2


async def test_neither_proxies_nor_cookies(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    cookies: list[str | None] = []

    async def lease(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(
            body=msgspec.json.encode(GRANTED),
            content_type="application/json",
            headers={"Set-Cookie": "a=b"},
        )

    odd.answers["/peer/v1/leases"] = lease
    channel = odd.channel()
    for _ in range(2):
        await channel.ask(ASKED)
    assert cookies == [None, None]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "it ended the stream of events"),
        (b"{}\n", "its answer is not understood"),
        (b"x" * 500_000 + b"\n", "its answer is not understood"),
    ],
    ids=["end", "no event", "long"],
)
async def test_a_stream_of_something_else_is_lost(odd: Odd, line: bytes, told: str) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b"\n" + line)
        return response

    odd.answers["/peer/v1/events"] = stream
    async with odd.channel().events() as events:
        with pytest.raises(PeerAway, match=told):
            await anext(events)


async def test_a_stream_that_is_refused(odd: Odd) -> None:
    async def stream(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    odd.answers["/peer/v1/events"] = stream
    with pytest.raises(PeerAway, match="what answers there is not pmigd"):
        async with odd.channel().events():
            pytest.fail("entered")


# Certificates


@pytest.mark.parametrize(
    ("shows", "told"),
    [
        (lambda pki: pki.hosta, "its certificate is not accepted: .*127.0.0.1"),
        (lambda pki: pki.foreign, "its certificate is not accepted: .*issuer"),
        (lambda pki: pki.old, "its certificate is not accepted: certificate has expired"),
    ],
    ids=["another host's", "another authority's", "expired"],
)
async def test_the_peers_certificate_must_be_good(
    hostb: Serving, pki: Pki, shows: Callable[[Pki], Pair], told: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = shows(pki)
    context.load_cert_chain(pair.cert, pair.key)
    hostb.guard.context = context
    with pytest.raises(PeerAway, match=told):
        await hostb.channel().hello()
    assert hostb.behind.asked == []


async def test_a_revoked_server_is_not_talked_to(hostb: Serving, pki: Pki) -> None:
    revoked = pki.authority.issue("gone", "DNS:hostb", "IP:127.0.0.1")
    hostb.guard.context = read_certificates(pki.authority.files(revoked)).server
    await hostb.channel().hello()
    pki.authority.revoke(revoked)
    try:
        with pytest.raises(PeerAway, match="its certificate is not accepted: certificate revoked"):
            await hostb.channel().hello()
    finally:
        (pki.authority.directory / "cacrl.pem").unlink()


async def test_a_common_name_will_do_where_there_is_no_other(hostb: Serving, pki: Pki) -> None:
    common = pki.authority.issue("common", subject="localhost")
    hostb.guard.context = read_certificates(pki.authority.files(common)).server
    assert (await hostb.channel(host="localhost").hello()).name == "hostb"


@pytest.mark.parametrize("shows", [lambda pki: pki.old, lambda pki: pki.only_server])
async def test_a_certificate_of_ours_that_is_refused_is_said_to_be(
    hostb: Serving, pki: Pki, shows: Callable[[Pki], Pair]
) -> None:
    with pytest.raises(PeerAway, match="not accept this host's certificate"):
        await hostb.channel(shows(pki)).hello()


async def test_a_host_that_is_not_allowed_is_told_so(hostb: Serving, pki: Pki) -> None:
    stranger = pki.authority.issue("stranger", "DNS:stranger")
    with pytest.raises(PeerRefused, match="No name of its certificate is allowed: stranger") as no:
        await hostb.channel(stranger).ask(ASKED)
    assert no.value.problem.code is Code.PEER_NOT_ALLOWED


async def test_a_false_name_is_told_to_be(hostb: Serving) -> None:
    with pytest.raises(PeerRefused) as refused:
        await hostb.channel().report(LeaseReport(source="hostc", seq=1))
    assert refused.value.problem.code is Code.PEER_FALSE_NAME


async def test_without_a_certificate_of_ours_nobody_is_asked(
    odd: Odd, pki: Pki, tmp_path: Path
) -> None:
    none = read_certificates(pki.authority.files(pki.hostb, Pair(tmp_path / "c", tmp_path / "k")))
    assert none.server is not None
    with pytest.raises(PeerAway, match=f"no certificate to show: {tmp_path}/c: No such file"):
        await odd.channel(certificates=none).ask(ASKED)
    assert odd.heard == []


async def test_what_speaks_no_tls(odd: Odd) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        url = PmigdUrl("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(PeerAway, match="what answers there does not speak TLS"):
            await odd.channel(url).hello()


async def test_new_certificates_of_ours_are_shown_to_the_next_connection(
    hostb: Serving, pki: Pki
) -> None:
    channel = hostb.channel(pki.authority.issue("stranger", "DNS:stranger"))
    with pytest.raises(PeerRefused):
        await channel.ask(ASKED)
    channel._certificates = pki.client
    assert await channel.ask(ASKED) == GRANTED
