"""Where connections come in: who says nothing, or says it too slowly, is let go.

aiohttp has a time limit between two requests, but none for the first request's head. Without one
whoever may connect could hold descriptors until nobody else is let in. What is not HTTP at all
never reaches the application, so it is answered here, in the same form as every other mistake.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import structlog
from aiohttp import web

from pmigd.api.problems import problem_response, raw_problem
from pmigd.core.problem import Code, Problem

HEAD_DEADLINE_S: Final = 10.0
"""From a connection's begin until its first request's head is complete."""
KEEPALIVE_S: Final = 20.0
"""How long a connection may be silent between two requests."""

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One client's connection."""

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(manager, loop=loop, keepalive_timeout=KEEPALIVE_S, access_log=None)  # type: ignore[arg-type]
        self._head_deadline: asyncio.TimerHandle | None = None
        self._said_something = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client its time to say what it wants."""
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._head_deadline = loop.call_later(HEAD_DEADLINE_S, self._let_go)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing to wait for any more."""
        self.heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came."""
        self._said_something = True
        super().data_received(data)

    def heard(self) -> None:
        """A request came in whole; what follows has the application's own deadlines."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

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
            said = "".join(c if c.isprintable() else "?" for c in (lines or [""])[0][:100])
            problem = Problem(Code.BAD_HTTP, said or "Its first line could not be read.")
        else:
            log.error("request failed", exc_info=exc)
            problem = Problem(Code.INTERNAL, "The daemon's log has the details.")
        response = problem_response(problem)
        response.force_close()
        return response

    def _let_go(self) -> None:
        self._head_deadline = None
        if self.transport is not None and self._said_something:
            detail = f"Its head was not complete after {HEAD_DEADLINE_S:g} s."
            self.transport.write(raw_problem(Problem(Code.REQUEST_TOO_SLOW, detail)))
        self.force_close()


class Door(web.BaseSite):
    """A listening socket whose connections are :class:`Connection`; the runner closes it."""

    def __init__(self, runner: web.BaseRunner, listener: socket.socket, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._listener = listener

    @property
    def name(self) -> str:
        """Where it listens."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Let clients in."""
        await super().start()
        loop = asyncio.get_running_loop()
        server: Any = self._runner.server
        self._server = await loop.create_server(
            lambda: Connection(server, loop=loop), sock=self._listener, backlog=self._backlog
        )
