"""A lab of real libvirtd and QEMU hosts on one machine, for tests and for trying out.

    with Lab(hosts=2) as lab:
        a, b = lab.hosts
        guest = lab.guest(Guest(name="g1"), on=a)
        guest.migrate(b)
        print(guest.heartbeats.summary())

Needs root, and leaves nothing behind, even when its process is killed.
"""

from __future__ import annotations

from contrib.lab.daemons import Daemon, Libvirtd, Pmigd
from contrib.lab.guest import Guest, LabGuest
from contrib.lab.heartbeat import Beat, Gap, Heartbeats
from contrib.lab.hosts import Host
from contrib.lab.lab import Lab
from contrib.lab.links import Link
from contrib.lab.problems import LabError, LabUnavailable
from contrib.lab.requirements import missing

__all__ = [
    "Beat",
    "Daemon",
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
    "missing",
]
