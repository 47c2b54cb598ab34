"""Two hosts whose pmigd know each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from contrib.lab import Guest, Host, Lab, LabGuest
from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig, no_tracebacks, put_right, started
from tests.support.collector import Collector

WITHOUT_LEASES = "qemu+tcp://10.77.0.2/system"
COLLECTOR = ("10.77.0.254", 4318)
LIMITS = {"max_outgoing": 4, "max_incoming": 4, "max_preparing": 4}


@pytest.fixture(scope="session")
def lab_and_collector() -> Iterator[tuple[Lab, Collector]]:
    """Both pmigd trace all that is done here."""
    config = {
        "limits": LIMITS,
        # hostb by its address is nobody's peer: there no lease is asked for.
        "security": {"allow_uris": [WITHOUT_LEASES]},
        "tracing": {"endpoint": "http://{}:{}".format(*COLLECTOR)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        with started(name="leases", leases=True, pmigd=config) as lab:
            listener = lab.switch.socket()
            listener.bind(COLLECTOR)
            collector = Collector(listener)
            yield lab, collector
            collector.close()


@pytest.fixture(scope="session")
def lab(lab_and_collector: tuple[Lab, Collector]) -> Lab:
    return lab_and_collector[0]


@pytest.fixture(scope="session")
def collector(lab_and_collector: tuple[Lab, Collector]) -> Collector:
    return lab_and_collector[1]


@pytest.fixture(autouse=True)
def _nothing_blocked_and_nothing_crashed(lab: Lab) -> Iterator[None]:
    with no_tracebacks(lab):
        yield


@pytest.fixture
def hosts(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """Both hosts as they should be, before and after; no test leaves a lease behind."""
    a, b = lab.hosts
    yield a, b
    for host in (a, b):
        lab.link(host).up()
        if host.libvirtd.alive:
            host.libvirtd.thaw()
        else:
            host.libvirtd.start()
        put_right(host)
    for host in (a, b):
        nothing_held(Pmig(host))


def nothing_held(pmig: Pmig, timeout: float = 15) -> None:
    """Wait until nothing on this host is leased or held any more."""

    def free() -> bool:
        limits = pmig.call("GET", "/v1/limits")
        leases = limits["given"]["granted"] + limits["given"]["waiting"]
        return leases == 0 and all(row["used"] == 0 for row in limits["resources"])

    until(
        free,
        f"nothing held on {pmig.host.name}",
        timeout=timeout,
        evidence=lambda: f"{pmig.call('GET', '/v1/limits')}\n{pmig.host.pmigd.log_tail()}",
    )


@pytest.fixture
def a(hosts: tuple[Host, Host]) -> Pmig:
    return Pmig(hosts[0])


@pytest.fixture
def b(hosts: tuple[Host, Host]) -> Pmig:
    return Pmig(hosts[1])


@pytest.fixture
def guest(lab: Lab, hosts: tuple[Host, Host]) -> Iterator[Callable[..., LabGuest]]:
    """Start a guest, on hosta unless told otherwise; it ends with the test."""
    started: list[LabGuest] = []

    def begin(on: Host | None = None, **spec: object) -> LabGuest:
        made = lab.guest(Guest(name=f"l{len(started)}", **spec), on=on or hosts[0])
        started.append(made)
        return made

    yield begin
    for host in hosts:
        if not host.libvirtd.alive:
            host.libvirtd.start()
    for made in started:
        made.destroy()


@pytest.fixture
def slow(guest: Callable[..., LabGuest]) -> Callable[..., LabGuest]:
    """A guest whose memory takes a while at 1 MiB/s: 40 s for 40 MiB."""
    return lambda **spec: guest(**{"fill_mib": 40, **spec})
