"""One host of the lab: its files, its daemons, and programs run on it.

Paths given as strings are paths inside the host; `Host.path` turns one into the
path that works outside.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from typing import IO, TYPE_CHECKING, Any

from contrib.lab import certificates
from contrib.lab.anchor import ROOT_POINT, SHARED_DIR
from contrib.lab.config_text import libvirt_conf, merge, toml
from contrib.lab.daemons import Libvirtd, Pmigd
from contrib.lab.deadlines import tail, until
from contrib.lab.disks import IMAGES_DIR
from contrib.lab.problems import LabError
from contrib.lab.ssh import Sshd

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from contrib.lab.certificates import Authority
    from contrib.lab.namespaces import Space

IMAGES_POOL = "images"
_STATE_DIR = "/var/lib/pmigd"
_BALLAST = f"{_STATE_DIR}/ballast"

# Never for a real host: anybody who reaches the port is root. The lab's network
# has no way out.
LIBVIRTD_CONF: dict[str, Any] = {
    "listen_tls": 0,
    "listen_tcp": 1,
    "auth_tcp": "none",
    "auth_unix_rw": "none",
    "auth_unix_ro": "none",
    "unix_sock_group": "root",
    "unix_sock_rw_perms": "0700",
}
QEMU_CONF: dict[str, Any] = {
    "user": "root",
    "group": "root",
    "security_driver": "none",
    "cgroup_controllers": [],
    "namespaces": [],
    "remember_owner": 0,
    "stdio_handler": "file",
}


class Host:
    """A host: own network, host name, mounts, libvirtd and pmigd."""

    def __init__(
        self,
        name: str,
        address: str,
        space: Space,
        *,
        peers: Sequence[str],
        libvirtd: Mapping[str, Any],
        qemu: Mapping[str, Any],
        pmigd: Mapping[str, Any],
        pmigd_argv: Sequence[str] | None = None,
        authority: Authority | None = None,
        leases: bool = False,
        root: str | None = None,
    ) -> None:
        self.name = name
        self.root = root
        self.address = address
        self.space = space
        self.host_uuid = str(uuid.uuid4())
        self.default_pmigd_config = merge(
            {
                "daemon": {"name": name},
                "libvirt": {"uri": "qemu:///system"},
                "metrics": {"listen": ["0.0.0.0:9718"]},
                "peers": {
                    peer: {"uri": f"qemu+tcp://{peer}/system"} | _pmigd_at(peer, leases)
                    for peer in peers
                    if peer != name
                },
            }
            | ({"peer": {"listen": "0.0.0.0:9717"}} if leases else {}),
            pmigd,
        )
        self._authority = authority
        self.configure_libvirtd(libvirtd)
        self.configure_qemu(qemu)
        self.write_pmigd_config(self.default_pmigd_config)
        self.libvirtd = Libvirtd(self)
        self.sshd = Sshd(self)
        self.pmigd = Pmigd(self, pmigd_argv)
        self._own_certificate = None if authority is None else authority.issue(self)
        if authority is not None:
            self.use_own_certificate()

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    # Files

    def path(self, inside: str) -> Path:
        """Where a path of the host is found from outside (short enough for a socket)."""
        return self.space.root / inside.lstrip("/")

    def write_file(self, inside: str, text: str) -> None:
        """Write a file of the host."""
        self.path(inside).write_text(text)

    @property
    def state_dir(self) -> Path:
        """The host's /var/lib/pmigd, from outside. A file system of its own."""
        return self.path(_STATE_DIR)

    def configure_libvirtd(self, settings: Mapping[str, Any]) -> None:
        """Write libvirtd.conf: the lab's, changed by `settings`. Takes a restart to act."""
        tls = {"listen_tls": 1} if self._authority else {}
        own = {**LIBVIRTD_CONF, **tls, "host_uuid": self.host_uuid, **settings}
        self.write_file("/etc/libvirt/libvirtd.conf", libvirt_conf(own))

    def configure_qemu(self, settings: Mapping[str, Any]) -> None:
        """Write qemu.conf: the lab's, changed by `settings`. Takes a restart of libvirtd to act."""
        self.write_file("/etc/libvirt/qemu.conf", libvirt_conf({**QEMU_CONF, **settings}))

    def write_pmigd_config(self, config: str | Mapping[str, Any]) -> None:
        """Replace pmigd.toml."""
        text = config if isinstance(config, str) else toml(config)
        self.write_file(Pmigd.config_path, text)

    def configure_pmigd(self, overrides: Mapping[str, Any]) -> None:
        """Write the default pmigd.toml with `overrides` merged in."""
        self.write_pmigd_config(merge(self.default_pmigd_config, overrides))

    # Reaching it

    @property
    def libvirt_uri(self) -> str:
        """URI of its libvirtd for programs outside the lab."""
        return f"qemu:///system?socket={self.path('/run/libvirt/libvirt-sock')}"

    @property
    def uri_from_peer(self) -> str:
        """URI of its libvirtd for the other hosts."""
        return f"qemu+tcp://{self.name}/system"

    @property
    def tls_uri(self) -> str:
        """URI of its libvirtd for the other hosts, by TLS; takes a lab with `tls`."""
        return f"qemu+tls://{self.name}/system"

    @property
    def ssh_uri(self) -> str:
        """URI of its libvirtd for the other hosts, by ssh; takes a lab with `ssh`."""
        return f"qemu+ssh://root@{self.name}/system"

    @property
    def unix_uri(self) -> str:
        """URI of its libvirtd for the other hosts, without any network."""
        return f"qemu+unix:///system?socket={SHARED_DIR}/{self.name}/libvirt/libvirt-sock"

    def connect(self, port: int, *, address: str = "127.0.0.1", timeout: float = 5.0) -> Any:
        """A connected TCP socket that starts inside the host; usable here."""
        sock: socket.socket = self.space.socket()
        try:
            sock.settimeout(timeout)
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 - the name subprocess.run has for it
        cwd: str = "/",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the host and wait (seconds); LabError when it fails."""
        return self.space.run(argv, timeout=timeout, check=check, env=env, input=input, cwd=cwd)

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        cwd: str = "/",
    ) -> subprocess.Popen[Any]:
        """Start a program on the host. It ends with the lab at the latest."""
        return self.space.popen(argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd)

    def virsh(self, *args: str, timeout: float = 30.0, input: str | None = None) -> str:  # noqa: A002
        """What virsh says on the host; LabError with libvirtd's log when it fails."""
        try:
            return self.run(["virsh", *args], timeout=timeout, input=input).stdout.strip()
        except LabError as error:
            raise LabError(f"{self.name}: {error}\n{self.libvirtd.log_tail(15)}") from None

    @property
    def root_prefix(self) -> list[str]:
        """What to put before a command that is to run where its libvirtd runs."""
        return ["chroot", ROOT_POINT] if self.root else []

    @property
    def libvirt_version(self) -> tuple[int, ...]:
        """Version of its libvirtd."""
        return self._version("Running against daemon")

    @property
    def qemu_version(self) -> tuple[int, ...]:
        """Version of its QEMU."""
        return self._version("Running hypervisor")

    def _version(self, label: str) -> tuple[int, ...]:
        answer = self.virsh("version", "--daemon")
        found = re.search(rf"^{label}: (?:QEMU )?([\d.]+)$", answer, re.MULTILINE)
        if not found:
            raise LabError(f"{self.name}: no version in: {answer}")
        return tuple(int(part) for part in found[1].split("."))

    def qemu_log_tail(self, guest: str, lines: int = 20) -> str:
        """The end of a guest's QEMU log on this host."""
        path = self.path(f"/var/log/libvirt/qemu/{guest}.log")
        text = path.read_text(errors="replace") if path.exists() else "(none)"
        return f"--- end of the QEMU log of {guest} on {self.name}:\n{tail(text, lines)}"

    def guest_pid(self, guest: str) -> int:
        """Pid of a guest's QEMU, as seen outside."""
        try:
            inside = int(self.path(f"/run/libvirt/qemu/{guest}.pid").read_text())
            return self.space.anchor.pids()[inside]
        except (FileNotFoundError, KeyError):
            raise LabError(f"no QEMU for {guest} on {self.name}") from None

    def _has_images_pool(self) -> bool:
        return IMAGES_POOL in self.virsh("pool-list", "--name").split()

    def define_images_pool(self) -> None:
        """Make the image directory known to libvirtd, so that it can create disks in it."""
        if not self._has_images_pool():
            self.virsh("pool-create-as", IMAGES_POOL, "dir", "--target", IMAGES_DIR)

    def forget_images_pool(self) -> None:
        """Undo `define_images_pool`: libvirtd cannot create disks any more."""
        if self._has_images_pool():
            self.virsh("pool-destroy", IMAGES_POOL)

    def refresh_images_pool(self) -> None:
        """Let libvirtd look again: it does not create a disk that it believes to be there."""
        if self._has_images_pool():
            # Refused while libvirt itself makes an image in it.
            until(
                lambda: (
                    self.run(["virsh", "pool-refresh", IMAGES_POOL], check=False).returncode == 0
                ),
                f"pool {IMAGES_POOL} of {self.name} refreshed",
                timeout=10,
            )

    # Who it claims to be

    def use_own_certificate(self) -> None:
        """Undo `use_foreign_certificate`."""
        if self._authority is None or self._own_certificate is None:
            raise LabError(f"{self.name} has no certificate: start the lab with tls=True")
        self._use_certificate(*self._own_certificate, self._authority.certificate)

    def use_foreign_certificate(self) -> None:
        """Show a certificate of an authority that no other host trusts, at once.

        The host itself still trusts everybody, so each refusal comes from the
        other side.
        """
        if self._authority is None:
            raise LabError(f"{self.name} has no certificate: start the lab with tls=True")
        foreign = certificates.Authority(self.space.anchor.switch, f"foreign-{uuid.uuid4().hex}")
        trusted = foreign.certificate + self._authority.certificate
        self._use_certificate(*foreign.issue(self), trusted)

    def _use_certificate(self, certificate: str, key: str, authorities: str) -> None:
        certificates.install(self, certificate, key, authorities)
        if self.libvirtd.alive:
            self.run(["virt-admin", "server-update-tls", "libvirtd"])

    # Trouble with the disk

    def fill_state_dir(self) -> None:
        """Leave no free byte in the state directory."""
        block = bytes(1 << 16)
        with self.path(_BALLAST).open("ab", buffering=0) as ballast:
            while True:
                try:
                    ballast.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if len(block) == 1:
                        return
                    block = bytes(1)

    def free_state_dir(self) -> None:
        """Undo `fill_state_dir`."""
        self.path(_BALLAST).unlink(missing_ok=True)

    def state_dir_read_only(self, read_only: bool) -> None:
        """Mount the state directory read-only, or writable again.

        The kernel refuses (EBUSY, as LabError) while a program has a file in it
        open for writing: stop pmigd first, or use `fill_state_dir`.
        """
        mode = "ro" if read_only else "rw"
        self.run(["mount", "-o", f"remount,{mode}", _STATE_DIR])

    @property
    def state_dir_free_bytes(self) -> int:
        """Free bytes in the state directory."""
        usage = os.statvfs(self.state_dir)
        return usage.f_bavail * usage.f_frsize


def _pmigd_at(host: str, leases: bool) -> dict[str, str]:
    return {"pmigd": f"https://{host}:9717"} if leases else {}
