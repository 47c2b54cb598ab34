"""Where connections come in: who says nothing, or says it too slowly, is let go.

aiohttp has a time limit between two requests, but none for the first request's head. Without one
whoever may connect could hold descriptors until nobody else is let in. What is not HTTP at all
never reaches the application, so it is answered here, in the same form as every other mistake.

A connection is read a little at a time, and not at all while what came is not wanted yet: so one
holds at most :data:`READ_BYTES` and what its parser holds of a body, about three times as much, and
no client, however much it sends, has more of one turn of the loop than that takes.

A door to the network has a guard: limits, TLS, and a word about everyone who is refused.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import StreamReader, web

from pmigd.adapters.tasks import Tasks
from pmigd.api.guard import Guard
from pmigd.api.head import ByHead
from pmigd.api.peerbackend import Intrusion
from pmigd.api.problems import ProblemResponse, raw_problem
from pmigd.core.printable import printable
from pmigd.core.problem import Code, Problem

HEAD_DEADLINE_S: Final = 10.0
"""From a connection's begin until its first request's head is complete."""
HANDSHAKE_DEADLINE_S: Final = 5.0
FAREWELL_S: Final = 1.0
"""How long the end of TLS waits for the other side to agree."""
KEEPALIVE_S: Final = 20.0
"""How long a connection may be silent between two requests."""
EXHAUSTED_PAUSE_S: Final = 1.0
READ_BYTES: Final = 16 * 1024
"""Read of a connection at a time. asyncio would take 256 KiB, some 40,000 chunks of one byte."""
RECEIVE_BUFFER_BYTES: Final = 64 * 1024
"""What the kernel takes for a connection of the network while it is not read, and thus what TLS
makes of it in one turn."""
MAX_HEADERS: Final = 64
MAX_HEAD_BYTES: Final = 32 * 1024
"""Of one request; a line of it has at most 8,190."""
DISCARD_S: Final = 2.0
DISCARD_BYTES: Final = 4 * 1024 * 1024
"""How long, and how much of, what nobody wants is still received. A connection that is closed
before would take the answer with it that its client has not read yet."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One client's connection. `refused` is told why it was let go, if it was."""

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        refused: Callable[[Intrusion, str], None] | None = None,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=0,  # aiohttp's would parse what it throws away
            read_bufsize=READ_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
        )
        self._head_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._body: StreamReader | None = None
        self._waits_for_leave = False
        self._discarded = 0
        self._refused = refused
        self.over = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client its time to say what it wants."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        loop = asyncio.get_running_loop()
        self._head_deadline = loop.call_later(HEAD_DEADLINE_S, self._let_go)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing to wait for any more."""
        self.heard()
        if not self.over.done():
            self.over.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came, or count what is thrown away."""
        if self._close or self._force_close:
            self._discarded += len(data)
            if self._discarded > DISCARD_BYTES:
                self.force_close()
            return
        self._head_bytes += len(data)
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._body = self._messages[-1][1]
        if self._request_count != heads or not (self._body is None or self._body.is_eof()):
            self._head_bytes = 0
        elif self._head_bytes > MAX_HEAD_BYTES and not self._messages:
            detail = f"Its head is larger than {MAX_HEAD_BYTES} bytes."
            self._send_away("bad_http", Problem(Code.BAD_HTTP, detail))

    def heard(self) -> None:
        """A request came in whole; what follows has the application's own deadlines."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def asks_leave(self) -> None:
        """The client waits with its body until it is told to send it."""
        self._waits_for_leave = True

    async def invite(self) -> None:
        """Tell a client that waits for it to send its body."""
        if self._waits_for_leave and self.transport is not None:
            self._waits_for_leave = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def discard(self) -> None:
        """Throw away what still comes, for a moment, and let nobody ask anything more."""
        self._take_leave()
        await asyncio.wait({self.over}, timeout=DISCARD_S)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not make a request of."""
        self.heard()
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is left to answer, or an answer was begun already")
        if status < 500:
            log.debug("not HTTP", detail=message)
            lines = (message or "").strip().splitlines()
            said = printable((lines or [""])[0], 100)
            problem = Problem(Code.BAD_HTTP, said or "Its first line could not be read.")
            return self.refuse(problem)
        log.error("request failed", exc_info=exc)
        return self.refuse(Problem(Code.INTERNAL, "The daemon's log has the details."))

    def refuse(self, problem: Problem) -> web.StreamResponse:
        """The answer to what is not passed on, and the connection's last one."""
        if problem.code is not Code.INTERNAL:
            self._say_refused("bad_http", problem.detail)
        response = ProblemResponse(problem)
        response.force_close()
        return response

    def _let_go(self) -> None:
        self._head_deadline = None
        detail = f"Its head was not complete after {HEAD_DEADLINE_S:g} s."
        if self._head_bytes:
            self._send_away("too_slow", Problem(Code.REQUEST_TOO_SLOW, detail))
        else:
            self._say_refused("too_slow", detail)
            self.force_close()

    def _send_away(self, why: Intrusion, problem: Problem) -> None:
        """Answer a head that is not complete, and close the connection."""
        self._say_refused(why, problem.detail)
        if self.transport is not None:
            self.transport.write(raw_problem(problem))
        self._take_leave()
        self._loop.call_later(DISCARD_S, self.force_close)

    def _take_leave(self) -> None:
        """Nothing more is taken or said; what still comes is thrown away."""
        self.close()
        transport = self.transport
        if transport is not None:
            if transport.can_write_eof():
                transport.write_eof()  # whoever reads to the end has it
            transport.resume_reading()

    def _say_refused(self, why: Intrusion, detail: str) -> None:
        if self._refused is not None:
            self._refused(why, detail)


