"""What a domain's XML names that the next host must have."""

from __future__ import annotations

import pytest
from lxml import etree

from pmigd.adapters.libvirt.named import LOOKUPS, TABLE, backing_of, models_lacking, named_of
from pmigd.core.named import KINDS, Asked, Named

UUID = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
MODELS = etree.fromstring("""<domainCapabilities><devices>
<video supported='yes'><enum name='modelType'><value>vga</value></enum></video>
<graphics supported='yes'><enum name='type'/></graphics>
<tpm supported='no'/></devices></domainCapabilities>""")
ADDRESS = "<address domain='0x0000' bus='0x01' slot='0x1f' function='0x7'/>"


def of_devices(xml: str) -> set[tuple[str, str]]:
    """Kind and name of all but what kind of device it is."""
    found = named_of(etree.fromstring(f"<domain><devices>{xml}</devices></domain>"))
    return {(thing.kind, thing.name) for thing in found if thing.kind != "model"}


@pytest.mark.parametrize(
    ("xml", "kind", "name"),
    [
        (
            (f"<disk><source><encryption><secret uuid='{UUID}'/></encryption></source></disk>"),
            "secret",
            UUID,
        ),
        (
            "<disk type='network'><auth><secret type='ceph' usage='lab'/></auth></disk>",
            "secret",
            "ceph:lab",
        ),
        (
            f"<hostdev><source><auth><secret uuid='{UUID}'/></auth></source></hostdev>",
            "secret",
            UUID,
        ),
        (
            f"<tpm><backend type='emulator'><encryption secret='{UUID}'/></backend></tpm>",
            "secret",
            UUID,
        ),
        ("<interface type='bridge'><filterref filter='f'/></interface>", "filter", "f"),
        ("<disk type='volume'><source pool='p' volume='v'/></disk>", "volume", "p/v"),
        (
            "<graphics type='vnc' port='-1' autoport='yes' listen='10.0.0.1'/>",
            "address",
            "10.0.0.1",
        ),
        (
            (
                "<graphics type='spice' autoport='yes'><listen type='address' address='fd00::1'/>"
                "</graphics>"
            ),
            "address",
            "fd00::1",
        ),
        ("<graphics type='vnc' port='5905' listen='0.0.0.0'/>", "listener", "0.0.0.0:5905"),
        (
            "<graphics type='vnc' autoport='yes' websocket='5700' listen='::'/>",
            "listener",
            "[::]:5700",
        ),
        (
            "<serial type='tcp'><source mode='bind' host='10.0.0.1' service='4555'/></serial>",
            "address",
            "10.0.0.1",
        ),
        (
            "<serial type='udp'><source mode='bind' host='10.0.0.1' service='4555'/></serial>",
            "address",
            "10.0.0.1",
        ),
        ("<serial type='dev'><source path='/dev/ttyS9'/></serial>", "file", "/dev/ttyS9"),
        ("<serial type='file'><source path='/log/x'/></serial>", "directory", "/log"),
        ("<console type='unix'><source mode='bind' path='/s/x'/></console>", "directory", "/s"),
        ("<channel type='unix'><source mode='connect' path='/s/x'/></channel>", "socket", "/s/x"),
        (
            "<interface type='vhostuser'><source path='/s/v' mode='client'/></interface>",
            "socket",
            "/s/v",
        ),
        (
            "<interface type='vhostuser'><source path='/s/v' mode='server'/></interface>",
            "directory",
            "/s",
        ),
        ("<disk type='vhostuser'><source type='unix' path='/s/d'/></disk>", "socket", "/s/d"),
        ("<filesystem type='mount'><source dir='/d'/></filesystem>", "directory", "/d"),
        ("<interface type='user'><rom file='/r'/></interface>", "file", "/r"),
        ("<rng><backend model='random'>/dev/hwrng</backend></rng>", "file", "/dev/hwrng"),
        (
            "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
            "file",
            "/dev/tpm0",
        ),
        ("<input type='evdev'><source dev='/dev/input/e'/></input>", "file", "/dev/input/e"),
        ("<memory><source><path>/pm</path></source></memory>", "file", "/pm"),
        ("<shmem name='s'><server path='/s/m'/></shmem>", "socket", "/s/m"),
        (
            f"<hostdev mode='subsystem' type='pci'><source>{ADDRESS}</source></hostdev>",
            "device",
            "/sys/bus/pci/devices/0000:01:1f.7",
        ),
        (
            (
                f"<hostdev mode='subsystem' type='mdev'><source><address uuid='{UUID}'/></source>"
                "</hostdev>"
            ),
            "device",
            f"/sys/bus/mdev/devices/{UUID}",
        ),
        (
            (
                "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/>"
                "<product id='0xbeef'/></source></hostdev>"
            ),
            "usb",
            "1234:beef",
        ),
        (
            (
                "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='14'/>"
                "</source></hostdev>"
            ),
            "device",
            "/dev/bus/usb/001/014",
        ),
        (
            (
                "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>"
                "<address bus='0' target='1' unit='3'/></source></hostdev>"
            ),
            "device",
            "/sys/bus/scsi/devices/2:0:1:3",
        ),
        ("<interface type='network'><source network='n'/></interface>", "network", "n"),
        ("<interface type='network'><source network='n'/></interface>", "active_network", "n"),
        (
            "<graphics type='vnc'><listen type='network' network='n'/></graphics>",
            "network",
            "n",
        ),
        ("<interface type='bridge'><source bridge='br0'/></interface>", "link", "br0"),
        ("<interface type='direct'><source dev='eth0'/></interface>", "link", "eth0"),
        (
            "<interface type='ethernet'><target dev='tap7' managed='no'/></interface>",
            "link",
            "tap7",
        ),
        ("<disk type='volume'><source pool='p' volume='v'/></disk>", "pool", "p"),
        ("<disk type='volume'><source pool='p' volume='v'/></disk>", "active_pool", "p"),
        (
            f"<disk type='nvme'><source type='pci' namespace='1'>{ADDRESS}</source></disk>",
            "device",
            "/sys/bus/pci/devices/0000:01:1f.7",
        ),
        (
            (
                "<interface type='hostdev' managed='yes'><source>"
                "<address type='pci' domain='0' bus='0x01' slot='0x1f' function='0x7'/>"
                "</source></interface>"
            ),
            "device",
            "/sys/bus/pci/devices/0000:01:1f.7",
        ),
        (
            "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>",
            "device",
            "/dev/vhost-vdpa-0",
        ),
        (
            "<disk type='vhostvdpa'><source dev='/dev/vhost-vdpa-1'/></disk>",
            "device",
            "/dev/vhost-vdpa-1",
        ),
        (
            "<interface type='bridge'><backend tap='/dev/net/tun2'/></interface>",
            "device",
            "/dev/net/tun2",
        ),
        ("<vsock model='virtio'><cid auto='yes'/></vsock>", "device", "/dev/vhost-vsock"),
        ("<interface type='ethernet'><script path='/s/up'/></interface>", "file", "/s/up"),
        (
            "<interface type='user'><backend type='passt' logFile='/l/p.log'/></interface>",
            "directory",
            "/l",
        ),
        (
            "<interface type='server'><source address='10.0.0.1' port='5558'/></interface>",
            "listener",
            "10.0.0.1:5558",
        ),
        (
            (
                "<disk type='network'><source protocol='nbd'>"
                "<host transport='unix' socket='/s/n'/></source></disk>"
            ),
            "socket",
            "/s/n",
        ),
        (
            "<disk type='network'><source protocol='rbd'><config file='/c'/></source></disk>",
            "file",
            "/c",
        ),
        (
            (
                "<disk type='block'><source dev='/dev/x'><reservations managed='no'>"
                "<source type='unix' path='/s/pr' mode='client'/></reservations></source></disk>"
            ),
            "socket",
            "/s/pr",
        ),
        (
            "<filesystem type='mount'><binary path='/usr/libexec/virtiofsd'/></filesystem>",
            "file",
            "/usr/libexec/virtiofsd",
        ),
        ("<filesystem type='mount'><source socket='/s/f'/></filesystem>", "socket", "/s/f"),
        ("<serial type='pty'><log file='/log/y'/></serial>", "directory", "/log"),
        (
            "<smartcard mode='host-certificates'><database>/nss</database></smartcard>",
            "directory",
            "/nss",
        ),
        (
            "<graphics type='spice'><listen type='socket' socket='/s/spice'/></graphics>",
            "directory",
            "/s",
        ),
        (
            "<graphics type='egl-headless'><gl rendernode='/dev/dri/r'/></graphics>",
            "file",
            "/dev/dri/r",
        ),
        (
            "<video><model type='virtio'><acceleration rendernode='/dev/dri/r'/></model></video>",
            "file",
            "/dev/dri/r",
        ),
        (
            "<tpm><backend type='emulator'><source type='dir' path='/t/s'/></backend></tpm>",
            "state",
            "/t",
        ),
        (
            "<tpm><backend type='external'><source type='unix' path='/s/t'/></backend></tpm>",
            "socket",
            "/s/t",
        ),
        ("<pstore backend='acpi-erst'><path>/p/s</path></pstore>", "state", "/p"),
        (
            "<memory><source><nodemask>1</nodemask></source></memory>",
            "node",
            "/sys/devices/system/node/node1",
        ),
    ],
)
def test_it_is_found(xml: str, kind: str, name: str) -> None:
    assert (kind, name) in of_devices(xml)
    assert kind in KINDS


