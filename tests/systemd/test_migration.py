"""A guest that really moves, by pmigd as it is installed, and what systemd's journal has of it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

import pytest

from contrib.lab.deadlines import until
from pmigd.core.messages import MIGRATION
from pmigd.core.model import State
from tests.systemd.conftest import Installed

pytestmark = pytest.mark.systemd

FILES = "/srv/hostb"
HOSTB = f"qemu:///system?socket={FILES}/run/libvirt-sock"
PEER = f'[peers.hostb]\nuri = "qemu+unix:///system?socket={FILES}/run/libvirt-sock"\n'
GUEST = """<domain type='qemu'><name>web3</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64'>hvm</type></os>
<devices><controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
# In a container libvirt may not do all that it would like to with its guests.
QEMU_CONF = """
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
"""
LIBVIRTD_CONF = """
host_uuid = "11111111-2222-3333-4444-555555555555"
auth_unix_rw = "none"
unix_sock_group = "root"
"""


@pytest.fixture
def hostb(pmigd: Installed) -> Iterator[None]:
    """A second libvirtd beside the container's own: with its files, its name and its guests.

    It has no D-Bus, for machined would take the guest that comes for the one that is there.
    """
    kept = {f"{FILES}/{name}": place for name, place in _PLACES.items()}
    binds = " ".join(f"{ours}:{theirs}" for ours, theirs in kept.items())
    _sh(
        pmigd,
        f"""
        set -e
        cp /etc/libvirt/qemu.conf /etc/libvirt/qemu.conf.kept
        printf %s {shlex.quote(QEMU_CONF)} >> /etc/libvirt/qemu.conf
        systemctl stop --quiet libvirtd.service 2>/dev/null
        mkdir -p {" ".join(kept)}
        cp -a /etc/libvirt/. {FILES}/etc
        printf %s {shlex.quote(LIBVIRTD_CONF)} > {FILES}/etc/libvirtd.conf
        echo 127.0.1.2 hostb >> /etc/hosts
        virsh define /dev/stdin <<< {shlex.quote(GUEST)}
        virsh start web3
        # What libvirt has found out about QEMU by now it need not find out again.
        cp -a /var/cache/libvirt/. {FILES}/cache
        systemd-run --quiet --unit=hostb -p InaccessiblePaths=/run/dbus \
            -p {shlex.quote(f"BindPaths={binds}")} unshare --uts \
            sh -c 'hostname hostb; exec libvirtd --pid-file /run/libvirt/libvirtd.pid'
        """,
    )
    until(
        lambda: pmigd.machine.run("virsh", "-c", HOSTB, "version", check=False).returncode == 0,
        "the second libvirtd answers",
        timeout=60,
    )
    yield
    _sh(
        pmigd,
        f"""
        virsh -c '{HOSTB}' destroy web3
        virsh destroy web3
        virsh undefine web3
        systemctl stop hostb.service
        sed -i '/ hostb$/d' /etc/hosts
        mv /etc/libvirt/qemu.conf.kept /etc/libvirt/qemu.conf
        systemctl stop libvirtd.service
        rm -rf {FILES}
        """,
    )


_PLACES = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "etc": "/etc/libvirt",
}


def _sh(pmigd: Installed, script: str) -> None:
    pmigd.machine.run("bash", "-c", script, within_s=90)


def test_a_migration_that_succeeds_is_in_the_journal_with_its_figures(
    pmigd: Installed, hostb: None
) -> None:
    pmigd.configure(PEER)
    trace_id = os.urandom(16).hex()
    environment = f"TRACEPARENT=00-{trace_id}-00f067aa0ba902b7-01"
    migrate = ["env", environment, "pmigctl", "migrate", "--tunnelled", "web3", "hostb"]
    done = pmigd.machine.run(*migrate, within_s=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pmigd.machine.run("virsh", "-c", HOSTB, "domstate", "web3").stdout.strip() == "running"

    entries = pmigd.entries("PMIGD_DOMAIN=web3", f"PMIGD_TRACE_ID={trace_id}")
    states = [entry["PMIGD_STATE"] for entry in entries]
    assert [states[0], states[-1]] == ["queued", "succeeded"]
    assert [entry["MESSAGE_ID"] for entry in entries] == [MIGRATION[State(s)].id for s in states]
    assert {entry["PMIGD_PEER"] for entry in entries} == {"hostb"}
    last = entries[-1]
    assert last["MESSAGE"].startswith("The migration of web3 has succeeded ")
    assert (last["PRIORITY"], last["PMIGD_MODE"]) == ("6", "precopy")
    assert float(last["PMIGD_DURATION_S"]) > 0
    assert int(last["PMIGD_DOWNTIME_MS"]) >= 0
    assert int(last["PMIGD_TRANSFERRED_BYTES"]) > 0
    explained = pmigd.explained(last)
    assert "Subject: The migration of web3 has succeeded" in explained
    assert "The guest was seen running at the destination." in explained
