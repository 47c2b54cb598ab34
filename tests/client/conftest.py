"""The stub daemon in this process, and both clients behind one face."""

from __future__ import annotations

import asyncio
import inspect
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pmigd.client import AsyncClient, Client
from tests.cli.conftest import stub
from tests.cli.stub import DEADLINE_S, Stub

__all__ = ["stub"]


class Asking:
    """An ``AsyncClient``, each call in a loop of its own; lists in the place of generators."""

    def __init__(self, path: str, **settings: float) -> None:
        self._client = AsyncClient(path, **settings)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **named: asyncio.run(self._do(name, arguments, named))

    async def _do(self, name: str, arguments: Any, named: Any) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            made = getattr(self._client, name)(*arguments, **named)
            if inspect.isasyncgen(made):
                return [item async for item in made]
            return await made


Make = Callable[..., Any]


@pytest.fixture(params=[Client, Asking], ids=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a client of a socket."""
    made: Make = request.param
    return made


@pytest.fixture
def client(make: Make, stub: Stub) -> Any:
    """A client of the stub."""
    return make(str(stub.socket))


class Sayer:
    """Whatever is asked, it says these bytes and hangs up, or stays silent then."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.says = b""
        self.hangs_up = True
        self.asked: list[bytes] = []
        self._kept: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.asked.append(connection.recv(65536))
            with suppress(OSError):
                connection.sendall(self.says)
            if self.hangs_up:
                connection.close()
            else:
                self._kept.append(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in (self._listener, *self._kept):
            sock.close()


@pytest.fixture
def sayer() -> Iterator[Sayer]:
    with tempfile.TemporaryDirectory(prefix="pmigd-client-") as folder:
        made = Sayer(Path(folder) / "s")
        yield made
        made.close()
