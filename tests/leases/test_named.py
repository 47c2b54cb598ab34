"""What a guest's XML names and only the source has: found beforehand, and libvirt does refuse it.

Between hosts whose pmigd know each other: an address or a file only the destination's can look for.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig
from tests.leases.test_examine import check, listener

pytestmark = pytest.mark.hypervisor

HERE = "/var/lib/libvirt/only-here"
SECRET = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
POOL = "/var/lib/libvirt/named"
LUKS = "/run/lab/named-luks.img"
TOP = "/run/lab/named-top.qcow2"
NETWORK = "<network><name>inner</name><bridge name='vbinner'/></network>"


@dataclass(frozen=True)
class Case:
    """One thing. `refusal` is the problem's code when libvirt is asked nevertheless."""

    finding: str
    refusal: str
    devices_xml: str = ""
    features_xml: str = ""
    before: Callable[[Hosts], object] = lambda hosts: None


@dataclass
class Hosts:
    a: Pmig
    b: Pmig
    undo: ExitStack

    def here(self, script: str) -> None:
        """Run a script in a folder that only the source has."""
        self.a.host.run(["sh", "-ec", f"mkdir -p {HERE}/folder; cd {HERE}; {script}"])
        self.undo.callback(self.a.host.run, ["rm", "-rf", HERE])


def secret(hosts: Hosts) -> None:
    make = "qemu-img create -q --object secret,id=s,data=abc -f luks -o key-secret=s,iter-time=10"
    hosts.a.host.run(["sh", "-ec", f"{make} {LUKS} 1M"])
    xml = f"<secret private='yes'><uuid>{SECRET}</uuid><usage type='volume'><volume>v</volume>"
    hosts.a.host.virsh("secret-define", "/dev/stdin", input=f"{xml}</usage></secret>")
    hosts.undo.callback(hosts.a.host.virsh, "secret-undefine", SECRET)
    hosts.a.host.virsh("secret-set-value", SECRET, "YWJj")


def network_filter(hosts: Hosts) -> None:
    rule = "<rule action='accept' direction='inout'><tcp dstportstart='22'/></rule>"
    xml = f"<filter name='only-here' chain='root'>{rule}</filter>"
    hosts.a.host.virsh("nwfilter-define", "/dev/stdin", input=xml)
    hosts.undo.callback(hosts.a.host.virsh, "nwfilter-undefine", "only-here")
    for host in (hosts.a.host, hosts.b.host):
        host.run(["ip", "link", "add", "brboth", "type", "bridge"])
        hosts.undo.callback(host.run, ["ip", "link", "del", "brboth"])


def network(hosts: Hosts) -> None:
    hosts.a.host.virsh("net-create", "/dev/stdin", input=NETWORK)
    hosts.undo.callback(hosts.a.host.virsh, "net-destroy", "inner")


def backing(hosts: Hosts) -> None:
    base = f"qemu-img create -q -f qcow2 {HERE}/base 1M"
    hosts.here(f"{base}; qemu-img create -q -f qcow2 -b {HERE}/base -F qcow2 {TOP}")


def volume(hosts: Hosts) -> None:
    for host in (hosts.a.host, hosts.b.host):
        host.run(["mkdir", "-p", POOL])
        hosts.undo.callback(host.run, ["rm", "-rf", POOL])
        host.virsh("pool-create-as", "named", "dir", "--target", POOL)
        hosts.undo.callback(host.virsh, "pool-destroy", "named")
    hosts.a.host.virsh("vol-create-as", "named", "v", "1M")


def idle_network(hosts: Hosts) -> None:
    network(hosts)
    hosts.b.host.virsh("net-define", "/dev/stdin", input=NETWORK)
    hosts.undo.callback(hosts.b.host.virsh, "net-undefine", "inner")


def pool(hosts: Hosts) -> None:
    hosts.a.host.run(["mkdir", "-p", POOL])
    hosts.undo.callback(hosts.a.host.run, ["rm", "-rf", POOL])
    hosts.a.host.virsh("pool-create-as", "named", "dir", "--target", POOL)
    hosts.undo.callback(hosts.a.host.virsh, "pool-destroy", "named")
    hosts.a.host.virsh("vol-create-as", "named", "v", "1M")


def idle_pool(hosts: Hosts) -> None:
    pool(hosts)
    hosts.b.host.virsh("pool-define-as", "named", "dir", "--target", POOL)
    hosts.undo.callback(hosts.b.host.virsh, "pool-undefine", "named")


SERVE = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"


def served(hosts: Hosts) -> None:
    """Something at the source listens on a socket, and goes on."""
    hosts.here("rm -f s")
    program = [sys.executable, "-c", f"{SERVE}; input()", f"{HERE}/s"]
    process = hosts.a.host.popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    hosts.undo.callback(process.communicate, "\n", timeout=5)
    until(hosts.a.host.path(f"{HERE}/s").exists, "the socket", timeout=10)
    hosts.a.host.run(["chmod", "0777", f"{HERE}/s"])


def taken(hosts: Hosts) -> None:
    hosts.undo.enter_context(listener(hosts.b.host, 5977))


