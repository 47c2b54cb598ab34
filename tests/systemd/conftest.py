"""One booted container for all tests here; each test starts with pmigd as freshly installed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.systemd.machine import CONFIG, Machine, MachineError, missing, until

SERVICE, SOCKET, METRICS = "pmigd.service", "pmigd.socket", "pmigd-metrics.socket"
SOCKET_PATH = "/run/pmigd/pmigd.sock"
MEMBER, STRANGER = "pmigdmember", "pmigdstranger"
PEER = '[peers.hostb]\nuri = "qemu+tcp://192.0.2.2/system"\n'

# Run inside: status, then body.
_GET = """
import sys
sys.path.insert(0, "/usr/lib/pmigd/site")
from pmigd.client import Client
reply = Client(sys.argv[1]).ask("GET", sys.argv[2])
print(reply.status)
print(reply.content.decode())
"""


@dataclass(frozen=True)
class Installed:
    """pmigd in the container, by the commands an operator has."""

    machine: Machine

    def show(self, name: str, unit: str = SERVICE) -> str:
        """One property of a unit."""
        return self.machine.run("systemctl", "show", unit, "-P", name).stdout.strip()

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What systemctl says, on either stream."""
        done = self.machine.run("systemctl", *arguments, check=check)
        return done.stdout + done.stderr

    @property
    def main_pid(self) -> int:
        """The service's main process as seen inside; 0 for none."""
        return int(self.show("MainPID"))

    def configure(self, text: str) -> None:
        """Write pmigd.toml."""
        (self.machine.root / CONFIG[1:]).write_text(text)

    def drop_in(self, text: str) -> None:
        """Add settings to the service, as `systemctl edit` does."""
        folder = self.machine.root / f"etc/systemd/system/{SERVICE}.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(f"[Service]\n{text}\n")
        self.systemctl("daemon-reload")

    def status(self) -> dict[str, Any]:
        """What `pmigctl --json status` says."""
        answer: dict[str, Any] = json.loads(self.machine.run("pmigctl", "--json", "status").stdout)
        return answer

    def get(self, path: str) -> tuple[int, str]:
        """GET on the API's socket: status and body."""
        python = "/usr/lib/pmigd/venv/bin/python"
        done = self.machine.run(python, "-Ic", _GET, SOCKET_PATH, path)
        status, _, body = done.stdout.partition("\n")
        return int(status), body

    def log(self, *matches: str) -> list[str]:
        """The service's lines in the journal since the test began."""
        self.machine.run("journalctl", "--sync")
        argv = ["journalctl", "-u", SERVICE, "-o", "cat", "--no-pager", "-q", *matches]
        return self.machine.run(*argv).stdout.splitlines()

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """The same with all their fields."""
        return [json.loads(line) for line in self.log("-o", "json", *matches)]

    def explained(self, entry: dict[str, Any]) -> str:
        """What `journalctl -x` shows of an entry."""
        argv = ["journalctl", "-x", "--no-pager", "-q", f"--cursor={entry['__CURSOR']}", "-n1"]
        return self.machine.run(*argv).stdout


@pytest.fixture(scope="session")
def booted() -> Iterator[Machine]:
    lacking = missing()
    if lacking:
        pytest.fail("no systemd can be booted here; missing: " + "; ".join(lacking))
    with Machine() as machine:
        machine.boot()
        machine.run("useradd", "--no-create-home", "--groups", "pmigd", MEMBER)
        machine.run("useradd", "--no-create-home", STRANGER)
        yield machine


@pytest.fixture
def pmigd(booted: Machine) -> Installed:
    """Installed and its socket enabled, the service not yet started."""
    script = f"""
    set -e
    systemctl stop {SERVICE} {SOCKET} {METRICS} 2>/dev/null
    systemctl disable --quiet {SERVICE} {SOCKET} {METRICS}
    rm -rf /etc/systemd/system/{SERVICE}.d /var/lib/pmigd /run/pmigd
    printf %s {shlex.quote(PEER)} > {CONFIG}
    journalctl --quiet --sync --rotate --vacuum-time=1us 2>/dev/null
    systemctl daemon-reload
    systemctl reset-failed
    systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
    systemctl enable --quiet --now {SOCKET}
    """
    booted.run("bash", "-c", script)
    return Installed(booted)


def wait_active(pmigd: Installed, within_s: float = 10) -> None:
    """Until systemd calls the service active."""
    until(
        lambda: pmigd.show("ActiveState") == "active",
        "the service is active",
        within_s=within_s,
        evidence=lambda: pmigd.systemctl("status", SERVICE, check=False),
    )


__all__ = ["Installed", "MachineError", "wait_active"]
