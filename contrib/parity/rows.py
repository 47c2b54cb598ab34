"""The combinations: one row for each, as words of virsh and as a request to pmigd.

A row says nothing about what libvirt does with it beyond whether the guest moves; that both ways
leave the same behind is what its run shows. In words and in values, `{name}` is the guest's name,
`{address}` the destination's address, `{port}` a free port there, `{memory}` and `{disks}` UNIX
sockets that both hosts see. `{live}`, `{kept}` and `{wrong}` are definitions: the text in a
request, the path of a file with it in words of virsh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contrib.lab import Disk

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """Versions without which nothing moves; () is any. Of the source alone, or of both hosts.

    `binding` is the version, as libvirt counts it, of the library under pmigd's Python binding:
    without it the row cannot be run.
    """

    libvirt: Version = ()
    qemu: Version = ()
    qemu_below: Version = ()
    source_only: bool = False
    binding: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """What is done while memory is being copied: to virsh's migration, and to pmigd's."""

    virsh: str
    method: str
    path: str = ""
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination.

    `virsh` are the words of `virsh migrate` besides the guest and the destination, `request` the
    fields of the same request besides `domain` and `destination`. `guest` are fields of
    :class:`contrib.lab.Guest`; the words of `source` and `destination` are run by virsh there
    before. With `starts` the guest runs, with `images_ready` the destination has images for its
    disks. `stays` says that the guest does not move: libvirt refuses, or it is aborted; `litters`,
    that libvirt leaves an image at the destination although it refuses, and pmigd does not. The
    rows with `short` are run between versions by `make test` too, not by `make matrix` alone.
    """

    name: str
    virsh: str = "--live --p2p"
    request: Mapping[str, Any] = field(default_factory=dict)
    guest: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    starts: bool = True
    images_ready: bool = False
    act: Act | None = None
    stays: bool = False
    litters: bool = False
    needs: Needs = Needs()
    short: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The request; what virsh is not told to do is not left to follow the guest."""
        as_virsh = {"persistent": False, "undefinesource": False, "autostart": "leave"}
        return {**as_virsh, **self.request}

    @property
    def pmigctl(self) -> str:
        """The words with which `pmigctl migrate` asks for the same."""
        given = self.virsh.split()
        unless = {
            "--p2p": "--direct",
            "--live": "" if "--offline" in given else "--no-live",
            "--persistent": "--no-persistent",
            "--undefinesource": "--no-undefinesource",
        }
        words = [*given, *(other for word, other in unless.items() if word not in given)]
        return " ".join([*words, "--leave-autostart"])


P2P: Final = "--live --p2p"
_BUSY: Final = {"dirty_pages_per_tick": 64, "working_set_mib": 6, "fill_mib": 2}
"""12 MiB/s of writes: over 4 MiB/s it does not end by pre-copy, not even on a busy machine."""
_LONG: Final = {"fill_mib": 32}
_DISK: Final = {"disks": (Disk(mib=2),)}
_TRANSIENT: Final = {"persistent": False}


def _flows() -> tuple[Row, ...]:
    return (
        Row(name="native", short=True),
        Row(
            name="tunnelled",
            virsh=f"{P2P} --tunnelled",
            request={"transport": "tunnelled"},
            short=True,
        ),
        Row(name="direct", virsh="--live", request={"flow": "direct"}, short=True),
        Row(name="not live", virsh="--p2p", request={"live": False}),
        Row(name="suspend", virsh=f"{P2P} --suspend", request={"suspend": True}, short=True),
        Row(name="of a paused guest", source=("suspend {name}",)),
        Row(
            name="abort on error, change protection",
            virsh=f"{P2P} --abort-on-error --change-protection",
            request={"abort_on_error": True, "change_protection": True},
        ),
        Row(
            name="abort on error, change protection, direct",
            virsh="--live --abort-on-error --change-protection",
            request={"abort_on_error": True, "change_protection": True, "flow": "direct"},
        ),
    )


def _definitions() -> tuple[Row, ...]:
    both = {"persistent": True, "undefinesource": True}
    return (
        Row(name="persistent", virsh=f"{P2P} --persistent", request={"persistent": True}),
        Row(
            name="undefinesource", virsh=f"{P2P} --undefinesource", request={"undefinesource": True}
        ),
        Row(
            name="persistent, undefinesource",
            virsh=f"{P2P} --persistent --undefinesource",
            request=both,
            short=True,
        ),
        Row(
            name="persistent, undefinesource, direct",
            virsh="--live --persistent --undefinesource",
            request={**both, "flow": "direct"},
        ),
        Row(name="of a transient guest", guest=_TRANSIENT),
        Row(
            name="persistent, of a transient guest",
            virsh=f"{P2P} --persistent",
            request={"persistent": True},
            guest=_TRANSIENT,
        ),
        Row(name="to a host that has a definition", destination=("define {kept}",)),
        Row(
            name="persistent, to a host that has a definition",
            virsh=f"{P2P} --persistent --undefinesource",
            request=both,
            destination=("define {kept}",),
        ),
        Row(
            name="of a guest that starts with its host",
            virsh=f"{P2P} --persistent --undefinesource",
            request=both,
            source=("autostart {name}",),
        ),
        Row(
            name="dname, persistent",
            virsh=f"{P2P} --dname {{name}}-moved --persistent",
            request={"dname": "{name}-moved", "persistent": True},
        ),
        Row(name="xml", virsh=f"{P2P} --xml {{live}}", request={"xml": "{live}"}),
        Row(
            name="xml, persistent",
            virsh=f"{P2P} --xml {{live}} --persistent",
            request={"xml": "{live}", "persistent": True},
        ),
        Row(
            name="persistent xml",
            virsh=f"{P2P} --persistent-xml {{kept}} --persistent",
            request={"persistent_xml": "{kept}", "persistent": True},
        ),
        Row(
            name="xml and persistent xml",
            virsh=f"{P2P} --xml {{live}} --persistent-xml {{kept}} --persistent --undefinesource",
            request={**both, "xml": "{live}", "persistent_xml": "{kept}"},
        ),
    )


def _offline() -> tuple[Row, ...]:
    words = "--offline --p2p --persistent"
    fields = {"offline": True, "persistent": True}
    return (
        Row(name="offline, of a running guest", virsh=words, request=fields, short=True),
        Row(
            name="offline, of a running guest, undefinesource",
            virsh=f"{words} --undefinesource",
            request={**fields, "undefinesource": True},
        ),
        Row(name="offline", virsh=words, request=fields, starts=False),
        Row(
            name="offline, undefinesource",
            virsh=f"{words} --undefinesource",
            request={**fields, "undefinesource": True},
            starts=False,
            short=True,
        ),
        Row(
            name="offline, direct",
            virsh="--offline --persistent",
            request={**fields, "flow": "direct"},
            starts=False,
        ),
        Row(name="offline, of a transient guest", virsh=words, request=fields, guest=_TRANSIENT),
        Row(
            name="offline, dname",
            virsh=f"{words} --dname {{name}}-moved",
            request={**fields, "dname": "{name}-moved"},
            starts=False,
        ),
        Row(
            name="offline, persistent xml",
            virsh=f"{words} --persistent-xml {{kept}}",
            request={**fields, "persistent_xml": "{kept}"},
            starts=False,
        ),
    )


def _tuning() -> tuple[Row, ...]:
    def compressed(words: str, **values: object) -> dict[str, Any]:
        return {"virsh": f"{P2P} --compressed {words}".strip(), "request": {"compression": values}}

    def packed(method: str, **level: int) -> dict[str, Any]:
        words = [f"--comp-{name.replace('_', '-')} {value}" for name, value in level.items()]
        return {
            "name": ", ".join(["parallel", method, *(["level"] if level else [])]),
            "virsh": f"{P2P} --parallel --parallel-connections 2 --compressed "
            + " ".join([f"--comp-methods {method}", *words]),
            "request": {"parallel_connections": 2, "compression": {"methods": [method], **level}},
            "needs": Needs(libvirt=(9, 4), binding=9_004_000 if level else 0),
        }

    return (
        Row(name="bandwidth", virsh=f"{P2P} --bandwidth 100", request={"bandwidth_mib_s": 100}),
        Row(
            name="switchover bandwidth",
            virsh=f"{P2P} --available-switchover-bandwidth 100",
            request={"available_switchover_bandwidth_mib_s": 100},
            needs=Needs(libvirt=(11, 1), qemu=(8, 2), source_only=True),
            short=True,
        ),
        Row(name="compressed", **compressed("")),
        Row(
            name="compressed, xbzrle",
            **compressed(
                "--comp-methods xbzrle --comp-xbzrle-cache 8388608",
                methods=["xbzrle"],
                xbzrle_cache_bytes=8388608,
            ),
        ),
        Row(
            name="compressed, mt",
            **compressed(
                "--comp-methods mt --comp-mt-level 1 --comp-mt-threads 2 --comp-mt-dthreads 2",
                methods=["mt"],
                mt_level=1,
                mt_threads=2,
                mt_dthreads=2,
            ),
            needs=Needs(qemu_below=(9, 1)),
            short=True,
        ),
        Row(**packed("zlib"), short=True),
        Row(**packed("zstd"), short=True),
        Row(**packed("zlib", zlib_level=2)),
        Row(**packed("zstd", zstd_level=2)),
        Row(name="auto-converge", virsh=f"{P2P} --auto-converge", request={"auto_converge": {}}),
        Row(
            name="auto-converge with values",
            virsh=f"{P2P} --auto-converge --auto-converge-initial 30 --auto-converge-increment 20"
            " --bandwidth 4",
            request={"auto_converge": {"initial": 30, "increment": 20}, "bandwidth_mib_s": 4},
        ),
        Row(
            name="parallel",
            virsh=f"{P2P} --parallel --parallel-connections 3",
            request={"parallel_connections": 3},
            short=True,
        ),
    )


def _postcopy() -> tuple[Row, ...]:
    slow = "--bandwidth 4"
    switch = Act("migrate-postcopy {name}", "POST", "/postcopy")
    return (
        Row(name="postcopy, not begun", virsh=f"{P2P} --postcopy", request={"postcopy": "allowed"}),
        Row(
            name="postcopy",
            virsh=f"{P2P} --postcopy {slow}",
            request={"postcopy": "allowed", "bandwidth_mib_s": 4},
            guest=_BUSY,
            act=switch,
            short=True,
        ),
        Row(
            name="postcopy with a bandwidth, persistent, undefinesource",
            virsh=f"{P2P} --postcopy {slow} --postcopy-bandwidth 50 --persistent --undefinesource",
            request={
                "postcopy": "allowed",
                "bandwidth_mib_s": 4,
                "postcopy_bandwidth_mib_s": 50,
                "persistent": True,
                "undefinesource": True,
            },
            guest=_BUSY,
            act=switch,
        ),
        Row(
            name="postcopy, direct",
            virsh=f"--live --postcopy {slow}",
            request={"postcopy": "allowed", "bandwidth_mib_s": 4, "flow": "direct"},
            guest=_BUSY,
            act=switch,
        ),
        Row(
            name="postcopy after precopy",
            virsh=f"{P2P} --postcopy --postcopy-after-precopy {slow}",
            request={"postcopy": "after_precopy", "bandwidth_mib_s": 4},
            guest=_BUSY,
            short=True,
        ),
        Row(
            name="postcopy at the timeout",
            virsh=f"{P2P} --postcopy {slow} --timeout 4 --timeout-postcopy",
            request={
                "postcopy": "allowed",
                "bandwidth_mib_s": 4,
                "timeout_s": 4,
                "on_timeout": "postcopy",
            },
            guest=_BUSY,
        ),
    )


def _controls() -> tuple[Row, ...]:
    slow: dict[str, Any] = {
        "virsh": f"{P2P} --bandwidth 2",
        "request": {"bandwidth_mib_s": 2},
        "guest": _LONG,
    }
    return (
        Row(
            name="timeout that is not reached",
            virsh=f"{P2P} --timeout 100 --timeout-suspend",
            request={"timeout_s": 100, "on_timeout": "suspend"},
        ),
        Row(
            name="suspended at the timeout",
            virsh=f"{P2P} --bandwidth 4 --timeout 2 --timeout-suspend",
            request={"bandwidth_mib_s": 4, "timeout_s": 2, "on_timeout": "suspend"},
            guest=_BUSY,
        ),
        Row(
            name="suspended meanwhile",
            virsh=f"{P2P} --bandwidth 4",
            request={"bandwidth_mib_s": 4},
            guest=_BUSY,
            act=Act("suspend {name}", "POST", "/suspend"),
        ),
        Row(
            name="aborted",
            **slow,
            act=Act("domjobabort {name}", "POST", "/abort"),
            stays=True,
            short=True,
        ),
        Row(
            name="aborted, direct",
            virsh="--live --bandwidth 2",
            request={"bandwidth_mib_s": 2, "flow": "direct"},
            guest=_LONG,
            act=Act("domjobabort {name}", "POST", "/abort"),
            stays=True,
        ),
        Row(
            name="bandwidth changed meanwhile",
            **slow,
            act=Act("migrate-setspeed {name} 200", "PATCH", body={"bandwidth_mib_s": 200}),
        ),
        Row(
            name="pause changed meanwhile",
            virsh=f"{P2P} --bandwidth 4",
            request={"bandwidth_mib_s": 4},
            guest=_BUSY,
            act=Act("migrate-setmaxdowntime {name} 3000", "PATCH", body={"max_downtime_ms": 3000}),
        ),
    )


def _addresses() -> tuple[Row, ...]:
    return (
        Row(
            name="migrate uri with a port",
            virsh=f"{P2P} --migrateuri tcp://{{address}}:{{port}}",
            request={"migrate_uri": "tcp://{address}:{port}"},
        ),
        Row(
            name="listen address",
            virsh=f"{P2P} --listen-address {{address}}",
            request={"listen_address": "{address}"},
        ),
        Row(
            name="unix socket",
            virsh=f"{P2P} --migrateuri unix://{{memory}}",
            request={"migrate_uri": "unix://{memory}"},
        ),
        Row(
            name="unix sockets, with disks",
            virsh=f"{P2P} --migrateuri unix://{{memory}} --copy-storage-all"
            " --disks-uri unix://{disks}",
            request={
                "migrate_uri": "unix://{memory}",
                "copy_storage": "all",
                "disks_uri": "unix://{disks}",
            },
            guest=_DISK,
        ),
        Row(
            name="graphics uri",
            virsh=f"{P2P} --graphicsuri spice://{{address}}:5999",
            request={"graphics_uri": "spice://{address}:5999"},
            guest={"devices_xml": "<graphics type='vnc' autoport='yes'/>"},
        ),
        Row(name="tls", virsh=f"{P2P} --tls", request={"tls": True}, short=True),
        Row(
            name="tls, parallel, tls destination",
            virsh=f"{P2P} --tls --tls-destination {{destination}} --parallel"
            " --parallel-connections 2",
            request={"tls": True, "tls_destination": "{destination}", "parallel_connections": 2},
        ),
        Row(
            name="tls, with disks",
            virsh=f"{P2P} --tls --copy-storage-all",
            request={"tls": True, "copy_storage": "all"},
            guest=_DISK,
        ),
    )


def _storage() -> tuple[Row, ...]:
    words = f"{P2P} --copy-storage-all"
    fields = {"copy_storage": "all"}
    return (
        Row(name="storage", virsh=words, request=fields, guest=_DISK, short=True),
        Row(
            name="storage, direct",
            virsh="--live --copy-storage-all",
            request={**fields, "flow": "direct"},
            guest=_DISK,
        ),
        Row(
            name="storage, images made before",
            virsh=words,
            request=fields,
            guest=_DISK,
            images_ready=True,
        ),
        Row(
            name="storage, synchronous writes",
            virsh=f"{words} --copy-storage-synchronous-writes",
            request={**fields, "copy_storage_synchronous_writes": True},
            guest=_DISK,
        ),
        Row(
            name="storage, incremental",
            virsh=f"{P2P} --copy-storage-inc",
            request={"copy_storage": "inc"},
            guest={"disks": (Disk(mib=2, fill_mib=1, backing_mib=2),)},
            images_ready=True,
            short=True,
        ),
        Row(
            name="storage, some disks",
            virsh=f"{words} --migrate-disks vda --unsafe",
            request={**fields, "migrate_disks": ["vda"], "unsafe": True},
            guest={"disks": (Disk(mib=2), Disk(mib=1, target="vdb", shared=True))},
        ),
        Row(
            name="storage, two formats",
            virsh=words,
            request=fields,
            guest={"disks": (Disk(mib=2, fill_mib=1), Disk(mib=2, target="vdb", format="raw"))},
        ),
        Row(
            name="storage, zeroes found",
            virsh=f"{words} --migrate-disks vda --migrate-disks-detect-zeroes vda",
            request={**fields, "migrate_disks": ["vda"], "migrate_disks_detect_zeroes": ["vda"]},
            guest={"disks": (Disk(mib=4, fill_mib=1),)},
            needs=Needs(libvirt=(10, 9)),
            short=True,
        ),
        Row(
            name="storage, disks port",
            virsh=f"{words} --disks-port {{port}}",
            request={**fields, "disks_port": "{port}"},
            guest=_DISK,
        ),
        Row(
            name="storage, disks uri",
            virsh=f"{words} --disks-uri tcp://{{address}}:{{port}}",
            request={**fields, "disks_uri": "tcp://{address}:{port}"},
            guest=_DISK,
        ),
        Row(
            name="storage, persistent, undefinesource",
            virsh=f"{words} --persistent --undefinesource",
            request={**fields, "persistent": True, "undefinesource": True},
            guest=_DISK,
        ),
        Row(
            name="storage, aborted",
            virsh=f"{words} --bandwidth 2",
            request={**fields, "bandwidth_mib_s": 2},
            guest={**_DISK, **_LONG},
            act=Act("domjobabort {name}", "POST", "/abort"),
            stays=True,
        ),
    )


def _refused() -> tuple[Row, ...]:

    def no(name: str, words: str, request: Mapping[str, Any], **rest: Any) -> Row:
        return Row(name=name, virsh=words, request=request, stays=True, **rest)

    tunnel = f"{P2P} --tunnelled"
    tunnelled = {"transport": "tunnelled"}
    compress = f"{P2P} --compressed --comp-methods"
    copy, copied = (f"{P2P} --copy-storage-all", {"copy_storage": "all"})
    offline, moved_offline = ("--offline --p2p --persistent", {"offline": True, "persistent": True})
    inc = Disk(mib=2, fill_mib=1, backing_mib=2)
    return (
        no("a disk on no shared storage", P2P, {}, guest=_DISK, short=True),
        no("tunnelled, direct", "--live --tunnelled", {**tunnelled, "flow": "direct"}),
        no("tunnelled, postcopy", f"{tunnel} --postcopy", {**tunnelled, "postcopy": "allowed"}),
        no(
            "tunnelled, parallel",
            f"{tunnel} --parallel --parallel-connections 2",
            {**tunnelled, "parallel_connections": 2},
        ),
        no(
            "tunnelled, migrate uri",
            f"{tunnel} --migrateuri tcp://{{address}}",
            {**tunnelled, "migrate_uri": "tcp://{address}"},
        ),
        no(
            "tunnelled, listen address",
            f"{tunnel} --listen-address {{address}}",
            {**tunnelled, "listen_address": "{address}"},
        ),
        no(
            "tunnelled, storage",
            f"{tunnel} --copy-storage-all",
            {**tunnelled, **copied},
            guest=_DISK,
            litters=True,
        ),
        no(
            "postcopy, suspend",
            f"{P2P} --postcopy --suspend",
            {"postcopy": "allowed", "suspend": True},
        ),
        no("postcopy, not live", "--p2p --postcopy", {"postcopy": "allowed", "live": False}),
        no("offline, not persistent", "--offline --p2p", {"offline": True}),
        no(
            "offline, storage",
            f"{offline} --copy-storage-all",
            {**moved_offline, **copied},
            guest=_DISK,
        ),
        no("zerocopy, not parallel", f"{P2P} --zerocopy", {"zerocopy": True}),
        no(
            "compression method twice",
            f"{compress} xbzrle,xbzrle",
            {"compression": {"methods": ["xbzrle", "xbzrle"]}},
        ),
        no(
            "value of a compression method that is not asked for",
            f"{compress} xbzrle --comp-mt-level 1",
            {"compression": {"methods": ["xbzrle"], "mt_level": 1}},
        ),
        no(
            "unix socket for memory, none for disks",
            f"{P2P} --migrateuri unix://{{memory}} --copy-storage-all",
            {"migrate_uri": "unix://{memory}", **copied},
            guest=_DISK,
        ),
        no(
            "storage, disks port and uri",
            f"{copy} --disks-port {{port}} --disks-uri tcp://{{address}}:{{port}}",
            {**copied, "disks_port": "{port}", "disks_uri": "tcp://{address}:{port}"},
            guest=_DISK,
        ),
        no(
            "storage, a disk that is not there",
            f"{copy} --migrate-disks vdz",
            {**copied, "migrate_disks": ["vdz"]},
            guest=_DISK,
        ),
        no(
            "storage, incremental, no images there",
            f"{P2P} --copy-storage-inc",
            {"copy_storage": "inc"},
            guest={"disks": (inc,)},
        ),
        no("of a guest that is shut off", P2P, {}, starts=False),
        no("xml of another machine", f"{P2P} --xml {{wrong}}", {"xml": "{wrong}"}),
        no("to a host that runs it", P2P, {}, destination=("create {kept}",)),
        no(
            "wrong name in the certificate",
            f"{P2P} --tls --tls-destination nobody",
            {"tls": True, "tls_destination": "nobody"},
            short=True,
        ),
    )


ROWS: Final[tuple[Row, ...]] = (
    *_flows(),
    *_definitions(),
    *_offline(),
    *_tuning(),
    *_postcopy(),
    *_controls(),
    *_addresses(),
    *_storage(),
    *_refused(),
)
