"""The calling side: what this host asks of one peer's pmigd, with a deadline for everything.

It repeats nothing by itself; whether a repeat is safe is known only to the caller. There are two
errors: nobody answered as a pmigd does, or one did and refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeVar

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import structs

from pmigd import __version__
from pmigd.adapters.peer.tls import Certificates
from pmigd.adapters.pool import CallPool, Overdue
from pmigd.core.printable import printable
from pmigd.core.problem import Code, FieldError, Problem
from pmigd.core.uri import PmigdUrl
from pmigd.wire import migration as answers
from pmigd.wire.peer import (
    ASK,
    EVENTS,
    EXAMINE,
    HELLO,
    LOOK,
    MESSAGE_LIMIT_BYTES,
    PROTOCOL,
    REPORT,
    Examination,
    ExamineQuestion,
    Exchange,
    FromSource,
    Hello,
    LeaseAnswer,
    LeaseAnswers,
    LeaseAsk,
    LeaseEvent,
    LeaseReport,
    LookAnswer,
    LookQuestion,
)

CONNECT_DEADLINE_S: Final = 2.0
CALL_DEADLINE_S: Final = 5.0
"""From the call to its whole answer, the connection and the first hello included."""
SILENCE_S: Final = 15.0
"""A stream of events has a sign of life every 5 s; this long without one, it is lost."""
IDLE_S: Final = 15.0
"""Shorter than the server's, so that a connection is never used as the server closes it."""
MAX_AT_ONCE: Final = 8
_SHOWN_MAX: Final = 1000
_EPOCH_BYTES: Final = 8

Takes = TypeVar("Takes")
Gives = TypeVar("Gives")


class PeerAway(Exception):  # noqa: N818 - reads as what happened
    """Nobody answered as a pmigd does; the text says what was tried and what is known of why."""


class PeerRefused(Exception):  # noqa: N818 - reads as what happened
    """The peer answered, and not with what was asked for; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class PeerChannel:
    """The way to one peer's pmigd.

    `name` is what the peer is called in the configuration. `certificates` gives those in force;
    new ones are used for new connections. `pool` has the threads in which names are resolved.
    Each channel has an epoch of its own, a random word that it greets with and puts on messages.
    Every method raises PeerAway or PeerRefused.
    """

    def __init__(
        self,
        name: str,
        url: PmigdUrl,
        *,
        certificates: Callable[[], Certificates],
        pool: CallPool,
    ) -> None:
        self.name = name
        self.url = url
        self.known: Hello | None = None
        """What the peer said of itself; None before, and after it was away."""
        self._certificates = certificates
        self._pool = pool
        self._epoch = _fresh_epoch()
        self._session: aiohttp.ClientSession | None = None

    async def hello(self) -> Hello:
        """Who the peer is. Refused: peer_protocol if it does not speak this host's protocol."""
        with self._away():
            async with asyncio.timeout(CALL_DEADLINE_S):
                return await self._agree()

    async def ask(self, ask: LeaseAsk) -> LeaseAnswer:
        """Ask for one lease."""
        return await self.call(ASK, ask)

    async def report(self, report: LeaseReport) -> LeaseAnswers:
        """Report all leases of this host."""
        return await self.call(REPORT, report)

    async def look(self, question: LookQuestion) -> LookAnswer:
        """Ask for the peer's copy of a guest."""
        return await self.call(LOOK, question)

    async def examine(self, question: ExamineQuestion) -> Examination:
        """Ask what only the peer can see of itself."""
        return await self.call(EXAMINE, question)

    async def call(self, exchange: Exchange[Takes, Gives], body: Takes) -> Gives:
        """Ask anything that has an answer of its own."""
        with self._away():
            async with asyncio.timeout(CALL_DEADLINE_S):
                if self.known is None:
                    await self._agree()
                epoch = self._epoch
                try:
                    return await self._exchange(exchange, body)
                except PeerRefused as refused:
                    if refused.problem.code is Code.UNKNOWN_RESOURCE:
                        await self._agree()  # another version may have taken its place
                    if refused.problem.code is not Code.PEER_UNGREETED:
                        raise
                if self._epoch == epoch:
                    # Another one greeted in this host's name. An old epoch never comes back.
                    self._epoch = _fresh_epoch()
                    await self._agree()
                # Nothing was done with it: it may be said again.
                return await self._exchange(exchange, body)

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[LeaseEvent]]:
        """What happens to this host's leases, from when the context is entered.

        The iterator never ends by itself: it raises PeerAway when the peer ends the stream or is
        silent for :data:`SILENCE_S`.
        """
        with self._away():
            async with asyncio.timeout(CALL_DEADLINE_S):
                if self.known is None:
                    await self._agree()
                response = await self._send(EVENTS, None)
                try:
                    if response.status != 200:
                        raise self._refusal(response, await _whole(response))
                except BaseException:
                    response.close()
                    raise
        try:
            yield self._events(response)
        finally:
            response.close()

    async def close(self) -> None:
        """Close all connections; the next call opens them again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _agree(self) -> Hello:
        self.known = None
        hello = await self._exchange(HELLO, None)
        if PROTOCOL not in hello.protocols:
            detail = f"{self.name} speaks {_spoken(hello.protocols)}, this host {PROTOCOL}."
            raise PeerRefused(Problem(Code.PEER_PROTOCOL, detail))
        self.known = hello
        return hello

    async def _exchange(self, exchange: Exchange[Takes, Gives], body: Takes) -> Gives:
        async with await self._send(exchange, body) as response:
            content = await _whole(response)
        if response.status != 200:
            raise self._refusal(response, content)
        return msgspec.json.decode(content, type=exchange.gives)

    async def _send(self, exchange: Exchange[Takes, Gives], body: Takes) -> aiohttp.ClientResponse:
        certificates = self._certificates()
        if certificates.client is None:
            raise _Fault(f"this host has no certificate to show: {certificates.client_fault}")
        if self._session is None:
            self._session = _session(self._pool)
        return await self._session.request(
            exchange.method,
            self.url.text + exchange.path,
            params={"epoch": self._epoch} if exchange.path == HELLO.path else None,
            data=None if body is None else msgspec.json.encode(self._stamped(body)),
            headers={} if body is None else {"Content-Type": "application/json"},
            ssl=certificates.client,
            allow_redirects=False,
        )

    def _stamped(self, body: object) -> object:
        return structs.replace(body, epoch=self._epoch) if isinstance(body, FromSource) else body

    def _refusal(self, response: aiohttp.ClientResponse, content: bytes) -> Exception:
        if response.content_type != "application/problem+json":
            return _Fault(f"what answers there is not pmigd (HTTP status {response.status})")
        told = msgspec.json.decode(content, type=answers.ProblemJson)
        errors = tuple(FieldError(_shown(e.field), _shown(e.message)) for e in told.errors)
        if told.code in Code.__members__.values():
            return PeerRefused(Problem(Code(told.code), _shown(told.detail), errors))
        detail = f"{self.name} refuses with {told.code}: {told.detail}"
        return PeerRefused(Problem(Code.PEER_PROTOCOL, _shown(detail), errors))

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[LeaseEvent]:
        while True:
            with self._away():
                line = await response.content.readline()
                if not line:
                    raise _Fault("it ended the stream of events")
                if not line.strip():
                    continue
                event = msgspec.json.decode(line, type=LeaseEvent)
            yield event

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        """Make one error of everything that keeps an answer away."""
        try:
            yield
        except (_Fault, aiohttp.ClientError, OSError, ValueError, msgspec.MsgspecError) as error:
            agreed, self.known = self.known is not None, None
            raise PeerAway(f"{self.url.text}: {_why(error, agreed=agreed)}") from error


class _Fault(Exception):  # noqa: N818 - reads as what is the case
    """Something that only this module finds wrong."""


def _fresh_epoch() -> str:
    return os.urandom(_EPOCH_BYTES).hex()


class _Resolver(AbstractResolver):
    """Names are resolved in the daemon's threads; asyncio's default ones can be exhausted."""

    def __init__(self, pool: CallPool) -> None:
        self._pool = pool

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host`."""
        try:
            found = await self._pool.call(
                "resolve",
                CONNECT_DEADLINE_S,
                lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM),
            )
        except Overdue as error:
            raise OSError(None, str(error)) from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """The pool is the daemon's."""


