"""The lab: hosts on one switch, and the guests on them.

It must never leave anything behind, however it ends; what guarantees that is in
`anchor`, not here.
"""

from __future__ import annotations

import shutil
import socket
import time
from typing import TYPE_CHECKING, Any, Self

from contrib.lab import ssh as lab_ssh
from contrib.lab.certificates import Authority
from contrib.lab.guest import COMMON_MACHINE, Guest, LabGuest
from contrib.lab.heartbeat import Listener
from contrib.lab.hosts import Host
from contrib.lab.links import Link
from contrib.lab.namespaces import Anchor, Space
from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.requirements import host_name, missing, specification
from contrib.lab.roots import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"
_MAX_HOSTS = 26


class Lab:
    """Real libvirtd and QEMU hosts in namespaces of this machine.

    `libvirtd`, `qemu` and `pmigd` change libvirtd.conf, qemu.conf and pmigd.toml
    of every host; `name` only labels the anchor process for `ps`. With `tls` every
    host has a certificate and its libvirtd a TLS port, with `leases` every pmigd
    listens for the others as well, with `ssh` every host has an sshd. `roots` says
    which hosts (by name) have libvirtd and QEMU of another Debian suite:
    {"hostb": "trixie"}. Starts at once; a context manager. Raises LabUnavailable
    where it cannot run.
    """

    def __init__(
        self,
        hosts: int = 2,
        *,
        libvirtd: Mapping[str, Any] | None = None,
        qemu: Mapping[str, Any] | None = None,
        pmigd: Mapping[str, Any] | None = None,
        pmigd_argv: Sequence[str] | None = None,
        tls: bool = False,
        leases: bool = False,
        ssh: bool = False,
        roots: Mapping[str, str] | None = None,
        name: str | None = None,
        state_dir_bytes: int = 64 << 20,
    ) -> None:
        if not 1 <= hosts <= _MAX_HOSTS:
            raise ValueError(f"hosts must be 1 to {_MAX_HOSTS}")
        roots = roots or {}
        unknown = set(roots) - {host_name(index) for index in range(hosts)}
        if unknown:
            raise ValueError(f"no such hosts: {', '.join(sorted(unknown))}")
        tls = tls or leases
        lacking = missing(tls=tls, ssh=ssh)
        if lacking:
            raise LabUnavailable(lacking)
        directories = {host: require(suite) for host, suite in roots.items()}
        started = time.monotonic()
        spec: dict[str, Any] = specification(
            hosts, state_dir_bytes=state_dir_bytes, roots=directories
        )
        # The newest machine type of one QEMU is unknown to an older one.
        self.machine = COMMON_MACHINE if roots else "pc"
        self.name = name or "lab"
        self._anchor = Anchor(spec, label=f"pmigd-lab:{self.name}")
        self._listener: Listener | None = None
        self._next_port = 20000
        self._guests: list[LabGuest] = []
        try:
            self._switch_address: str = spec["switch_address"]
            self._listener = Listener({h["address"]: h["name"] for h in spec["hosts"]})
            peers = [h["name"] for h in spec["hosts"]]
            authority = Authority(self.switch, "lab") if tls else None
            self.hosts: list[Host] = [
                Host(
                    h["name"],
                    h["address"],
                    self._anchor.hosts[h["name"]],
                    peers=peers,
                    libvirtd=libvirtd or {},
                    qemu=qemu or {},
                    pmigd=pmigd or {},
                    pmigd_argv=pmigd_argv,
                    authority=authority,
                    leases=leases,
                    root=roots.get(h["name"]),
                )
                for h in spec["hosts"]
            ]
            self._links = {host.name: Link(host, self.switch) for host in self.hosts}
            if ssh:
                lab_ssh.furnish(self.hosts)
                for host in self.hosts:
                    host.sshd.start(wait_ready=False)
            self._start_libvirtds()
            if ssh:
                for host in self.hosts:
                    host.sshd.wait_ready()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - started

    def _start_libvirtds(self) -> None:
        # Asking QEMU for its capabilities is most of a start. Of the hosts that have
        # the same QEMU, one asks and the others get a copy of the answer.
        first: dict[str | None, Host] = {}
        for host in self.hosts:
            first.setdefault(host.root, host)
        for host in first.values():
            host.libvirtd.start(wait_ready=False)
        for host in first.values():
            host.libvirtd.wait_ready()
        others = [host for host in self.hosts if host not in first.values()]
        for host in others:
            shutil.copytree(first[host.root].path(_CAPABILITIES), host.path(_CAPABILITIES))
            host.libvirtd.start(wait_ready=False)
        for host in others:
            host.libvirtd.wait_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def close(self) -> None:
        """End everything. Safe to call again."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._anchor.close()

    @property
    def switch(self) -> Space:
        """The namespaces of the switch, where all cables end."""
        return self._anchor.switch

    @property
    def anchor(self) -> Anchor:
        """The process that everything in the lab depends on."""
        return self._anchor

    def link(self, host: Host) -> Link:
        """The cable of a host."""
        return self._links[host.name]

    def guest(
        self, spec: Guest, on: Host, *, start: bool = True, timeout: float = 30.0
    ) -> LabGuest:
        """Define and start a guest (create, if transient) and wait for its first heartbeat."""
        if self._listener is None:
            raise LabError("the lab is closed")
        sock = self.switch.socket(kind=socket.SOCK_DGRAM)
        port = self._next_port
        self._next_port += 1
        try:
            sock.bind((self._switch_address, port))
            guest = LabGuest(self, spec, (self._switch_address, port))
        except BaseException:
            sock.close()
            raise
        self._listener.add(sock, guest.heartbeats)
        self._guests.append(guest)
        if start:
            guest.start(on, timeout=timeout)
        return guest

    def migrate(
        self,
        guest: LabGuest,
        to: Host,
        *flags: str,
        source: Host | None = None,
        uri: str | None = None,
        timeout: float = 60.0,
    ) -> float:
        """Migrate by virsh (--live --p2p unless flags are given); seconds it took.

        `uri` is how the source reaches the destination; plain TCP by default.
        """
        if source is None:
            where = guest.where()
            if len(where) != 1:
                raise LabError(f"guest {guest.name} runs on {where}")
            source = where[0]
        started = time.monotonic()
        try:
            source.virsh(
                "migrate",
                *(flags or ("--live", "--p2p")),
                guest.name,
                uri or to.uri_from_peer,
                timeout=timeout,
            )
        except LabError as error:
            logs = [host.qemu_log_tail(guest.name) for host in (source, to)]
            raise LabError("\n".join([str(error), *logs])) from None
        return time.monotonic() - started