class Door(web.BaseSite):
    """A listening socket whose connections are :class:`Connection`.

    With a `guard` it speaks to whom the guard lets in, by TLS if that has a context. The runner
    closes it.
    """

    def __init__(
        self,
        runner: web.BaseRunner,
        listener: socket.socket,
        *,
        backlog: int,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(runner, backlog=backlog)
        self._listener = listener
        self._guard = guard
        self._tasks = Tasks("door")
        self._pause: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Where it listens."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Let clients in."""
        await super().start()
        server: Any = self._runner.server
        if not isinstance(server.request_handler, ByHead):
            server.request_handler = ByHead(server.request_handler)
        self._listener.setblocking(False)
        if self._listener.family != socket.AF_UNIX:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._listener.listen(self._backlog)
        self._open()

    async def stop(self) -> None:
        """Let nobody in any more; who is in stays until the runner is cleaned up."""
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        await asyncio.sleep(0)  # whoever was accepted just now has an owner by then
        await self._tasks.stop()
        await super().stop()

    def _open(self) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Accept one: nobody can knock so fast that the rest of the loop does not get its turn."""
        try:
            accepted, address = self._listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.error("no connections are accepted for a moment", detail=error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener)
                self._pause = loop.call_later(EXHAUSTED_PAUSE_S, self._open)
            return  # or else whoever it was is gone already
        accepted.setblocking(False)
        if self._guard is None:
            self._tasks.begin("connection", partial(self._serve, accepted))
        else:
            work = partial(self._serve_guarded, self._guard, accepted, address[0])
            self._tasks.begin("connection", work, about={"address": address[0]})

    async def _serve(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server: Any = self._runner.server
        await loop.connect_accepted_socket(lambda: Connection(server, loop=loop), accepted)

    async def _serve_guarded(self, guard: Guard, accepted: socket.socket, address: str) -> None:
        """Serve one connection to its end, if it is let in."""
        loop = asyncio.get_running_loop()
        server: Any = self._runner.server
        if not guard.enter(address):
            accepted.close()
            return
        context = guard.context
        connection = Connection(
            server, loop=loop, refused=lambda why, detail: guard.refused(why, address, detail)
        )
        try:
            await loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_DEADLINE_S if context else None,
                ssl_shutdown_timeout=FAREWELL_S if context else None,
            )
            await connection.over
        except OSError as error:
            guard.failed(address, error)
        finally:
            guard.leave(address)
