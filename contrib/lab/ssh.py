"""sshd on the lab's hosts, and the keys by which root of one gets into the others.

It must never use or write a key of the machine: all of it is in the hosts' private
/etc and in root's private home (see `anchor`).
"""

from __future__ import annotations

import contextlib
import shutil
import socket
from typing import TYPE_CHECKING

from contrib.lab.anchor import HOME
from contrib.lab.daemons import Daemon
from contrib.lab.deadlines import until
from contrib.lab.namespaces import search_path
from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrib.lab.hosts import Host

_PORT = 22
_HOME = f"{HOME}/.ssh"
_HOST_KEY = "/etc/ssh/lab_host_key"
_CONFIG_PATH = "/etc/ssh/lab_sshd_config"
_CONFIG = f"""\
HostKey {_HOST_KEY}
PidFile none
AuthorizedKeysFile {_HOME}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
# Six migrations at once are six connections that log in at once.
MaxStartups 100
"""


class Sshd(Daemon):
    """sshd of a host. Sessions that are open survive its death, as on any host."""

    def __init__(self, host: Host, port: int = _PORT) -> None:
        # It starts itself again for every connection and wants its full path for that.
        program = shutil.which("sshd", path=search_path()) or "/usr/sbin/sshd"
        super().__init__(
            host.space,
            f"sshd on {host.name}",
            [program, "-D", "-e", "-f", _CONFIG_PATH, "-p", str(port)],
            host.path("/var/log/sshd.log"),
        )
        self._host = host
        self._port = port

    def start(self, *, wait_ready: bool = True, timeout: float = 10.0) -> None:
        """Start it, and by default wait until it answers (`timeout` in seconds)."""
        self._spawn()
        if wait_ready:
            self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Wait until it greets a client."""
        until(self._answers, f"start of {self.name}", timeout=timeout, evidence=self.log_tail)

    def _answers(self) -> bool:
        if not self.alive:
            raise LabError(f"{self.name} ended with {self.returncode}\n{self.log_tail()}")
        with contextlib.suppress(OSError), self._host.connect(self._port, timeout=2) as connection:
            greeting: bytes = connection.recv(4, socket.MSG_WAITALL)
            return greeting == b"SSH-"
        return False

    def restart(self, timeout: float = 10.0) -> None:
        """Stop, if it runs, and start again."""
        if self.alive:
            self.stop()
        self.start(timeout=timeout)


def furnish(hosts: Sequence[Host]) -> None:
    """Give every host its keys and settings, so that root of each may enter all."""
    known, authorized = "", ""
    for host in hosts:
        home = host.path(_HOME)
        home.mkdir(mode=0o700)
        host.path("/etc/ssh").mkdir(exist_ok=True)
        # sshd wants this directory for its unprivileged part.
        host.path("/run/sshd").mkdir(mode=0o755)
        for key in (_HOST_KEY, f"{_HOME}/id_ed25519"):
            host.path(key).unlink(missing_ok=True)
            comment = f"root@{host.name}"
            host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
        key = host.path(f"{_HOST_KEY}.pub").read_text().strip()
        known += f"{host.name},{host.address} {key}\n"
        authorized += host.path(f"{_HOME}/id_ed25519.pub").read_text()
        host.write_file(_CONFIG_PATH, _CONFIG)
    for host in hosts:
        host.write_file(f"{_HOME}/known_hosts", known)
        host.write_file(f"{_HOME}/authorized_keys", authorized)
