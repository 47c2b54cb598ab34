"""What a domain's XML names that the next host must have."""

from __future__ import annotations

import pytest
from lxml import etree

from pmigd.adapters.libvirt.named import backing_of, models_lacking, named_of
from pmigd.core.named import KINDS, Named

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
    assert [thing.name for thing in found] == ["/k", "/i", "/d", "/fw", "/slic"]


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
