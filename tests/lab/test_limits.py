"""The mirror of a real libvirtd's limits: live, changed while it runs, silent, away, on paper."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from contrib.lab import Host
from pmigd.adapters.limits import LimitsMirror, LimitSource
from pmigd.adapters.limits.virtadmin import DEADLINE_S
from pmigd.adapters.system.libvirtconf import read as read_conf
from pmigd.core.limits import LIVE_KEPT_S, HostLimits, Source
from pmigd.core.model import Now

pytestmark = pytest.mark.hypervisor


@pytest.fixture
def host(hosts: tuple[Host, Host]) -> Host:
    """The host whose libvirtd is asked."""
    return hosts[0]


@pytest.fixture
def mirror(host: Host) -> Iterator[Callable[..., LimitsMirror]]:
    """Make a mirror of the host's limits."""
    made: list[LimitsMirror] = []

    def make(**arguments: Any) -> LimitsMirror:
        places = {"socket_dir": host.path("/run/libvirt"), "conf_dir": host.path("/etc/libvirt")}
        limits = LimitsMirror(**{"read_conf": read_conf, "now": now, **places, **arguments})
        made.append(limits)
        return limits

    yield make
    for limits in made:
        limits.stop()


def now(later_s: float = 0.0) -> Now:
    return Now(time.monotonic() + later_s, datetime.now(UTC))


def virt_admin(host: Host, *commands: str) -> dict[str, int]:
    """What virt-admin itself says on the host."""
    asked = "; ".join(
        commands or ("server-threadpool-info libvirtd", "server-clients-info libvirtd")
    )
    said = host.run(["virt-admin", "-q", asked]).stdout
    return {name: int(value) for name, value in re.findall(r"(?m)^(\w+)\s*: (\d+)$", said)}


async def test_the_figures_are_those_that_virt_admin_itself_prints(host, mirror) -> None:
    limits = mirror()
    for _ in range(20):  # the use may change between two questions
        said = virt_admin(host)
        [daemon] = (await limits.refresh()).daemons
        if said == virt_admin(host):
            break
    assert daemon.daemon == "libvirtd"
    assert said == {
        "nclients_max": daemon.max_clients.value,
        "nclients": daemon.use.clients,
        "nclients_unauth_max": daemon.max_anonymous_clients.value,
        "nclients_unauth": daemon.use.anonymous_clients,
        "minWorkers": daemon.min_workers.value,
        "maxWorkers": daemon.max_workers.value,
        "prioWorkers": daemon.prio_workers.value,
        "nWorkers": daemon.use.workers,
        "freeWorkers": daemon.use.free_workers,
        "jobQueueDepth": daemon.use.queued_calls,
    }
    assert daemon.use.clients >= 1  # pmigd's own
    assert daemon.max_workers.source is Source.VIRT_ADMIN
    assert daemon.max_client_requests.source is Source.DEFAULT
    assert limits.current.problems == ()
    assert daemon.max_workers.read_at is not None


async def test_a_migration_is_seen_to_hold_a_worker(host, mirror, slow, a) -> None:
    limits = mirror()
    [before] = (await limits.refresh()).daemons
    moved = a.submit(slow(), bandwidth_mib_s=1)
    a.wait(moved["id"], "precopy")
    seen = [(await limits.refresh()).daemons[0].use.busy_workers for _ in range(5)]
    assert min(seen) >= 1
    assert limits.current.daemons[0].use.clients > before.use.clients
    a.abort(moved["id"])
    a.end(moved["id"], "cancelled")


async def test_a_change_in_the_running_daemon_is_seen_and_told(host, mirror) -> None:
    told: list[HostLimits] = []
    limits = mirror(on_read=told.append)
    await limits.refresh()
    figures = limits.current.daemons[0]
    virt_admin(
        host,
        "server-threadpool-set libvirtd --max-workers 9 --priority-workers 3",
        "server-clients-set libvirtd --max-clients 300 --max-unauth-clients 7",
    )
    try:
        told.clear()
        [daemon] = (await limits.refresh()).daemons
        assert (daemon.max_workers.value, daemon.prio_workers.value) == (9, 3)
        assert (daemon.max_clients.value, daemon.max_anonymous_clients.value) == (300, 7)
        assert told == [limits.current]
    finally:
        virt_admin(
            host,
            f"server-threadpool-set libvirtd --max-workers {figures.max_workers.value}"
            f" --priority-workers {figures.prio_workers.value}",
            f"server-clients-set libvirtd --max-clients {figures.max_clients.value}"
            f" --max-unauth-clients {figures.max_anonymous_clients.value}",
        )


