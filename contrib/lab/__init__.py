"""A lab of real libvirtd and QEMU hosts on one machine, for tests and for trying out.

    with Lab(hosts=2) as lab:
        a, b = lab.hosts
        guest = lab.guest(Guest(name="g1"), on=a)
        guest.migrate(b)
        print(guest.heartbeats.summary())

Hosts can have TLS and ssh (`Lab(tls=True, ssh=True)`), and libvirt and QEMU of another
Debian suite (`Lab(roots={"hostb": "trixie"})`, after `python -m contrib.lab root trixie`).

Needs root, and leaves nothing behind, even when its process is killed.
"""

from __future__ import annotations

from contrib.lab.anchor import SHARED_DIR
from contrib.lab.daemons import Daemon, Libvirtd, Pmigd
from contrib.lab.disks import Disk
from contrib.lab.guest import Guest, LabGuest
from contrib.lab.heartbeat import Beat, Gap, Heartbeats
from contrib.lab.hosts import Host
from contrib.lab.lab import Lab
from contrib.lab.links import Link
from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.prometheus import Prometheus, Series
from contrib.lab.requirements import missing
from contrib.lab.roots import available_roots, build_root
from contrib.lab.ssh import Sshd

__all__ = [
    "SHARED_DIR",
    "Beat",
    "Daemon",
    "Disk",
    "Gap",
    "Guest",
    "Heartbeats",
    "Host",
    "Lab",
    "LabError",
    "LabGuest",
    "LabUnavailable",
    "Libvirtd",
    "Link",
    "Pmigd",
    "Prometheus",
    "Series",
    "Sshd",
    "available_roots",
    "build_root",
    "missing",
]
