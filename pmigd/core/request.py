"""What may be asked of a migration: one row for each field, and nothing about it anywhere else.

A row is a field of :class:`Request`: its default, what it is for in the words of the API, its
options of pmigctl, and what else :class:`pmigd.core.fields.Field` has room for. A row is all that a
new field takes, besides what acts on it where that is not libvirt: the schema of the socket, the
options, libvirt's flags and parameters, the configured defaults and the pages are made of these
rows. Only what libvirt changes on the way stands a second time, in :class:`Settings` and as a kind
of command in :mod:`pmigd.core.commands`.

The order is that in which people read them; a row with `group` begins one. Whoever adds a row runs
``make docs``.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from pmigd.core.fields import (
    BYTES,
    MIB_S,
    MS,
    PERCENT,
    SECONDS,
    Change,
    Configured,
    Group,
    Needs,
    Row,
    Text,
    about,
    every,
    row,
    rows,
)

BODY_LIMIT_BYTES: Final = 1024 * 1024
"""Of a request, whole."""
UNLIMITED_MIB_S: Final = 8_796_093_022_207
"""libvirt's largest speed, (2^63 - 1) bytes in MiB, which stands for none."""


class Transport(StrEnum):
    """How the guest's memory travels."""

    NATIVE = "native"  # QEMU to QEMU
    TUNNELLED = "tunnelled"  # inside the connection between the libvirt daemons


class Flow(StrEnum):
    """Who is in control of the phases."""

    P2P = "p2p"  # the two libvirt daemons; survives the death of pmigd
    DIRECT = "direct"  # pmigd, as the client of both


class OnTimeout(StrEnum):
    """What happens when ``timeout_s`` is over and the migration still runs."""

    ABORT = "abort"
    SUSPEND = "suspend"
    POSTCOPY = "postcopy"
    CONTINUE = "continue"


class CopyStorage(StrEnum):
    """Which disks are copied along with the memory."""

    NONE = "none"
    ALL = "all"
    INC = "inc"


class Postcopy(StrEnum):
    """Whether the guest may be switched over before all of its memory is there."""

    NEVER = "never"
    ALLOWED = "allowed"
    AFTER_PRECOPY = "after_precopy"


Method = Literal["mt", "xbzrle", "zlib", "zstd"]
Autostart = bool | Literal["leave"] | None

# Patterns end in (?![\s\S]): unlike '$' it does not let a last newline through, in any dialect.
_PRINTABLE: Final = r"^[\x21-\x7e]+(?![\s\S])"
_NO_BLANKS: Final = "printable ASCII without blanks"
_NAME: Final = Text(
    "NAME",
    256,
    r"^[^\x00-\x1f\x7f-\x9f/]+(?![\s\S])",
    "a name or UUID without control characters or '/'",
)
_PEER: Final = Text(
    "DESTINATION", 1024, _PRINTABLE, "the name of a peer, or a URI that the configuration allows"
)
_DISK: Final = Text("DISK", 64, r"^[A-Za-z0-9_-]{1,64}(?![\s\S])", "a disk's target, as vda")
_MEMORY_URI: Final = Text("URI", 1024, _PRINTABLE, _NO_BLANKS, "tcp rdma unix")
_DISKS_URI: Final = Text("URI", 1024, _PRINTABLE, _NO_BLANKS, "tcp unix")
_GRAPHICS_URI: Final = Text("URI", 1024, _PRINTABLE, _NO_BLANKS, "graphics")
_ADDRESS: Final = Text("ADDRESS", 1024, _PRINTABLE, _NO_BLANKS, "host")
_HOST: Final = Text("NAME", 1024, _PRINTABLE, _NO_BLANKS, "host")
_XML: Final = Text("FILE", BODY_LIMIT_BYTES)