async def test_a_silent_daemon_holds_up_neither_the_loop_nor_the_reading(host, mirror) -> None:
    limits = mirror()
    await limits.refresh()
    live = limits.current.daemons[0]
    host.libvirtd.freeze()
    held, done = 0.0, asyncio.Event()

    async def probe() -> None:
        nonlocal held
        while not done.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            held = max(held, time.monotonic() - began - 0.01)

    watcher = asyncio.create_task(probe())
    began = time.monotonic()
    with blockbuster_ctx("pmigd"):
        silent = await limits.refresh()
    took = time.monotonic() - began
    done.set()
    await watcher
    assert DEADLINE_S <= took < 3 * DEADLINE_S
    assert held < DEADLINE_S / 2
    # What it said last still counts, and its age is told.
    [daemon] = silent.daemons
    assert daemon.max_workers == live.max_workers
    assert daemon.max_workers.read_at == live.max_workers.read_at
    assert silent.problems == ("virt-admin: no answer from libvirtd in 2 s",)
    host.libvirtd.thaw()
    assert (await limits.refresh()).problems == ()


async def test_after_a_minute_without_an_answer_the_file_counts_and_then_the_default(
    mirror, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "own.conf").write_text("max_workers = 11\nmax_client_requests = 6\n")
    (tmp_path / "qemu.conf").write_text("migration_port_max = 49160\n")
    passed_s = 0.0
    limits = mirror(now=lambda: now(passed_s), daemon_conf=tmp_path / "own.conf", conf_dir=tmp_path)

    async def sources() -> dict[str, tuple[int, Source]]:
        host = await limits.refresh()
        daemon = host.daemons[0]
        figures = {
            "max_workers": daemon.max_workers,
            "max_clients": daemon.max_clients,
            "max_client_requests": daemon.max_client_requests,
            "migration_port_max": host.migration_port_max,
        }
        return {name: (figure.value, figure.source) for name, figure in figures.items()}

    live = {
        "max_workers": (20, Source.VIRT_ADMIN),
        "max_clients": (5000, Source.VIRT_ADMIN),
        "max_client_requests": (6, Source.CONF),
        "migration_port_max": (49160, Source.CONF),
    }
    on_paper = live | {"max_workers": (11, Source.CONF), "max_clients": (5000, Source.DEFAULT)}
    assert await sources() == live
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        assert await sources() == live
        assert limits.current.daemons[0].use is not None
        assert limits.current.problems == ("virt-admin is not installed (Debian: libvirt-clients)",)
        passed_s = LIVE_KEPT_S + 1
        assert await sources() == on_paper
        assert limits.current.daemons[0].use is None
    assert await sources() == live
    assert limits.current.problems == ()

    limits.configure(LimitSource.CONF, tmp_path / "own.conf")
    assert await sources() == on_paper
    assert limits.current.problems == ()
    limits.configure(LimitSource.DEFAULT, None)
    assert {source for _, source in (await sources()).values()} == {Source.DEFAULT}


async def test_a_daemon_that_is_away_is_said_and_found_again(host, mirror) -> None:
    limits = mirror()
    host.libvirtd.stop()
    away = await limits.refresh()
    assert away.daemons[0].max_workers.source is Source.DEFAULT
    assert "Failed to connect" in away.problems[0]
    host.libvirtd.start()
    back = await limits.refresh()
    assert back.daemons[0].max_workers.source is Source.VIRT_ADMIN
    assert back.problems == ()


async def test_the_owners_task_sees_a_change_by_itself(host, mirror, monkeypatch) -> None:
    monkeypatch.setattr("pmigd.adapters.limits.mirror.REFRESH_S", 0.05)
    seen = asyncio.Event()
    limits = mirror(
        on_read=lambda now: seen.set() if now.daemons[0].max_workers.value == 19 else None
    )
    task = asyncio.create_task(limits.run())
    virt_admin(host, "server-threadpool-set libvirtd --max-workers 19")
    try:
        async with asyncio.timeout(5):
            await seen.wait()
    finally:
        virt_admin(host, "server-threadpool-set libvirtd --max-workers 20")
        task.cancel()
