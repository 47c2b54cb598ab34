"""What ``migrate``, ``check`` and ``set`` accept, and which request field each option fills.

One row per option: the arguments, the request, the help and the completion all come from these
tables. Whatever virsh has a name for keeps virsh's name. Values are checked for their type only;
what may be combined with what is for the daemon to say, so that every client hears the same
answer.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from pmigd.client import JsonObject


@dataclass(frozen=True, slots=True)
class Group:
    """A heading in --help, with one line that says what its options are about."""

    title: str
    teaches: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    ``field`` is the request field it fills, ``object.field`` one inside an object, and None what
    only the client does. ``value`` is what the field becomes for kind ``set``; ``{}`` switches an
    object on and leaves what else is in it. Of options that fill the same field the later row
    wins, in whatever order they are given. Those that share ``excludes`` may not be given together.
    """

    flags: tuple[str, ...]
    help: str
    field: str | None
    kind: Literal["set", "yes-no", "number", "text", "choice", "names", "file"]
    value: object = True
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    excludes: str | None = None


Table = tuple[tuple[Group, tuple[Option, ...]], ...]

_REQUEST: Final[Table] = (
    (
        Group("how the guest travels", "live and peer-to-peer unless told otherwise."),
        (
            Option(
                ("--live",),
                "the guest runs on while its memory is copied (the default); --no-live pauses it"
                " first",
                "live",
                "yes-no",
            ),
            Option(
                ("--offline",),
                "move the definition only: the guest stays as it is, and may be shut off",
                "offline",
                "set",
            ),
            Option(
                ("--p2p",),
                "the source's libvirt talks to the destination's by itself, and goes on whatever"
                " becomes of pmigd (the default)",
                "flow",
                "set",
                "p2p",
                excludes="flow",
            ),
            Option(
                ("--direct",),
                "pmigd leads through it between the two, for hosts whose libvirts cannot reach each"
                " other; unlike --p2p it needs pmigd until the end",
                "flow",
                "set",
                "direct",
                excludes="flow",
            ),
            Option(
                ("--tunnelled", "--tunneled"),
                "send the guest through libvirt's own connection instead of a second one: slower,"
                " but needs no other port",
                "transport",
                "set",
                "tunnelled",
            ),
            Option(
                ("--parallel",),
                "copy memory over several connections at once, where one cannot fill the wire: 2,"
                " as QEMU does by itself, unless --parallel-connections says otherwise",
                "parallel_connections",
                "set",
                2,
            ),
            Option(
                ("--parallel-connections",),
                "over this many connections; each costs a core on both hosts while it is busy",
                "parallel_connections",
                "number",
                metavar="N",
            ),
            Option(
                ("--zerocopy",),
                "let the network card read the guest's memory in place, which saves the source's"
                " processor; needs --parallel",
                "zerocopy",
                "set",
            ),
            Option(
                ("--rdma-pin-all",),
                "pin all of the guest's memory before it starts instead of bit by bit; only where"
                " --migrateuri is rdma://",
                "rdma_pin_all",
                "set",
            ),
        ),
    ),
    (
        Group(
            "the guest at its destination",
            "without these its definition follows the guest: a persistent one arrives persistent\n"
            "and leaves nothing behind, a transient one stays transient. One that starts with its\n"
            "host (virsh autostart) is to start with the new one.",
        ),
        (
            Option(
                ("--persistent",),
                "keep (or do not keep) the guest defined on the destination",
                "persistent",
                "yes-no",
            ),
            Option(
                ("--undefinesource",),
                "remove (or leave) its definition on the source after success",
                "undefinesource",
                "yes-no",
            ),
            Option(
                ("--autostart",),
                "let it start (or not start) with the destination's host, and not with this one any"
                " more",
                "autostart",
                "yes-no",
                excludes="autostart",
            ),
            Option(
                ("--leave-autostart",),
                "do not touch that, as virsh: it starts with no host any more, or with this one"
                " although it has left",
                "autostart",
                "set",
                "leave",
                excludes="autostart",
            ),
            Option(
                ("--suspend",),
                "leave it paused there; go on with virsh resume",
                "suspend",
                "set",
            ),
            Option(
                ("--dname",),
                "give it this name at the destination",
                "dname",
                "text",
                metavar="NAME",
            ),
            Option(
                ("--xml",),
                "run it there by the definition in this file: only what the guest cannot see may"
                " differ, as the paths of its disks; begin with virsh dumpxml --migratable",
                "xml",
                "file",
                metavar="FILE",
            ),
            Option(
                ("--persistent-xml",),
                "keep it defined there by this file, in force from its next start",
                "persistent_xml",
                "file",
                metavar="FILE",
            ),
        ),
    ),
    (
        Group(
            "its disks",
            "on shared storage there is nothing to copy. Otherwise disks of the same size must be\n"
            "there before.",
        ),
        (
            Option(
                ("--copy-storage-all",),
                "copy its disks that are not shared, whole",
                "copy_storage",
                "set",
                "all",
                excludes="copy_storage",
            ),
            Option(
                ("--copy-storage-inc",),
                "copy only what lies above the backing file, which both hosts have",
                "copy_storage",
                "set",
                "inc",
                excludes="copy_storage",
            ),
            Option(
                ("--copy-storage-synchronous-writes",),
                "let each write of the guest wait for both hosts: slower disks, but a busy one gets"
                " copied in the end",
                "copy_storage_synchronous_writes",
                "set",
            ),
            Option(
                ("--migrate-disks",),
                "copy these disks only, by target: vda,vdb",
                "migrate_disks",
                "names",
                metavar="DISK[,DISK...]",
            ),
            Option(
                ("--migrate-disks-detect-zeroes",),
                "do not send the empty parts of these, which keeps them thin; needs libvirt 10.9",
                "migrate_disks_detect_zeroes",
                "names",
                metavar="DISK[,DISK...]",
            ),
            Option(
                ("--migrate-disks-target-zero",),
                "do not zero the images of these first, for they are new and empty at the"
                " destination: where they are not, the copy is damaged; needs libvirt 12.2",
                "migrate_disks_target_zero",
                "names",
                metavar="DISK[,DISK...]",
            ),
            Option(
                ("--disks-port",),
                "the destination's port for disks, where a firewall lets only some through",
                "disks_port",
                "number",
                metavar="PORT",
            ),
            Option(
                ("--disks-uri",),
                "the whole address for disks instead: tcp://ADDRESS:PORT or unix:///PATH",
                "disks_uri",
                "text",
                metavar="URI",
            ),
        ),
    ),
    (
        Group(
            "a guest that is busy",
            "one that writes faster than the wire carries never finishes by itself: allow a\n"
            "longer pause, slow it down, or switch over first and send the rest later.",
        ),
        (
            Option(
                ("--max-downtime",),
                "allow the last pause to take this many milliseconds (QEMU: 300); longer lets a"
                " busier guest finish",
                "max_downtime_ms",
                "number",
                metavar="MS",
            ),
            Option(
                ("--auto-converge",),
                "take processor time from the guest, step by step, until it can be caught up with",
                "auto_converge",
                "set",
                {},
            ),
            Option(
                ("--auto-converge-initial",),
                "the first step, in percent (QEMU: 20)",
                "auto_converge.initial",
                "number",
                metavar="PERCENT",
            ),
            Option(
                ("--auto-converge-increment",),
                "every further step, in percent (QEMU: 10)",
                "auto_converge.increment",
                "number",
                metavar="PERCENT",
            ),
            Option(
                ("--postcopy",),
                "allow to run it at the destination before all of its memory is there: always"
                " finishes, but a broken network then stops the guest. Begin it with pmigctl"
                " postcopy or a timeout",
                "postcopy",
                "set",
                "allowed",
            ),
            Option(
                ("--postcopy-after-precopy",),
                "switch over by itself once all memory was sent one time",
                "postcopy",
                "set",
                "after_precopy",
            ),
            Option(
                ("--recover-attempts",),
                "how often a post-copy whose stream broke is gone on with by itself, once the"
                " destination answers again; 0 leaves it to pmigctl recover",
                "recover_attempts",
                "number",
                metavar="N",
            ),
            Option(
                ("--timeout",),
                "after S seconds do what --on-timeout says. Note: virsh suspends the guest by"
                " default; pmigd does so only when asked, and aborts unless configured otherwise",
                "timeout_s",
                "number",
                metavar="S",
            ),
            Option(
                ("--timeout-suspend",),
                "at the timeout pause the guest so that the copy can finish (--on-timeout suspend)",
                "on_timeout",
                "set",
                "suspend",
                excludes="on_timeout",
            ),
            Option(
                ("--timeout-postcopy",),
                "at the timeout switch over to post-copy, which --postcopy has to allow"
                " (--on-timeout postcopy)",
                "on_timeout",
                "set",
                "postcopy",
                excludes="on_timeout",
            ),
            Option(
                ("--on-timeout",),
                "abort: the guest stays here; suspend: it is paused until it has moved; postcopy:"
                " it runs there at once; continue: only say so",
                "on_timeout",
                "choice",
                choices=("abort", "suspend", "postcopy", "continue"),
                excludes="on_timeout",
            ),
        ),
    ),
    (
        Group("how much of the network", "0 is as much as there is."),
        (
            Option(
                ("--bandwidth",),
                "use at most this much of the network, in MiB/s; pmigctl set changes it on the way",
                "bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
            Option(
                ("--postcopy-bandwidth",),
                "and at most this much once the guest was switched over by post-copy",
                "postcopy_bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
            Option(
                ("--available-switchover-bandwidth",),
                "what QEMU shall take the network to carry when it judges how long the last pause"
                " would be; limits nothing; needs libvirt 11.1",
                "available_switchover_bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
        ),
    ),
    (
        Group(
            "compression",
            "pays where the wire is slower than the processors. Any of these switches it on.",
        ),
        (
            Option(
                ("--compressed",),
                "send memory compressed, by QEMU's own choice (xbzrle) unless --comp-methods names"
                " others",
                "compression",
                "set",
                {},
            ),
            Option(
                ("--comp-methods",),
                "by these: xbzrle sends only what changed within a page, mt packs pages on several"
                " processors; with --parallel one of zlib, zstd (libvirt 9.4)",
                "compression.methods",
                "names",
                metavar="METHOD[,METHOD...]",
            ),
            Option(
                ("--comp-mt-level",),
                "mt: 0 none, 1 fastest, 9 smallest",
                "compression.mt_level",
                "number",
                metavar="0-9",
            ),
            Option(
                ("--comp-mt-threads",),
                "mt: this many threads that pack, on the source",
                "compression.mt_threads",
                "number",
                metavar="N",
            ),
            Option(
                ("--comp-mt-dthreads",),
                "mt: this many threads that unpack, on the destination",
                "compression.mt_dthreads",
                "number",
                metavar="N",
            ),
            Option(
                ("--comp-xbzrle-cache",),
                "xbzrle: memory of the source to remember sent pages in; worth the size of what the"
                " guest writes again and again",
                "compression.xbzrle_cache_bytes",
                "number",
                metavar="BYTES",
            ),
            Option(
                ("--comp-zlib-level",),
                "zlib: 0 none, 1 fastest, 9 smallest",
                "compression.zlib_level",
                "number",
                metavar="0-9",
            ),
            Option(
                ("--comp-zstd-level",),
                "zstd: 0 its default, 1 fastest, 20 smallest",
                "compression.zstd_level",
                "number",
                metavar="0-20",
            ),
        ),
    ),
    (
        Group(
            "addresses and encryption",
            "the peer's configuration says them. Addresses are for administrators only.",
        ),
        (
            Option(
                ("--migrateuri",),
                "where memory is sent: tcp://ADDRESS[:PORT], rdma://ADDRESS or unix:///PATH, as"
                " for a network of its own",
                "migrate_uri",
                "text",
                metavar="URI",
            ),
            Option(
                ("--graphicsuri",),
                "where viewers are sent to when it has moved: spice://ADDRESS:PORT",
                "graphics_uri",
                "text",
                metavar="URI",
            ),
            Option(
                ("--listen-address",),
                "the one address at which the destination listens for memory",
                "listen_address",
                "text",
                metavar="ADDRESS",
            ),
            Option(
                ("--tls",),
                "encrypt (or do not encrypt) memory and disks on the wire, by the certificates that"
                " QEMU has on both hosts",
                "tls",
                "yes-no",
            ),
            Option(
                ("--tls-destination",),
                "the name in the destination's certificate, where it is not the host's own",
                "tls_destination",
                "text",
                metavar="NAME",
            ),
        ),
    ),
    (
        Group("its turn", "it waits while either host does as much as its limits allow."),
        (
            Option(
                ("--priority",),
                "the highest of those that wait goes first, 50 where nothing is said; a point is"
                " worth a minute of waiting, so that nobody waits for ever",
                "priority",
                "number",
                metavar="0-100",
            ),
        ),
    ),
    (
        Group("caution", "what to watch for, and what to overlook."),
        (
            Option(
                ("--abort-on-error",),
                "give up at an input/output error of a disk instead of taking the guest along as"
                " it is",
                "abort_on_error",
                "set",
            ),
            Option(
                ("--change-protection",),
                "let nobody change the guest until it is over; peer-to-peer always does",
                "change_protection",
                "set",
            ),
            Option(
                ("--unsafe",),
                "go although its disks may get damaged, as on storage that both hosts cache; for"
                " administrators only",
                "unsafe",
                "set",
            ),
            Option(
                ("--start-anyway",),
                "go although pmigd saw something missing, as what a hook of the destination makes;"
                " libvirt then decides. For administrators only",
                "start_anyway",
                "set",
            ),
        ),
    ),
)

_CLIENT: Final[tuple[Option, ...]] = (
    Option(("--detach",), "print the migration's ID and do not wait", None, "set"),
    Option(
        ("--verbose",),
        "show progress; in a pipe, a line for every sample instead of one now and then",
        None,
        "set",
    ),
    Option(
        ("--idempotency-key",),
        "a name of your own for this request: repeating it returns the first migration"
        " instead of starting another",
        None,
        "text",
        metavar="KEY",
    ),
)

MIGRATE: Final[Table] = (
    *_REQUEST,
    (
        Group(
            "this client",
            "the migration belongs to pmigd: whatever becomes of pmigctl, it goes on.",
        ),
        _CLIENT,
    ),
)

CHECK: Final[Table] = (
    *_REQUEST,
    (
        Group(
            "without effect here",
            "accepted so that any migrate can be checked by changing that one word.",
        ),
        _CLIENT,
    ),
)

SET: Final[Table] = (
    (
        Group("what to change", "at least one; the others stay as they are."),
        (
            Option(
                ("--max-downtime",),
                "allow the last pause to take this many milliseconds; longer lets a busier guest"
                " finish",
                "max_downtime_ms",
                "number",
                metavar="MS",
            ),
            Option(
                ("--bandwidth",),
                "use at most this much of the network, in MiB/s; 0 is as much as there is",
                "bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
            Option(
                ("--postcopy-bandwidth",),
                "and at most this much once the guest was switched over by post-copy",
                "postcopy_bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
            Option(
                ("--compression-cache",),
                "xbzrle: memory of the source to remember sent pages in",
                "compression_cache_bytes",
                "number",
                metavar="BYTES",
            ),
            Option(
                ("--timeout",),
                "do what --on-timeout said when it has run for S seconds in all; 0 is never",
                "timeout_s",
                "number",
                metavar="S",
            ),
            Option(
                ("--priority",),
                "its turn while it waits: the highest goes first, a point is worth a minute",
                "priority",
                "number",
                metavar="0-100",
            ),
        ),
    ),
)

FILE_MAX_BYTES: Final = 1024**2
"""The daemon takes no larger request."""


def add(parser: argparse.ArgumentParser, table: Table) -> None:
    """Give ``parser`` a table's options. What is not given leaves no trace in the namespace."""
    for group, options in table:
        heading = parser.add_argument_group(group.title, group.teaches)
        exclusive: dict[str, argparse._MutuallyExclusiveGroup] = {}
        for option in options:
            target: argparse._ActionsContainer = heading
            if option.excludes is not None:
                if option.excludes not in exclusive:
                    exclusive[option.excludes] = heading.add_mutually_exclusive_group()
                target = exclusive[option.excludes]
            target.add_argument(*option.flags, **_argument(option))


def add_route(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the guest and where to."""
    parser.add_argument("domain", metavar="DOMAIN", help="the guest, by name or UUID")
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="a peer's name (see pmigctl peers), or a libvirt URI that the configuration allows",
    )


def body(args: argparse.Namespace, table: Table) -> JsonObject:
    """A whole request: the guest, where to, and the fields that were given."""
    return {
        "domain": args.domain,
        "destination": args.destination,
        **fields(args, table),
    }


def fields(args: argparse.Namespace, table: Table) -> JsonObject:
    """The request fields that were given; the daemon's defaults apply to the others."""
    given = vars(args)
    found: JsonObject = {}
    for option in _rows(table):
        if option.field is None or _dest(option) not in given:
            continue
        outer, _, inner = option.field.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = given[_dest(option)]
        elif option.value == {}:
            found.setdefault(outer, {})
        else:
            found[outer] = given[_dest(option)]
    return found


def flags_of(field: str, table: Table) -> list[str]:
    """The options that fill a request field, or something in it."""
    return [
        option.flags[0]
        for option in _rows(table)
        if option.field is not None and f"{option.field}.".startswith(f"{field}.")
    ]


def _rows(table: Table) -> list[Option]:
    return [option for _, options in table for option in options]


def _dest(option: Option) -> str:
    name = option.flags[0].removeprefix("--")
    # What the client does is read by its name; request fields must not get in the way of it.
    return name.replace("-", "_") if option.field is None else f"request.{name}"


def _argument(option: Option) -> dict[str, Any]:
    common: dict[str, Any] = {
        "help": option.help,
        "default": argparse.SUPPRESS,
        "dest": _dest(option),
    }
    match option.kind:
        case "set":
            return {**common, "action": "store_const", "const": option.value}
        case "yes-no":
            return {**common, "action": argparse.BooleanOptionalAction}
        case "number":
            return {**common, "type": _number, "metavar": option.metavar}
        case "names":
            return {**common, "type": _names, "metavar": option.metavar}
        case "file":
            return {**common, "type": _text_of, "metavar": option.metavar}
        case "text":
            return {**common, "metavar": option.metavar}
        case "choice":
            return {**common, "choices": option.choices}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name between its commas")
    return names


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs time at every start
            content = file.read(FILE_MAX_BYTES + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{path} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"cannot read {path}: {reason}") from None
    if len(content) > FILE_MAX_BYTES:
        raise argparse.ArgumentTypeError(f"{path} is larger than 1 MiB")
    return text