_TRAVEL: Final = Group("how the guest travels", "live and peer-to-peer unless told otherwise.")
_THERE: Final = Group(
    "the guest at its destination",
    "without these its definition follows the guest: a persistent one arrives persistent\n"
    "and leaves nothing behind, a transient one stays transient. One that starts with its\n"
    "host (virsh autostart) is to start with the new one.",
)
_DISKS: Final = Group(
    "its disks",
    "on shared storage there is nothing to copy. Otherwise disks of the same size must be\n"
    "there before.",
)
_BUSY: Final = Group(
    "a guest that is busy",
    "one that writes faster than the wire carries never finishes by itself: allow a\n"
    "longer pause, slow it down, or switch over first and send the rest later.",
)
_NETWORK: Final = Group("how much of the network", "0 is as much as there is.")
_COMPRESSION: Final = Group(
    "compression", "pays where the wire is slower than the processors. Any of these switches it on."
)
_ADDRESSES: Final = Group(
    "addresses and encryption",
    "the peer's configuration says them. Addresses are for administrators only.",
)
_TURN: Final = Group("its turn", "it waits while either host does as much as its limits allow.")
_CAUTION: Final = Group("caution", "what to watch for, and what to overlook.")


@dataclass(frozen=True, slots=True)
class AutoConverge:
    """How a guest that writes faster than memory travels is throttled, in percent; null is QEMU's
    own figure."""

    initial: int | None = row(
        None,
        "The first step.",
        "--auto-converge-initial: the first step, in percent (QEMU: 20)",
        unit=PERCENT,
        between=(1, 99),
        param="auto_converge.initial",
    )
    increment: int | None = row(
        None,
        "Every further step.",
        "--auto-converge-increment: every further step, in percent (QEMU: 10)",
        unit=PERCENT,
        between=(1, 99),
        param="auto_converge.increment",
    )