@pytest.mark.parametrize(
    "xml",
    [
        # Chosen anew, or everybody's.
        "<graphics type='vnc' port='5900' autoport='yes'/>",
        "<graphics type='vnc' port='5900' autoport='yes' listen='0.0.0.0'/>",
        "<graphics type='vnc' port='-1' listen='::'/>",
        "<graphics type='vnc' port='-1' listen='console.example.com'/>",
        "<graphics type='vnc' socket='/var/lib/libvirt/qemu/x/vnc.sock'/>",
        # Made by libvirt, or not listened on.
        "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/c/x'/></channel>",
        "<serial type='pty'><source path='/dev/pts/3'/></serial>",
        "<serial type='tcp'><source mode='connect' host='10.0.0.9' service='1'/></serial>",
        # Unplugged for the migration, or done without.
        (
            f"<hostdev mode='subsystem' type='pci'><source>{ADDRESS}</source>"
            "<teaming type='transient' persistent='ua-1'/></hostdev>"
        ),
        (
            "<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'>"
            "<vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>"
        ),
    ],
)
def test_nothing_is_asked_for(xml: str) -> None:
    assert of_devices(xml) == set()


def test_the_files_a_guest_boots_from_are_named_but_not_those_libvirt_makes() -> None:
    xml = """<domain><os><kernel>/k</kernel><initrd>/i</initrd><dtb>/d</dtb>
    <loader readonly='yes' type='pflash'>/fw</loader><nvram template='/t'>/n</nvram>
    <acpi><table type='slic'>/slic</table></acpi></os></domain>"""
    found = named_of(etree.fromstring(xml))
    assert [(thing.kind, thing.name) for thing in found] == [
        *(("file", name) for name in ("/k", "/i", "/d", "/fw", "/slic")),
        ("template", "/t"),
        ("state", "/"),
    ]


