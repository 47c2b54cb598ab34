"""One lab for the whole package: pmigd on hosta, and hostb to migrate to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contrib.lab import Guest, Host, Lab, LabGuest, missing
from contrib.lab.config_text import merge
from contrib.lab.deadlines import until
from tests.api.client import Api

PMIGD_GID = 990
USERS = {"vera": 2001, "oscar": 2002, "mona": 2003, "nemo": 2004}
"""A viewer, an operator, an operator by a group, and one without a role."""
CONFIG: dict[str, Any] = {
    "api": {
        "group": "pmigd",
        "mode": "0660",
        "roles": {"admin": ["root"], "operator": ["oscar", "@movers"], "viewer": ["vera"]},
    },
    "limits": {"max_outgoing": 1},
    "security": {"allow_uris": ["qemu+tcp://hostb/system", "qemu+tcp://*.77.0.1/system"]},
    "peers": {
        "byaddress": {"uri": "qemu+tcp://10.77.0.1/system"},
        "byalias": {"uri": "qemu+tcp://also-hosta/system"},
    },
}


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lacking = missing()
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    with Lab(name="api") as lab:
        hosta = lab.hosts[0]
        _add_users(hosta)
        with hosta.path("/etc/hosts").open("a") as hosts:
            hosts.write(f"{hosta.address} also-hosta\n")
        hosta.pmigd.start(CONFIG)
        yield lab
        assert "Traceback" not in hosta.pmigd.log()
        assert "request failed" not in hosta.pmigd.log()


def _add_users(host: Host) -> None:
    passwd, group = host.path("/etc/passwd"), host.path("/etc/group")
    lines = [f"{name}:x:{uid}:100::/:/bin/sh" for name, uid in USERS.items()]
    passwd.write_text(passwd.read_text().rstrip("\n") + "\n" + "\n".join(lines) + "\n")
    group.write_text(group.read_text().rstrip("\n") + "\nmovers:x:991:mona\n")


@pytest.fixture(scope="session")
def hosta(lab: Lab) -> Host:
    return lab.hosts[0]


@pytest.fixture(scope="session")
def hostb(lab: Lab) -> Host:
    return lab.hosts[1]


@pytest.fixture
def api(hosta: Host) -> Iterator[Api]:
    """The API; no test leaves a migration behind."""
    api = Api(hosta)
    yield api
    for migration in api.open():
        api.abort(migration["id"])


@pytest.fixture(scope="session")
def heavies(lab: Lab, hosta: Host) -> list[LabGuest]:
    """Three guests with so much to move that a throttled migration runs until it is aborted."""
    return [lab.guest(Guest(name=f"heavy{number}", fill_mib=40), on=hosta) for number in (1, 2, 3)]


@pytest.fixture
def slow(api: Api, heavies: list[LabGuest]) -> dict[str, Any]:
    """A migration that runs and will run on; it holds the only slot."""
    migration = api.submit(heavies[0].name, bandwidth_mib_s=1)
    api.reaches(migration["id"], "precopy")
    return api.migration(migration["id"])


@pytest.fixture(scope="session")
def dormant(lab: Lab, hosta: Host) -> LabGuest:
    """A domain that is defined and not running."""
    guest = lab.guest(Guest(name="dormant"), on=hosta, start=False)
    hosta.virsh("define", "/dev/stdin", input=guest.xml)
    return guest


@pytest.fixture
def mover(lab: Lab, hosta: Host) -> Iterator[Callable[[str], LabGuest]]:
    """Start a small guest that may really go to hostb."""
    started: list[LabGuest] = []

    def start(name: str) -> LabGuest:
        started.append(lab.guest(Guest(name=name, memory_mib=32), on=hosta))
        return started[-1]

    yield start
    for guest in started:
        guest.destroy()


@pytest.fixture
def reconfigured(hosta: Host, api: Api) -> Callable[[dict[str, Any]], Any]:
    """A context in which the daemon has another configuration, taken up without a restart."""

    def reload(config: dict[str, Any]) -> None:
        before = hosta.pmigd.log().count("configuration reloaded")
        hosta.configure_pmigd(config)
        hosta.pmigd.send_signal(signal.SIGHUP)
        until(
            lambda: hosta.pmigd.log().count("configuration reloaded") > before,
            "reload",
            timeout=5,
            evidence=hosta.pmigd.log_tail,
        )

    @contextmanager
    def changed(overrides: dict[str, Any]) -> Iterator[None]:
        reload(merge(CONFIG, overrides))
        try:
            yield
        finally:
            reload(CONFIG)

    return changed
