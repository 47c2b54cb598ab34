"""The whole daemon in this process: it starts, answers, reloads and stops, libvirt apart.

All of it is real but libvirt: its sockets, its journal, its threads, its HTTP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from pmigd.adapters.system.sdnotify import Notifier
from pmigd.adapters.system.unixsocket import SocketUnusable
from pmigd.config.schema import Config
from pmigd.core.facts import DomainFacts, HostFacts
from pmigd.core.model import Domain, Power, View
from pmigd.core.problem import Code, refuse
from pmigd.daemon import app as module
from pmigd.daemon.app import App, Environment

# aiohttp from 3.14 on would have other keys than those that it had before.
pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")

GUEST = Domain("web1", "11111111-2222-3333-4444-555555555555")
DEADLINE_S = 20


class Libvirt:
    """One that has a guest, and where no migrate call is made: its facts cannot be had."""

    def __init__(self, uri: str, *, connection_changed: Callable[[bool], None], own_host: Any, **_):
        self.uri = uri
        self.own_host = own_host
        self.pools = ()
        self.hung: dict[str, int] = {}
        self.connected = False
        self.facts = HostFacts("", "", "10.0.0", "QEMU", "8.2.0")
        self.reconnects = 0
        self.last_error = "not tried yet"
        self.closed = False
        self._changed = connection_changed

    async def run(self) -> None:
        self.connected = True
        self._changed(True)
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True

    async def domains(self) -> list[DomainFacts]:
        return [DomainFacts(GUEST, View(Power.RUNNING, persistent=True))]

    async def lookup(self, _: str) -> DomainFacts:
        return (await self.domains())[0]

    async def quiet(self, _: Domain) -> None:
        return

    async def examine_guest(self, *_: object) -> Any:
        raise refuse(Code.DOMAIN_NOT_FOUND, "it is gone by now")


@pytest.fixture
def systemd(tmp_path: Path) -> Any:
    """Where the daemon's messages to systemd arrive."""
    here = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.bind(str(tmp_path / "notify"))
    here.setblocking(False)
    with here:
        yield here


def heard(systemd: socket.socket) -> list[str]:
    """The first words of what systemd was told since it was asked last."""
    found = []
    while True:
        try:
            found.append(systemd.recv(4096).decode().split("\n")[0])
        except BlockingIOError:
            return [word for word in found if not word.startswith("STATUS")]


def configured(tmp_path: Path, **limits: int) -> Config:
    config = {
        "daemon": {"name": "hosta", "state_dir": str(tmp_path / "state")},
        "libvirt": {"uri": f"qemu:///system?socket={tmp_path}/nobody"},
        "api": {"socket": str(tmp_path / "pmigd.sock"), "group": ""},
        "metrics": {"listen": ["127.0.0.1:0"]},
        "limits": {"source": "default", **limits},
        "peers": {"hostb": {"uri": "qemu+tls://hostb.invalid/system"}},
    }
    return msgspec.convert(config, Config)


def made(tmp_path: Path, config: Config) -> App:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    return App(config, Environment(notifier), libvirt=Libvirt)  # type: ignore[arg-type]


@asynccontextmanager
async def started(tmp_path: Path) -> AsyncIterator[App]:
    app = made(tmp_path, configured(tmp_path))
    async with asyncio.timeout(DEADLINE_S):
        await app.start()
        try:
            yield app
        finally:
            await app.stop()


@asynccontextmanager
async def client(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(tmp_path / "pmigd.sock"))
    async with aiohttp.ClientSession("http://pmigd", connector=connector) as session:
        yield session


def tasks_of_daemons() -> set[str]:
    mine = asyncio.current_task()
    return {task.get_name() for task in asyncio.all_tasks() if task is not mine}