@dataclass(frozen=True, slots=True)
class Compression:
    """How memory is compressed; without a method libvirt's default, xbzrle, is used. Null leaves a
    value to QEMU."""

    methods: tuple[Method, ...] = row(
        (),
        "Compression methods.",
        "--comp-methods METHOD: by these: xbzrle sends only what changed within a page, mt packs"
        " pages on several processors; with --parallel one of zlib, zstd (libvirt 9.4)",
        most=4,
        param="compression",
    )
    mt_level: int | None = row(
        None,
        "Of mt: 0 is none, 1 the fastest, 9 the smallest.",
        "--comp-mt-level 0-9: mt: 0 none, 1 fastest, 9 smallest",
        between=(0, 9),
        param="compression.mt.level",
    )
    mt_threads: int | None = row(
        None,
        "Of mt: threads that pack, on the source.",
        "--comp-mt-threads: mt: this many threads that pack, on the source",
        between=(1, 255),
        param="compression.mt.threads",
    )
    mt_dthreads: int | None = row(
        None,
        "Of mt: threads that unpack, on the destination.",
        "--comp-mt-dthreads: mt: this many threads that unpack, on the destination",
        between=(1, 255),
        param="compression.mt.dthreads",
    )
    xbzrle_cache_bytes: int | None = row(
        None,
        "Of xbzrle: memory of the source to remember sent pages in.",
        "--comp-xbzrle-cache: xbzrle: memory of the source to remember sent pages in; worth the"
        " size of what the guest writes again and again",
        unit=BYTES,
        between=(1, 2**62),
        param="compression.xbzrle.cache",
        change=Change(
            "--compression-cache: xbzrle: memory of the source to remember sent pages in",
            "CompressionCache",
            name="compression_cache_bytes",
        ),
    )
    zlib_level: int | None = row(
        None,
        "Of zlib: 0 is none, 1 the fastest, 9 the smallest.",
        "--comp-zlib-level 0-9: zlib: 0 none, 1 fastest, 9 smallest",
        between=(0, 9),
        param="compression.zlib.level",
    )
    zstd_level: int | None = row(
        None,
        "Of zstd: 0 is its default, 1 the fastest, 20 the smallest.",
        "--comp-zstd-level 0-20: zstd: 0 its default, 1 fastest, 20 smallest",
        between=(0, 20),
        param="compression.zstd.level",
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, validated, with the configured defaults filled in.

    ``persistent`` and ``undefinesource``: None follows the guest, a persistent one arrives
    persistent and leaves no definition behind; true or false is exactly libvirt's table.
    Bandwidths 0 are unlimited, ``timeout_s`` 0 is none, ``parallel_connections`` 0 is one stream.
    """

    domain: str = field(metadata=about("Name or UUID of a domain of this host.", text=_NAME))
    destination: str = field(
        metadata=about("A configured peer's name, or a URI that is allowed.", text=_PEER)
    )
    live: bool = row(
        True,
        "Keep the guest running while its memory is copied.",
        "--live: the guest runs on while its memory is copied (the default); --no-live pauses it"
        " first",
        group=_TRAVEL,
        flag="VIR_MIGRATE_LIVE",
    )
    offline: bool = row(
        False,
        "Move only the definition; the guest stays as it is.",
        "--offline: move the definition only: the guest stays as it is, and may be shut off",
        flag="VIR_MIGRATE_OFFLINE",
    )
    flow: Flow = row(
        Flow.P2P,
        "Who is in control: the two libvirt daemons, or pmigd between them.",
        "--p2p=p2p: the source's libvirt talks to the destination's by itself, and goes on"
        " whatever becomes of pmigd (the default)",
        "--direct=direct: pmigd leads through it between the two, for hosts whose libvirts cannot"
        " reach each other; unlike --p2p it needs pmigd until the end",
        flag={Flow.P2P: "VIR_MIGRATE_PEER2PEER"},
    )
    transport: Transport = row(
        Transport.NATIVE,
        "How memory travels; null is the configured default.",
        "--tunnelled=tunnelled --tunneled: send the guest through libvirt's own connection instead"
        " of a second one: slower, but needs no other port",
        flag={Transport.TUNNELLED: "VIR_MIGRATE_TUNNELLED"},
        configured=Configured(
            'How memory travels: "native" is QEMU to QEMU, fast and in the clear; "tunnelled" goes'
            " through the two libvirtds, slower, as safe as the peer's uri."
        ),
    )
    parallel_connections: int = row(
        0,
        "Streams for memory; null or 0 is one stream.",
        "--parallel=2: copy memory over several connections at once, where one cannot fill the"
        " wire: 2, as QEMU does by itself, unless --parallel-connections says otherwise",
        "--parallel-connections: over this many connections; each costs a core on both hosts while"
        " it is busy",
        together=True,
        between=(0, 255),
        flag="VIR_MIGRATE_PARALLEL",
        param="parallel.connections",
    )
    zerocopy: bool = row(
        False,
        "Send memory without copying it first.",
        "--zerocopy: let the network card read the guest's memory in place, which saves the"
        " source's processor; needs --parallel",
        flag="VIR_MIGRATE_ZEROCOPY",
        needs=(Needs("needs_zerocopy", (8, 5, 0), (7, 1, 0)),),
    )
    rdma_pin_all: bool = row(
        False,
        "Pin all memory for RDMA.",
        "--rdma-pin-all: pin all of the guest's memory before it starts instead of bit by bit;"
        " only where --migrateuri is rdma://",
        flag="VIR_MIGRATE_RDMA_PIN_ALL",
    )
    persistent: bool | None = row(
        None,
        "Define the domain at the destination; null follows the guest.",
        "--persistent: keep (or do not keep) the guest defined on the destination",
        group=_THERE,
        flag="VIR_MIGRATE_PERSIST_DEST",
    )
    undefinesource: bool | None = row(
        None,
        "Remove the definition here; null follows the guest.",
        "--undefinesource: remove (or leave) its definition on the source after success",
        flag="VIR_MIGRATE_UNDEFINE_SOURCE",
    )
    autostart: Autostart = row(
        None,
        "Whether the guest is to start with the destination's host, and not with this one any"
        ' more; null: if it starts with this one; "leave": libvirt\'s way, which leaves the flag of'
        " this host as it is and carries none.",
        "--autostart: let it start (or not start) with the destination's host, and not with this"
        " one any more",
        "--leave-autostart=leave: do not touch that, as virsh: it starts with no host any more, or"
        " with this one although it has left",
        accepted='true, false or "leave", or null',
    )
    suspend: bool = row(
        False,
        "Leave the guest paused at the destination.",
        "--suspend: leave it paused there; go on with virsh resume",
        flag="VIR_MIGRATE_PAUSED",
    )
    dname: str | None = row(
        None,
        "New name at the destination.",
        "--dname: give it this name at the destination",
        text=_NAME,
        param="destination_name",
    )
    xml: str | None = row(
        None,
        "Live XML.",
        "--xml: run it there by the definition in this file: only what the guest cannot see may"
        " differ, as the paths of its disks; begin with virsh dumpxml --migratable",
        text=_XML,
        param="destination_xml",
        admin=True,
        secret=True,
    )
    persistent_xml: str | None = row(
        None,
        "Persistent XML.",
        "--persistent-xml: keep it defined there by this file, in force from its next start",
        text=_XML,
        param="persistent_xml",
        admin=True,
        secret=True,
    )
    copy_storage: CopyStorage = row(
        CopyStorage.NONE,
        "Copy disks that are not shared: whole, or above a shared backing image.",
        "--copy-storage-all=all: copy its disks that are not shared, whole",
        "--copy-storage-inc=inc: copy only what lies above the backing file, which both hosts have",
        group=_DISKS,
        flag={
            CopyStorage.ALL: "VIR_MIGRATE_NON_SHARED_DISK",
            CopyStorage.INC: "VIR_MIGRATE_NON_SHARED_INC",
        },
    )
    copy_storage_synchronous_writes: bool = row(
        False,
        "Write to the copy at the same time, so that the copying ends.",
        "--copy-storage-synchronous-writes: let each write of the guest wait for both hosts:"
        " slower disks, but a busy one gets copied in the end",
        flag="VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES",
        needs=(Needs("needs_synchronous_writes", (8, 0, 0), source_only=True),),
    )
    migrate_disks: tuple[str, ...] = row(
        (),
        "Only these disks; [] is all.",
        "--migrate-disks: copy these disks only, by target: vda,vdb",
        most=256,
        text=_DISK,
        param="migrate_disks",
    )
    migrate_disks_detect_zeroes: tuple[str, ...] = row(
        (),
        "Skip zeroes of these disks.",
        "--migrate-disks-detect-zeroes: do not send the empty parts of these, which keeps them"
        " thin",
        most=256,
        text=_DISK,
        param="migrate_disks_detect_zeroes",
        needs=(Needs("needs_detect_zeroes", (10, 9, 0)),),
    )
    migrate_disks_target_zero: tuple[str, ...] = row(
        (),
        "The images of these disks, made beforehand, read as zeroes throughout: they are not"
        " zeroed first. Where that is wrong, the copy is damaged.",
        "--migrate-disks-target-zero: do not zero the images of these first, for they are new and"
        " empty at the destination: where they are not, the copy is damaged",
        most=256,
        text=_DISK,
        param="migrate_disks_target_zero",
        needs=(
            Needs("needs_target_zero", (12, 2, 0)),
            Needs("needs_target_zero", qemu=(10, 1, 0), source_only=True),
        ),
    )
    disks_port: int | None = row(
        None,
        "Port for disks at the destination.",
        "--disks-port PORT: the destination's port for disks, where a firewall lets only some"
        " through",
        between=(1, 65535),
        param="disks_port",
    )
    disks_uri: str | None = row(
        None,
        "tcp://host:port or unix:///path.",
        "--disks-uri: the whole address for disks instead: tcp://ADDRESS:PORT or unix:///PATH",
        text=_DISKS_URI,
        param="disks_uri",
        admin=True,
    )
    max_downtime_ms: int | None = row(
        None,
        "The pause that QEMU aims to stay under; null is QEMU's default.",
        "--max-downtime: allow the last pause to take this many milliseconds (QEMU: 300); longer"
        " lets a busier guest finish",
        group=_BUSY,
        unit=MS,
        between=(1, 2_000_000),
        change=Change(
            "--max-downtime: allow the last pause to take this many milliseconds; longer lets a"
            " busier guest finish",
            "MaxDowntime",
        ),
    )
    auto_converge: AutoConverge | None = row(
        None,
        "Throttle a guest that writes too fast.",
        "--auto-converge: take processor time from the guest, step by step, until it can be caught"
        " up with",
        flag="VIR_MIGRATE_AUTO_CONVERGE",
    )
    postcopy: Postcopy = row(
        Postcopy.NEVER,
        "Whether the guest may move before all of its memory did.",
        "--postcopy=allowed: allow to run it at the destination before all of its memory is there:"
        " always finishes, but a broken network then stops the guest. Begin it with pmigctl"
        " postcopy or a timeout",
        "--postcopy-after-precopy=after_precopy: switch over by itself once all memory was sent"
        " one time",
        together=True,
        flag={
            Postcopy.ALLOWED: "VIR_MIGRATE_POSTCOPY",
            Postcopy.AFTER_PRECOPY: "VIR_MIGRATE_POSTCOPY",
        },
    )
    recover_attempts: int = row(
        0,
        "How often a broken post-copy is gone on with by itself; null is the configured default.",
        "--recover-attempts: how often a post-copy whose stream broke is gone on with by itself,"
        " once the destination answers again; 0 leaves it to pmigctl recover",
        between=(0, 100),
        configured=Configured(
            "How often pmigd goes on by itself with a post-copy whose stream broke, once the"
            " destination answers again. 0 leaves that to people.",
            "attempts",
            default=10,
        ),
    )
    timeout_s: float = row(
        0,
        "Seconds it may run before on_timeout is applied; 0 is no limit.",
        "--timeout: after S seconds do what --on-timeout says. Note: virsh suspends the guest by"
        " default; pmigd does so only when asked, and aborts unless configured otherwise",
        unit=SECONDS,
        between=(0, 2_592_000),
        zero="none",
        configured=Configured(
            "Time a migration may run before on_timeout is applied. 0 means no limit.",
            "seconds",
            type=int,
        ),
        change=Change(
            "--timeout: do what --on-timeout said when it has run for S seconds in all; 0 is never"
        ),
    )
    on_timeout: OnTimeout = row(
        OnTimeout.ABORT,
        "What then happens; null is the configured default.",
        "--timeout-suspend=suspend: at the timeout pause the guest so that the copy can finish"
        " (--on-timeout suspend)",
        "--timeout-postcopy=postcopy: at the timeout switch over to post-copy, which --postcopy"
        " has to allow (--on-timeout postcopy)",
        "--on-timeout: abort: the guest stays here; suspend: it is paused until it has moved;"
        " postcopy: it runs there at once; continue: only say so",
        configured=Configured(
            'What happens then: "abort" leaves the guest running here, "suspend" pauses it so that'
            ' it finishes, "postcopy" lets it move at once and its memory follow where the request'
            ' allows post-copy (else it is aborted), "continue" only records it.',
            # What is configured is for the requests that it can help; the others are aborted.
            fits=lambda request, value: (
                not (
                    (value is OnTimeout.POSTCOPY and request.postcopy is Postcopy.NEVER)
                    or (request.offline and value in (OnTimeout.SUSPEND, OnTimeout.POSTCOPY))
                )
            ),
        ),
    )
    bandwidth_mib_s: int = row(
        0,
        "Upper limit of the transfer in MiB/s; null or 0 is unlimited.",
        "--bandwidth: use at most this much of the network, in MiB/s; pmigctl set changes it on"
        " the way",
        group=_NETWORK,
        unit=MIB_S,
        between=(0, UNLIMITED_MIB_S),
        zero="unlimited",
        param="bandwidth",
        change=Change(
            "--bandwidth: use at most this much of the network, in MiB/s; 0 is as much as there is",
            "MaxSpeed",
            unlimited=True,
        ),
    )
    postcopy_bandwidth_mib_s: int = row(
        0,
        "The same in post-copy.",
        "--postcopy-bandwidth: and at most this much once the guest was switched over by post-copy",
        unit=MIB_S,
        between=(0, UNLIMITED_MIB_S),
        zero="unlimited",
        param="bandwidth.postcopy",
        change=Change(
            "--postcopy-bandwidth: and at most this much once the guest was switched over by"
            " post-copy",
            "MaxSpeed",
            "VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY",
        ),
    )
    available_switchover_bandwidth_mib_s: int = row(
        0,
        "What QEMU assumes for the switch-over in MiB/s; it limits nothing.",
        "--available-switchover-bandwidth: what QEMU shall take the network to carry when it"
        " judges how long the last pause would be; limits nothing",
        unit=MIB_S,
        between=(0, UNLIMITED_MIB_S),
        param="bandwidth.avail.switchover",
        needs=(Needs("needs_switchover_bandwidth", (11, 1, 0), (8, 2, 0), source_only=True),),
    )
    compression: Compression | None = row(
        None,
        "Compress memory.",
        "--compressed: send memory compressed, by QEMU's own choice (xbzrle) unless --comp-methods"
        " names others",
        group=_COMPRESSION,
        flag="VIR_MIGRATE_COMPRESSED",
    )
    migrate_uri: str | None = row(
        None,
        "tcp://host[:port], rdma://host or unix:///path.",
        "--migrateuri: where memory is sent: tcp://ADDRESS[:PORT], rdma://ADDRESS or unix:///PATH,"
        " as for a network of its own",
        group=_ADDRESSES,
        text=_MEMORY_URI,
        param="migrate_uri",
        admin=True,
    )
    graphics_uri: str | None = row(
        None,
        "spice://host:port for clients.",
        "--graphicsuri: where viewers are sent to when it has moved: spice://ADDRESS:PORT",
        text=_GRAPHICS_URI,
        param="graphics_uri",
        admin=True,
    )
    listen_address: str | None = row(
        None,
        "Where the destination listens.",
        "--listen-address: the one address at which the destination listens for memory",
        text=_ADDRESS,
        param="listen_address",
        admin=True,
    )
    tls: bool = row(
        False,
        "Encrypt memory and disks between the QEMUs; null is the configured default.",
        "--tls: encrypt (or do not encrypt) memory and disks on the wire, by the certificates that"
        " QEMU has on both hosts",
        flag="VIR_MIGRATE_TLS",
        configured=Configured(
            "Encrypt memory and disks between the QEMUs. Needs certificates for QEMU on both hosts"
            " (qemu.conf: default_tls_x509_cert_dir); not for what is tunnelled.",
            # Where memory is tunnelled, or none is sent, TLS between the QEMUs has no meaning.
            fits=lambda request, _: request.transport is Transport.NATIVE and not request.offline,
        ),
    )
    tls_destination: str | None = row(
        None,
        "The name in the destination's certificate.",
        "--tls-destination: the name in the destination's certificate, where it is not the host's"
        " own",
        text=_HOST,
        param="tls.destination",
        admin=True,
    )
    priority: int = row(
        50,
        "Who waits starts by priority and age; a point is worth one minute. null is 50.",
        "--priority 0-100: the highest of those that wait goes first, 50 where nothing is said; a"
        " point is worth a minute of waiting, so that nobody waits for ever",
        group=_TURN,
        between=(0, 100),
        change=Change(
            "--priority 0-100: its turn while it waits: the highest goes first, a point is worth a"
            " minute",
            queued=True,
        ),
    )
    abort_on_error: bool = row(
        False,
        "Give up when the guest's disks report an error meanwhile.",
        "--abort-on-error: give up at an input/output error of a disk instead of taking the guest"
        " along as it is",
        group=_CAUTION,
        flag="VIR_MIGRATE_ABORT_ON_ERROR",
    )
    change_protection: bool = row(
        False,
        "No changes to the domain meanwhile; always so with p2p.",
        "--change-protection: let nobody change the guest until it is over; peer-to-peer always"
        " does",
        flag="VIR_MIGRATE_CHANGE_PROTECTION",
    )
    unsafe: bool = row(
        False,
        "Skip libvirt's check of the disks' safety.",
        "--unsafe: go although its disks may get damaged, as on storage that both hosts cache; for"
        " administrators only",
        flag="VIR_MIGRATE_UNSAFE",
        admin=True,
    )
    start_anyway: bool = row(
        False,
        "What pmigd itself looked at and found wanting warns and does not block; what libvirt said"
        " still does.",
        "--start-anyway: go although pmigd saw something missing, as what a hook of the"
        " destination makes; libvirt then decides. For administrators only",
        admin=True,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """What libvirt lets be changed while a migration runs, each by its row's name. None: not known,
    or not to be changed.

    Bandwidths are MiB/s; 0 is unlimited.
    """

    max_downtime_ms: int | None = None
    bandwidth_mib_s: int | None = None
    postcopy_bandwidth_mib_s: int | None = None
    compression_cache_bytes: int | None = None


FIELDS: Final[tuple[Row, ...]] = rows(Request)
"""The fields of a request."""
ROWS: Final[tuple[Row, ...]] = tuple(every(Request))
"""The same with those of its objects."""
SET: Final[tuple[Row, ...]] = tuple(row for row in ROWS if row.about.change.call)
"""What libvirt changes on the way: each of :class:`Settings`."""
CHANGES: Final[tuple[Row, ...]] = (
    *SET,
    *(row for row in ROWS if row.about.change.option and not row.about.change.call),
)
"""All that can be changed on the way."""
