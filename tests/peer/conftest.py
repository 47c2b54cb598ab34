"""A daemon's peer side on loopback with real TLS; what stands behind it only writes things down."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from pmigd.adapters.peer.client import PeerChannel
from pmigd.adapters.peer.names import AllowedNames
from pmigd.adapters.peer.tls import Certificates, read_certificates
from pmigd.adapters.pool import CallPool
from pmigd.adapters.system.network import tcp_listener
from pmigd.api.door import GuardedSite
from pmigd.api.guard import Guard
from pmigd.api.peers import make_peer_app
from pmigd.core.holdings import Phase
from pmigd.core.model import Domain, Power, View
from pmigd.core.problem import Problem, Refused
from pmigd.core.uri import PmigdUrl
from pmigd.wire.peer import (
    FromSource,
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEntry,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
)
from tests.support.certificates import Authority, Pair

IDEN = "0192e4a0-0000-7000-8000-000000000001"
DOMAIN = Domain("web1", "11111111-2222-3333-4444-555555555555")
ENTRY = LeaseEntry(id=IDEN, domain=DOMAIN, phase=Phase.READY)
ASKED = LeaseAsk(source="hosta", seq=1, lease=ENTRY)
GRANTED = LeaseAnswer(state="granted")


class Behind:
    """The daemon behind the server: grants everything and remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.epochs: list[str] = []
        self.greeted: list[tuple[str, str]] = []
        self.observed: list[tuple[str, str, bool]] = []
        self.intruders: Counter[str] = Counter()
        self.happened: asyncio.Queue[LeaseEvent] = asyncio.Queue()
        self.listening = 0
        self.refusing: Problem | None = None

    def hello(self, peer: str, epoch: str) -> Hello:
        self.greeted.append((peer, epoch))
        now = datetime.now(UTC)
        return Hello(protocols=(1,), name="hostb", version="1.0", at=now)

    def _note(self, peer: str, said: FromSource) -> None:
        self.epochs.append(said.epoch)
        self.asked.append((peer, msgspec.structs.replace(said, epoch="")))

    async def ask(self, peer: str, ask: LeaseAsk) -> LeaseAnswer:
        self._note(peer, ask)
        if self.refusing is not None:
            raise Refused(self.refusing)
        return GRANTED

    async def report(self, peer: str, report: LeaseReport) -> LeaseAnswers:
        self._note(peer, report)
        return LeaseAnswers(leases={lease.id: GRANTED for lease in report.leases})

    async def events(self, peer: str) -> AsyncIterator[LeaseEvent]:
        self.asked.append((peer, None))
        self.listening += 1
        try:
            while True:
                yield await self.happened.get()
        finally:
            self.listening -= 1

    async def look(self, peer: str, question: LookQuestion) -> LookAnswer:
        self.asked.append((peer, question))
        return LookAnswer(view=View(Power.RUNNING))

    def observe_peer(self, peer: str, request: str, seconds: float, *, failed: bool) -> None:
        self.observed.append((peer, request, failed))

    def observe_intruder(self, why: str) -> None:
        self.intruders[why] += 1


class Pki:
    """Everybody's certificates. hosta asks, hostb is asked; each is made when it is wanted."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "ours")
        self._directory = directory

    @cached_property
    def other(self) -> Authority:
        return Authority(self._directory / "theirs")

    @cached_property
    def hosta(self) -> Pair:
        return self.authority.issue("hosta", "DNS:hosta.example.com", "DNS:hosta", subject="x")

    @cached_property
    def hostb(self) -> Pair:
        return self.authority.issue("hostb", "DNS:hostb", "IP:127.0.0.1")

    @cached_property
    def old(self) -> Pair:
        return self.authority.issue("old", "DNS:hosta.example.com", "IP:127.0.0.1", old=True)

    @cached_property
    def only_server(self) -> Pair:
        return self.authority.issue("only", "DNS:hosta.example.com", usage="serverAuth")

    @cached_property
    def foreign(self) -> Pair:
        return self.other.issue("foreign", "DNS:hosta.example.com", "IP:127.0.0.1")

    def server(self) -> Certificates:
        return read_certificates(self.authority.files(self.hostb))

    def client(self, pair: Pair | None = None) -> Certificates:
        return read_certificates(self.authority.files(self.hostb, pair or self.hosta))

    def knocking(self, pair: Pair | None) -> ssl.SSLContext:
        """A client that shows this, or nothing, and does not look at whom it talks to."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context


@dataclass
class Serving:
    """hostb, listening."""

    pki: Pki
    behind: Behind
    guard: Guard
    port: int
    pool: CallPool
    channels: list[PeerChannel] = field(default_factory=list)

    def channel(self, pair: Pair | None = None, *, host: str = "127.0.0.1") -> PeerChannel:
        """A channel to it of who has this certificate."""
        certificates = self.pki.client(pair)
        url = PmigdUrl(host, self.port)
        made = PeerChannel("hostb", url, certificates=lambda: certificates, pool=self.pool)
        self.channels.append(made)
        return made

    async def say(
        self, words: bytes, pair: Pair | None = None, *, context: ssl.SSLContext | None = None
    ) -> bytes:
        """Say something over TLS and hear everything that is answered until the connection ends."""
        async with self.talking(context or self.pki.knocking(pair)) as (reader, writer):
            writer.write(words)
            return await heard(reader)

    @asynccontextmanager
    async def talking(
        self, context: ssl.SSLContext | None, source: str = "127.0.0.1"
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection, with TLS or without."""
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, local_addr=(source, 0)
            )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def intruded(self, why: str, times: int = 1) -> None:
        """Wait until so many were refused for that reason, and for no other."""
        async with asyncio.timeout(30):
            while self.behind.intruders[why] < times:
                await asyncio.sleep(0.01)
        assert self.behind.intruders == {why: times}


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Everything until the connection ends, however it does."""
    said = b""
    try:
        async with asyncio.timeout(30):
            while data := await reader.read(1 << 16):
                said += data
    except (ConnectionError, ssl.SSLError):
        pass
    return said


def request(path: str, body: bytes = b"", method: str = "POST", *headers: str) -> bytes:
    """A request as bytes; the connection is closed after its answer."""
    head = [f"{method} {path} HTTP/1.1", "Host: hostb", "Connection: close", *headers]
    if body and not any(header.startswith("Content-Type") for header in headers):
        head.append("Content-Type: application/json")
    head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def pool() -> Iterator[CallPool]:
    pool = CallPool("names", 16)
    yield pool
    pool.stop()


@pytest.fixture
async def hostb(
    pki: Pki, pool: CallPool, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Serving]:
    """hostb, which lets hosta in; beside all other tests an honest client may be slow."""
    for deadline in ("door.HANDSHAKE", "door.HEAD", "exchange.BODY"):
        monkeypatch.setattr(f"pmigd.api.{deadline}_DEADLINE_S", 60.0)
    behind = Behind()
    guard = Guard(behind.observe_intruder)
    guard.context = pki.server().server
    guard.allowed = AllowedNames(["hosta.example.com"])
    runner = web.AppRunner(
        make_peer_app(behind, guard), access_log=None, handle_signals=False, shutdown_timeout=0.5
    )
    await runner.setup()
    listener = tcp_listener("127.0.0.1", 0, backlog=128)
    port = listener.getsockname()[1]
    await GuardedSite(runner, listener, backlog=128, guard=guard).start()
    serving = Serving(pki, behind, guard, port, pool)
    yield serving
    for channel in serving.channels:
        await channel.close()
    await runner.cleanup()
    assert not guard._inside