def _session(pool: CallPool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=MAX_AT_ONCE,
            keepalive_timeout=IDLE_S,
            resolver=_Resolver(pool),
        ),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_DEADLINE_S, sock_read=SILENCE_S
        ),
        headers={"User-Agent": f"pmigd/{__version__}", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MESSAGE_LIMIT_BYTES:
            raise _Fault("its answer is larger than 1 MiB")
    return bytes(content)


def _why(error: Exception, *, agreed: bool) -> str:
    match error:
        case _Fault():
            return str(error)
        case ssl.SSLCertVerificationError() | aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted: {_verdict(error)}{_hint(error)}"
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason=reason)):
            return _about_tls(reason)
        case aiohttp.ClientOSError(__cause__=ssl.SSLError(reason=reason)):
            return _about_tls(reason)
        case aiohttp.ClientConnectorDNSError():
            return f"its name cannot be resolved: {error.os_error.strerror}"
        case aiohttp.ClientConnectorError():
            return _about_connection(error.os_error)
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {CONNECT_DEADLINE_S:g} s"
        case aiohttp.SocketTimeoutError():
            return f"silent for {SILENCE_S:g} s"
        case TimeoutError():
            return f"no answer within {CALL_DEADLINE_S:g} s"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() if not agreed:
            # With TLS 1.3 this is all that is seen of a certificate that is refused.
            return "it closed the connection at once: it may not accept this host's certificate"
        case (
            aiohttp.ServerDisconnectedError()
            | aiohttp.ClientOSError()
            | aiohttp.ClientPayloadError()
        ):
            return "it closed the connection"
        case _:
            return f"its answer is not understood: {_shown(str(error))}"


def _verdict(error: Exception) -> str:
    cause = getattr(error, "certificate_error", error)
    return getattr(cause, "verify_message", "") or str(cause)


def _hint(error: Exception) -> str:
    """What its own host has to do about it; 18 is OpenSSL's X509_V_ERR_DEPTH_ZERO_SELF_SIGNED."""
    cause = getattr(error, "certificate_error", error)
    if getattr(cause, "verify_code", 0) != 18:
        return ""
    return "; it needs one that is signed by an authority in peer.ca, which both hosts trust"


def _about_connection(error: OSError) -> str:
    if error.errno:
        return os.strerror(error.errno)
    if isinstance(error, ConnectionError):
        return "it closed the connection before TLS was set up"
    return _shown(str(error))


def _about_tls(reason: str | None) -> str:
    if reason is not None and "ALERT" in reason and ("CERT" in reason or "CA" in reason):
        return f"it does not accept this host's certificate ({reason})"
    if reason == "WRONG_VERSION_NUMBER":
        return "what answers there does not speak TLS"
    return f"TLS could not be set up ({reason})"


def _spoken(protocols: tuple[int, ...]) -> str:
    """Protocols for people: "protocol 2", "protocols 2-3"."""
    if not protocols:
        return "no protocol"
    low, high = min(protocols), max(protocols)
    return f"protocol {low}" if low == high else f"protocols {low}-{high}"


def _shown(untrusted_text: str) -> str:
    return printable(untrusted_text, _SHOWN_MAX)