async def test_it_starts_whole_answers_and_leaves_nothing_behind(
    tmp_path: Path, systemd: socket.socket
) -> None:
    before = tasks_of_daemons()
    async with started(tmp_path) as app, client(tmp_path) as api:
        assert heard(systemd) == ["READY=1"]
        async with api.get("/v1/status") as answer:
            status = await answer.json()
        assert (status["name"], status["ready"], status["missing"]) == ("hosta", True, {})
        async with api.get("/metrics") as answer:
            assert "pmigd_build_info" in await answer.text()
        async with api.get("/v1/diagnose") as answer:
            bundle = await answer.json()
        assert {"status", "limits", "peers", "migrations", "loop", "pools"} <= bundle.keys()
    assert heard(systemd) == ["STOPPING=1"]
    assert app.hypervisor.closed  # type: ignore[attr-defined]
    assert not (tmp_path / "pmigd.sock").exists()
    assert tasks_of_daemons() == before


async def test_a_request_is_queued_in_one_visit_and_every_kind_of_refusal_is_told(
    tmp_path: Path, systemd: socket.socket
) -> None:
    async with started(tmp_path), client(tmp_path) as api:

        async def post(**body: object) -> tuple[int, str]:
            async with api.post("/v1/migrations", json=body) as answer:
                told = await answer.json()
                return answer.status, told.get("code") or told["domain"]["name"]

        assert await post(domain="web1", destination="hostb", typo=1) == (422, "invalid_request")
        assert await post(domain="web1", destination="hostc") == (422, "unknown_peer")
        assert await post(domain="web1", destination="hostb", xml="<do") == (422, "invalid_request")
        assert await post(domain="web1", destination="hostb") == (202, "web1")
        async with api.get("/v1/migrations?domain=web1") as answer:
            (one,) = (await answer.json())["items"]
        async with api.get(f"/v1/migrations/{one['id']}?wait=10") as answer:
            ended = await answer.json()
        assert ended["problem"]["code"] == "domain_not_found", "it was started, and looked at"


async def test_reloads_that_are_asked_for_at_once_are_done_one_after_the_other(
    tmp_path: Path, systemd: socket.socket
) -> None:
    async with started(tmp_path) as app, client(tmp_path) as api:
        assert heard(systemd) == ["READY=1"]

        def fails() -> Config:
            raise ValueError("a fault in line 3")

        for load in (
            lambda: configured(tmp_path, max_outgoing=3),
            fails,
            lambda: configured(tmp_path, max_outgoing=5),
        ):
            app.reload(load)
        words: list[str] = []
        while words.count("READY=1") < 3:
            await asyncio.sleep(0.005)
            words += heard(systemd)
        assert words == ["RELOADING=1", "READY=1"] * 3
        async with api.get("/v1/status") as answer:
            assert (await answer.json())["limits"]["max_outgoing"] == 5
        assert app.gate.window == 5


async def test_a_start_that_fails_stops_what_was_started_the_last_first(
    tmp_path: Path, systemd: socket.socket
) -> None:
    before = tasks_of_daemons()
    (tmp_path / "file").touch()
    config = configured(tmp_path)
    nowhere = msgspec.structs.replace(config.api, socket=f"{tmp_path}/file/pmigd.sock")
    app = made(tmp_path, msgspec.structs.replace(config, api=nowhere))
    stopped = []
    push = app._stack.push

    def noted(name: str, stop: Callable[[], Any], **within: float) -> None:
        def told() -> Any:
            stopped.append(name)
            return stop()

        push(name, told, **within)

    app._stack.push = noted  # type: ignore[method-assign]
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(SocketUnusable):
            await app.start()
    assert "READY=1" not in heard(systemd)
    assert app.hypervisor.closed  # type: ignore[attr-defined]
    assert stopped[:3] == ["tasks", "peering", "migrations"]
    assert stopped.index("doors") < stopped.index("journal") < stopped.index("libvirt")
    assert tasks_of_daemons() == before


async def test_what_hangs_at_the_stop_is_said_and_holds_up_nobody_for_long(
    tmp_path: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSES_IN_S", 0.05)
    app = made(tmp_path, configured(tmp_path))
    async with asyncio.timeout(DEADLINE_S):
        await app.start()
        close = app.journal.close
        app.journal.close = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        app._stack._stops = [
            (name, app.journal.close if name == "journal" else stop, s)
            for name, stop, s in app._stack._stops
        ]
        with capture_logs() as said:
            await app.stop()
        await close()
    assert [line["part"] for line in said if line["event"] == "not stopped in time"] == ["journal"]
    assert app.hypervisor.closed  # type: ignore[attr-defined]