DISK = (
    "<disk type='{}' device='disk'><driver name='qemu' type='{}'/>{}"
    "<target dev='vdb' bus='virtio'/><readonly/></disk>"
)
CASES = {
    "secret": Case(
        "secret_missing",
        "secret_missing",
        DISK.format(
            "file",
            "raw",
            f"<source file='{LUKS}'><encryption format='luks'>"
            f"<secret type='passphrase' uuid='{SECRET}'/></encryption></source>",
        ),
        before=secret,
    ),
    "network filter": Case(
        "filter_missing",
        "filter_missing",
        "<interface type='bridge'><source bridge='brboth'/><filterref filter='only-here'/>"
        "</interface>",
        before=network_filter,
    ),
    "network": Case(
        "network_missing",
        "network_missing",
        "<interface type='network'><source network='inner'/></interface>",
        before=network,
    ),
    "address of the console": Case(
        "address_missing",
        "migration_failed",
        "<graphics type='vnc' autoport='yes' listen='10.77.0.1'/>",
    ),
    "address of a port": Case(
        "address_missing",
        "migration_failed",
        "<serial type='tcp'><source mode='bind' host='10.77.0.1' service='5555'/></serial>",
    ),
    "port in use": Case(
        "port_in_use",
        "migration_failed",
        "<graphics type='vnc' port='5977' autoport='no' listen='0.0.0.0'/>",
        before=taken,
    ),
    "ROM": Case(
        "file_missing",
        "migration_failed",
        f"<interface type='user'><model type='virtio'/><rom file='{HERE}/rom'/></interface>",
        before=lambda hosts: hosts.here("head -c 512 /dev/zero > rom"),
    ),
    "folder of a log": Case(
        "directory_missing",
        "file_missing",
        f"<serial type='file'><source path='{HERE}/folder/log'/></serial>",
        before=lambda hosts: hosts.here(":"),
    ),
    "backing file": Case(
        "image_missing",
        "file_missing",
        DISK.format("file", "qcow2", f"<source file='{TOP}'/>"),
        before=backing,
    ),
    "network that is not active": Case(
        "network_inactive",
        "network_missing",
        "<interface type='network'><source network='inner'/></interface>",
        before=idle_network,
    ),
    "pool": Case(
        "pool_missing",
        "pool_missing",
        DISK.format("volume", "raw", "<source pool='named' volume='v'/>"),
        before=pool,
    ),
    "pool that is not active": Case(
        "pool_inactive",
        "refused_by_libvirt",
        DISK.format("volume", "raw", "<source pool='named' volume='v'/>"),
        before=idle_pool,
    ),
    "folder of what a port wrote": Case(
        "directory_missing",
        "file_missing",
        f"<serial type='pty'><log file='{HERE}/folder/log'/></serial>",
        before=lambda hosts: hosts.here(":"),
    ),
    "shared directory": Case(
        "directory_missing",
        "migration_failed",
        f"<filesystem type='mount'><source dir='{HERE}/folder'/><target dir='t'/></filesystem>",
        before=lambda hosts: hosts.here(":"),
    ),
    "socket": Case(
        "socket_missing",
        "file_missing",
        f"<serial type='unix'><source mode='connect' path='{HERE}/s'/></serial>",
        before=served,
    ),
    "firmware configuration": Case(
        "file_missing",
        "file_missing",
        features_xml=f"<sysinfo type='fwcfg'><entry name='opt/lab/x' file='{HERE}/x'/></sysinfo>",
        before=lambda hosts: hosts.here("echo x > x"),
    ),
    "volume": Case(
        "volume_missing",
        "volume_missing",
        DISK.format("volume", "raw", "<source pool='named' volume='v'/>"),
        before=volume,
    ),
}


@pytest.fixture
def both(a: Pmig, b: Pmig, guest: object) -> Iterator[Hosts]:
    """Undone before the guests end."""
    with ExitStack() as undo:
        yield Hosts(a, b, undo)


# libvirt's binding raises what virsh only prints; run where the guest is.
MIGRATE = """
import libvirt, sys
from pmigd.adapters.libvirt.failures import migrate_problem_of
from tests.support.build import PLAN
libvirt.registerErrorHandler(lambda *_: None, None)
domain = libvirt.open("qemu:///system").lookupByName(sys.argv[1])
try:
    domain.migrateToURI3(sys.argv[2], {}, libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER)
except libvirt.libvirtError as error:
    print(migrate_problem_of(error, PLAN).code)
"""


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_and_libvirt_refuses_it(both: Hosts, guest, name: str) -> None:
    case = CASES[name]
    case.before(both)
    g = guest(devices_xml=case.devices_xml, features_xml=case.features_xml)
    both.undo.callback(g.destroy)  # before what it uses is taken away
    found = {f["code"]: f for f in check(both.a)}
    assert {code for code, f in found.items() if f["level"] == "block"} == {case.finding}, found

    uri = f"qemu+tcp://{both.b.host.address}/system"
    done = both.a.host.run([sys.executable, "-c", MIGRATE, g.name, uri], timeout=60)
    assert done.stdout.strip() == case.refusal, done
    assert g.where() == [both.a.host]


def test_it_ends_a_start_with_its_own_code(both: Hosts, guest) -> None:
    secret(both)
    g = guest(devices_xml=CASES["secret"].devices_xml)
    both.undo.callback(g.destroy)
    m = both.a.end(both.a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "secret_missing"
    assert SECRET in m["problem"]["detail"]
    assert not m["problem"]["retryable"]
