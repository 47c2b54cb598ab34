"""Two hosts with pmigd, kept up for all tests here; every test brings its own guests.

A test that changes a host (kills a daemon, holds a hook, shapes a link) finds it put right
afterwards by the fixture that changed it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contrib.lab import Guest, Host, Lab, LabGuest, missing
from contrib.lab.deadlines import until

TERMINAL = ("succeeded", "failed", "cancelled")
_HOLD_HOOK = """#!/bin/sh
# libvirt calls this on the destination before it starts the incoming QEMU.
[ "$2" = migrate ] || exit 0
cat
while [ -e /run/lab/hold-prepare ]; do sleep 0.05; done
"""


@dataclass
class Pmig:
    """pmigd of one host, as a client sees it."""

    host: Host

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer's body; its status must be `status`."""
        got, answer = self.host.pmigd.request(method, path, body)
        assert got == status, answer
        return answer

    def submit(self, guest: LabGuest | str, to: str = "hostb", **fields: Any) -> dict[str, Any]:
        """A migration that was accepted."""
        name = guest if isinstance(guest, str) else guest.name
        body = {"domain": name, "destination": to, **fields}
        return self.call("POST", "/v1/migrations", body, 202)

    def get(self, iden: str) -> dict[str, Any]:
        """One migration."""
        return self.call("GET", f"/v1/migrations/{iden}")

    def all(self, **query: str) -> list[dict[str, Any]]:
        """Migrations, newest first."""
        text = "&".join(f"{key}={value}" for key, value in {"limit": "200", **query}.items())
        return self.call("GET", f"/v1/migrations?{text}")["items"]

    def wait(
        self,
        iden: str,
        *states: str,
        timeout: float = 30,
        also: Callable[[dict[str, Any]], bool] = lambda m: True,
    ) -> dict[str, Any]:
        """The migration, once it is in one of `states`; a wrong end fails at once."""

        def there() -> dict[str, Any] | None:
            m = self.get(iden)
            if m["state"] in states and also(m):
                return m
            assert m["state"] not in TERMINAL or m["state"] in states, json.dumps(m, indent=1)
            return None

        return until(
            there,
            f"migration {iden} in state {'/'.join(states)}",
            timeout=timeout,
            evidence=lambda: json.dumps(self.get(iden), indent=1) + self.host.pmigd.log_tail(),
        )

    def end(self, iden: str, state: str = "succeeded", timeout: float = 40) -> dict[str, Any]:
        """The migration at its end, which must be `state`."""
        path = f"/v1/migrations/{iden}?wait={timeout:g}"
        self.host.pmigd.request("GET", path, timeout=timeout + 30)
        return self.wait(iden, state, timeout=0)

    def abort(self, iden: str) -> dict[str, Any]:
        """Ask for an abort."""
        got, answer = self.host.pmigd.request("POST", f"/v1/migrations/{iden}/abort")
        assert got in (200, 202), answer
        return answer

    def ctl(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run pmigctl on the host."""
        return self.host.run(
            [sys.executable, "-m", "pmigd.cli", *arguments], check=False, timeout=timeout
        )

    def reload(self, overrides: Mapping[str, Any]) -> None:
        """New configuration by SIGHUP."""
        self.host.configure_pmigd(overrides)
        before = self.host.pmigd.log().count("configuration")
        self.host.pmigd.send_signal(signal.SIGHUP)
        until(
            lambda: self.host.pmigd.log().count("configuration") > before,
            "the configuration to be reloaded",
            timeout=5,
        )

    def metric(self, name: str, **labels: str) -> float:
        """One sample's value; 0 where the series does not exist."""
        return metric(self.call("GET", "/metrics"), name, **labels)


def metric(text: str, name: str, **labels: str) -> float:
    """The first sample of an exposition that has at least `labels`; 0 where there is none."""
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        series, _, rest = head.partition("{")
        if series == name and all(f'{key}="{label}"' in rest for key, label in labels.items()):
            return float(value)
    return 0.0


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with started(name="pmigd", tls=True, pmigd={"limits": {"max_outgoing": 8}}) as lab:
        yield lab


@contextlib.contextmanager
def started(hosts: int = 2, **spec: Any) -> Iterator[Lab]:
    """A lab whose hosts all have a pmigd that does not forgive blocking its loop."""
    lacking = missing(tls=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    with Lab(hosts, pmigd_argv=[sys.executable, "-m", "tests.support.strict"], **spec) as lab:
        for host in lab.hosts:
            start(host)
        yield lab


@pytest.fixture(autouse=True)
def _nothing_blocked_and_nothing_crashed(lab: Lab) -> Iterator[None]:
    """No test may leave a traceback in a daemon's log."""
    with no_tracebacks(lab):
        yield


@contextlib.contextmanager
def no_tracebacks(lab: Lab) -> Iterator[None]:
    """Nothing in a daemon's log meanwhile; a blocking call on its loop makes a traceback, too."""
    before = [len(host.pmigd.log()) for host in lab.hosts]
    yield
    for host, length in zip(lab.hosts, before, strict=True):
        log = host.pmigd.log()
        fresh = log[length if length <= len(log) else 0 :]
        for sign in ("BlockingError", "Traceback", "exception", "Non-thread-safe", "never retr"):
            assert sign not in fresh, fresh


ROOT = str(Path(__file__).parents[2])


def start(host: Host, **arguments: Any) -> None:
    """Start the host's pmigd, watched for blocking calls."""
    host.pmigd.start(env={"PYTHONPATH": ROOT}, **arguments)


def dies_before(pmig: Pmig, call: str) -> None:
    """Start pmigd so that it is killed right before it makes that call."""
    pmig.host.pmigd.stop()
    pmig.host.pmigd.start(env={"PYTHONPATH": ROOT, "PMIGD_DIES_BEFORE": call})


def dead(pmig: Pmig) -> None:
    """Wait for that."""
    until(lambda: not pmig.host.pmigd.alive, "pmigd to be killed", timeout=30)
    assert pmig.host.pmigd.wait() == -signal.SIGKILL


@pytest.fixture
def hosts(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """Both hosts as they should be, before and after."""
    a, b = lab.hosts
    yield a, b
    for host in (a, b):
        lab.link(host).up()
        lab.link(host).unshape()
        if host.libvirtd.alive:
            host.libvirtd.thaw()
        else:
            host.libvirtd.start()
    put_right(a)
    put_right(b)


def put_right(host: Host) -> None:
    """pmigd runs with the lab's configuration and has nothing going on."""
    host.configure_pmigd({})
    if host.pmigd.alive:
        host.pmigd.send_signal(signal.SIGHUP)
    else:
        start(host)
    host.pmigd.wait_ready()
    pmig = Pmig(host)
    for m in pmig.all():
        if m["state"] not in TERMINAL:
            host.pmigd.request("POST", f"/v1/migrations/{m['id']}/abort")


@pytest.fixture
def a(hosts: tuple[Host, Host]) -> Pmig:
    return Pmig(hosts[0])


@pytest.fixture
def b(hosts: tuple[Host, Host]) -> Pmig:
    return Pmig(hosts[1])


_numbers = itertools.count(1)


@pytest.fixture
def guest(lab: Lab, hosts: tuple[Host, Host]) -> Iterator[Callable[..., LabGuest]]:
    """Start a guest on hosta; it ends with the test."""
    started: list[LabGuest] = []

    def start(on: Host | None = None, **spec: Any) -> LabGuest:
        spec.setdefault("name", f"g{next(_numbers)}")
        made = lab.guest(Guest(**spec), on=on or hosts[0])
        started.append(made)
        return made

    yield start
    for host in hosts:
        if host.libvirtd.alive:
            host.libvirtd.thaw()
        else:
            host.libvirtd.start()
    for made in started:
        made.destroy()


@pytest.fixture
def slow(guest: Callable[..., LabGuest]) -> Callable[..., LabGuest]:
    """A guest whose memory takes a while at 1 MiB/s: 40 s for 40 MiB."""
    return lambda **spec: guest(**{"fill_mib": 40, **spec})


@pytest.fixture
def hold_prepare(hosts: tuple[Host, Host]) -> Iterator[Callable[[], None]]:
    """Keep hostb from starting incoming guests until the returned function is called."""
    hook = hosts[1].path("/etc/libvirt/hooks/qemu")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_HOLD_HOOK)
    hook.chmod(0o755)
    hosts[1].libvirtd.restart()
    held = hosts[1].path("/run/lab/hold-prepare")
    held.touch()

    def release() -> None:
        with contextlib.suppress(FileNotFoundError):
            held.unlink()

    yield release
    release()
    hook.unlink()
    hosts[1].libvirtd.restart()


SILENCE_S = 4
"""How long hosta's libvirtd, if `impatient`, keeps a connection on which nothing comes back."""


@pytest.fixture
def impatient(hosts: tuple[Host, Host]) -> Iterator[None]:
    """hosta's libvirtd misses a silent client or destination after `SILENCE_S` instead of 30 s."""
    host = hosts[0]

    def restart(**keepalive: int) -> None:
        host.configure_libvirtd(keepalive)
        host.configure_qemu(keepalive)
        host.libvirtd.restart()
        if host.pmigd.alive:
            host.pmigd.stop()
        start(host)

    restart(keepalive_interval=1, keepalive_count=SILENCE_S - 1)
    yield
    restart()


@dataclass
class Stopwatch:
    """Seconds since it was made."""

    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@pytest.fixture
def stopwatch() -> Callable[[], Stopwatch]:
    return lambda: Stopwatch(time.monotonic())
