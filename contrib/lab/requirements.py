"""Say what this machine lacks for a lab, each with the Debian package that has it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.lab.namespaces import SOURCE_ROOT, Anchor, search_path
from contrib.lab.problems import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "ss": "iproute2",
    "tc": "iproute2",
    "as": "binutils",
    "ld": "binutils",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
}
_TLS_PROGRAMS = {"openssl": "openssl"}
_PROMETHEUS_PROGRAMS = {"prometheus": "prometheus"}
_SSH_PROGRAMS = {
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}


def _qemu_driver_missing() -> bool:
    places = [*Path("/usr/lib").glob("*/libvirt"), *Path("/usr").glob("lib*/libvirt")]
    name = "connection-driver/libvirt_driver_qemu.so"
    return not any((place / name).exists() for place in places)


def _closed_folders() -> list[str]:
    """Folders above the source or the interpreter that only root's powers let root enter."""
    entered = {
        folder
        for place in (SOURCE_ROOT, Path(sys.prefix), Path(sys.base_prefix))
        for folder in (place, *place.parents)
    }
    found = []
    for folder in sorted(entered):
        about = folder.stat()
        mine = stat.S_IXUSR if about.st_uid == 0 else stat.S_IXOTH
        if not about.st_mode & mine:
            found.append(str(folder))
    return found


def missing(*, tls: bool = False, ssh: bool = False, prometheus: bool = False) -> list[str]:
    """Everything that keeps a lab from running here, in plain words; empty if it can.

    `tls` and `ssh` ask for a lab that is started with them, `prometheus` for one with a Prometheus.

    Really makes a set of namespaces for a moment, for nothing else proves that
    it is allowed.
    """
    found: list[str] = []
    if not sys.platform.startswith("linux"):
        return ["Linux"]
    path = search_path()
    programs = dict(_PROGRAMS)
    for asked, more in (
        (tls, _TLS_PROGRAMS),
        (ssh, _SSH_PROGRAMS),
        (prometheus, _PROMETHEUS_PROGRAMS),
    ):
        programs |= more if asked else {}
    for program, package in programs.items():
        if shutil.which(program, path=path) is None:
            found.append(f"program {program} (Debian package {package})")
    if _qemu_driver_missing():
        found.append("libvirt's QEMU driver (Debian package libvirt-daemon-driver-qemu)")
    if os.geteuid() != 0:
        found.append("root: namespaces, mounts and libvirtd's system mode need it")
    # pmigd runs as its unit runs it, and there root has no power over the files of others.
    found += [f"leave to enter {folder} (chmod o+x)" for folder in _closed_folders()]
    if not found:
        try:
            Anchor(specification(1, state_dir_bytes=1 << 20), label="check").close()
        except (LabError, OSError) as error:
            found.append(f"namespaces, overlay or tmpfs mounts, or bridges: {error}")
    return found


def host_name(index: int) -> str:
    """hosta, hostb, hostc, …"""
    return f"host{chr(ord('a') + index)}"


def specification(
    hosts: int, *, state_dir_bytes: int, roots: Mapping[str, Path] | None = None
) -> dict[str, object]:
    """What the anchor is to build; `roots` are directories of another Debian, by host."""
    listed = [
        {
            "name": (name := host_name(i)),
            "address": f"10.77.0.{i + 1}",
            "root": str(root) if (root := (roots or {}).get(name)) else None,
        }
        for i in range(hosts)
    ]
    names = "".join(f"{host['address']} {host['name']}\n" for host in listed)
    return {
        "hosts": listed,
        "switch_address": "10.77.0.254",
        "prefix": 24,
        "etc_hosts": f"127.0.0.1 localhost\n::1 localhost\n{names}",
        "state_dir_bytes": state_dir_bytes,
        "pmigd_gid": 990,
    }