@pytest.mark.parametrize(
    ("nodeset", "nodes"),
    [("0", [0]), ("0-2,5", [0, 1, 2, 5]), ("0-3,^1", [0, 2, 3]), ("what", []), ("", [])],
)
def test_numa_nodes_are_read_as_libvirt_lists_them(nodeset: str, nodes: list[int]) -> None:
    xml = f"<domain><numatune><memory mode='strict' nodeset='{nodeset}'/></numatune></domain>"
    found = [thing.name for thing in named_of(etree.fromstring(xml))]
    assert found == [f"/sys/devices/system/node/node{node}" for node in nodes]


def test_what_else_than_devices_names_files() -> None:
    xml = """<domain><blkiotune><device><path>/dev/w</path></device></blkiotune>
    <sysinfo type='fwcfg'><entry name='opt/x' file='/cfg'/></sysinfo></domain>"""
    found = [(thing.kind, thing.name) for thing in named_of(etree.fromstring(xml))]
    assert sorted(found) == [("file", "/cfg"), ("file", "/dev/w")]


def test_every_row_is_of_a_kind_that_there_is_and_every_kind_has_a_row() -> None:
    assert {row.kind for row in TABLE} | {"model", "backing"} == set(KINDS)


def test_what_libvirt_keeps_it_can_be_asked_for() -> None:
    of_libvirt = {kind for kind, row in KINDS.items() if row.asked is Asked.LIBVIRT} - {"model"}
    assert of_libvirt | {"link"} == set(LOOKUPS)


def test_the_files_below_an_image_are_found() -> None:
    root = etree.fromstring("""<domain><devices><disk type='file'><source file='/top'/>
    <backingStore type='file'><source file='/mid'/><backingStore type='block'>
    <source dev='/dev/base'/><backingStore/></backingStore></backingStore>
    <target dev='vda'/></disk></devices></domain>""")
    assert backing_of(root) == (
        Named("backing", "/mid", "disk vda"),
        Named("backing", "/dev/base", "disk vda"),
    )


def test_models_that_a_host_does_not_list_are_lacking_there() -> None:
    root = etree.fromstring("""<domain><devices><video><model type='qxl'/></video>
    <video><model type='vga'/></video><graphics type='vnc'/>
    <tpm model='tpm-crb'><backend type='emulator'/></tpm>
    <rng><backend model='builtin'/></rng></devices></domain>""")
    # Of graphics and RNGs this host's libvirt does not say what it can do.
    assert set(models_lacking(named_of(root), MODELS)) == {
        Named("model", "qxl", "video card"),
        Named("model", "tpm-crb", "TPM"),
        Named("model", "emulator", "kind of TPM"),
    }
