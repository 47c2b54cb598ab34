"""What a client may ask for, and how it becomes a :class:`pmigd.core.model.Request`.

Unknown fields are refused. Fields of the contract that this release does not act on are refused
too, as not supported, unless they have the value that means "nothing special": a client that always
sends all fields is served as long as it asks for nothing that is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from pmigd.core.asked import fingerprint
from pmigd.core.model import (
    AutoConverge,
    Compression,
    CopyStorage,
    Flow,
    OnTimeout,
    Postcopy,
    Request,
    Transport,
)
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.schema.validate import validate

T = TypeVar("T", bound=msgspec.Struct)

# Patterns end in (?![\s\S]): unlike '$' it does not let a last newline through, in any dialect.

BODY_LIMIT_BYTES: Final = 1024 * 1024
PRIORITY: Final = 50
"""Of a request that gives none."""
MAX_BANDWIDTH_MIB_S: Final = 8_796_093_022_207
"""libvirt's own limit, (2^63 - 1) bytes in MiB."""

_Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f-\x9f/]+(?![\s\S])",
        extra={"accepted": "a name or UUID without control characters or '/'"},
    ),
]
_Destination = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        pattern=r"^[\x21-\x7e]+(?![\s\S])",
        extra={"accepted": "the name of a peer, or a URI that the configuration allows"},
    ),
]


_Disk = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(?![\s\S])", extra={"accepted": "a disk's target, as vda"}),
]
_Uri = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        pattern=r"^[\x21-\x7e]+(?![\s\S])",
        extra={"accepted": "printable ASCII without blanks"},
    ),
]
_Xml = Annotated[str, Meta(min_length=1, max_length=BODY_LIMIT_BYTES)]
_Bandwidth = Annotated[int, Meta(ge=0, le=MAX_BANDWIDTH_MIB_S)]
_Threads = Annotated[int, Meta(ge=1, le=255)] | None
_Percent = Annotated[int, Meta(ge=1, le=99)] | None


class CompressionRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """How memory is compressed; without a method libvirt's default, xbzrle, is used."""

    methods: Annotated[
        tuple[Literal["mt", "xbzrle", "zlib", "zstd"], ...],
        Meta(max_length=4, description="Compression methods."),
    ] = ()
    mt_level: Annotated[int, Meta(ge=0, le=9)] | None = None
    mt_threads: _Threads = None
    mt_dthreads: _Threads = None
    xbzrle_cache_bytes: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    zlib_level: Annotated[int, Meta(ge=0, le=9)] | None = None
    zstd_level: Annotated[int, Meta(ge=0, le=20)] | None = None


class AutoConvergeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """How a guest is throttled, in percent."""

    initial: _Percent = None
    increment: _Percent = None


class MigrationRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of ``POST /v1/migrations``.

    ``persistent``, ``undefinesource`` and ``autostart`` null follow the guest. ``timeout_s`` and
    ``on_timeout`` null, and ``transport`` null, mean the configured default; 0 seconds is no time
    limit.
    """

    domain: Annotated[_Name, Meta(description="Name or UUID of a domain of this host.")]
    destination: Annotated[
        _Destination, Meta(description="A configured peer's name, or a URI that is allowed.")
    ]
    transport: Annotated[
        Literal["native", "tunnelled"] | None,
        Meta(description="How memory travels; null is the configured default."),
    ] = None
    flow: Annotated[
        Literal["p2p", "direct"],
        Meta(description="Who is in control: the two libvirt daemons, or pmigd between them."),
    ] = "p2p"
    live: Annotated[
        bool, Meta(description="Keep the guest running while its memory is copied.")
    ] = True
    persistent: Annotated[
        bool | None,
        Meta(description="Define the domain at the destination; null follows the guest."),
    ] = None
    undefinesource: Annotated[
        bool | None,
        Meta(description="Remove the definition here; null follows the guest."),
    ] = None
    autostart: Annotated[
        bool | Literal["leave"] | None,
        Meta(
            description="Whether the guest is to start with the destination's host, and not with"
            ' this one any more; null: if it starts with this one; "leave": libvirt\'s way, which'
            " leaves the flag of this host as it is and carries none.",
            extra={"accepted": 'true, false or "leave", or null'},
        ),
    ] = None
    suspend: Annotated[bool, Meta(description="Leave the guest paused at the destination.")] = False
    offline: Annotated[
        bool, Meta(description="Move only the definition; the guest stays as it is.")
    ] = False
    unsafe: Annotated[
        bool, Meta(description="Skip libvirt's check of the disks' safety. Administrators only.")
    ] = False
    start_anyway: Annotated[
        bool,
        Meta(
            description="What pmigd itself looked at and found wanting warns and does not block;"
            " what libvirt said still does. Administrators only."
        ),
    ] = False
    abort_on_error: Annotated[
        bool, Meta(description="Give up when the guest's disks report an error meanwhile.")
    ] = False
    change_protection: Annotated[
        bool, Meta(description="No changes to the domain meanwhile; always so with p2p.")
    ] = False
    copy_storage: Annotated[
        Literal["none", "all", "inc"],
        Meta(description="Copy disks that are not shared: whole, or above a shared backing image."),
    ] = "none"
    copy_storage_synchronous_writes: Annotated[
        bool, Meta(description="Write to the copy at the same time, so that the copying ends.")
    ] = False
    migrate_disks: Annotated[
        tuple[_Disk, ...], Meta(max_length=256, description="Only these disks; [] is all.")
    ] = ()
    migrate_disks_detect_zeroes: Annotated[
        tuple[_Disk, ...], Meta(max_length=256, description="Skip zeroes of these disks.")
    ] = ()
    migrate_disks_target_zero: Annotated[
        tuple[_Disk, ...],
        Meta(
            max_length=256,
            description="The images of these disks, made beforehand, read as zeroes throughout:"
            " they are not zeroed first. Where that is wrong, the copy is damaged.",
        ),
    ] = ()
    disks_port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Port for disks at the destination."),
    ] = None
    disks_uri: Annotated[
        _Uri | None, Meta(description="tcp://host:port or unix:///path. Administrators only.")
    ] = None
    migrate_uri: Annotated[
        _Uri | None,
        Meta(description="tcp://host[:port], rdma://host or unix:///path. Administrators only."),
    ] = None
    graphics_uri: Annotated[
        _Uri | None, Meta(description="spice://host:port for clients. Administrators only.")
    ] = None
    listen_address: Annotated[
        _Uri | None, Meta(description="Where the destination listens. Administrators only.")
    ] = None
    tls: Annotated[
        bool | None,
        Meta(
            description="Encrypt memory and disks between the QEMUs;"
            " null is the configured default."
        ),
    ] = None
    tls_destination: Annotated[
        _Uri | None,
        Meta(description="The name in the destination's certificate. Administrators only."),
    ] = None
    dname: Annotated[_Name | None, Meta(description="New name at the destination.")] = None
    xml: Annotated[_Xml | None, Meta(description="Live XML. Administrators only.")] = None
    persistent_xml: Annotated[
        _Xml | None, Meta(description="Persistent XML. Administrators only.")
    ] = None
    bandwidth_mib_s: Annotated[
        _Bandwidth | None,
        Meta(description="Upper limit of the transfer in MiB/s; null or 0 is unlimited."),
    ] = None
    postcopy_bandwidth_mib_s: Annotated[
        _Bandwidth | None, Meta(description="The same in post-copy.")
    ] = None
    available_switchover_bandwidth_mib_s: Annotated[
        _Bandwidth | None,
        Meta(description="What QEMU assumes for the switch-over in MiB/s; it limits nothing."),
    ] = None
    parallel_connections: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None,
        Meta(description="Streams for memory; null or 0 is one stream."),
    ] = None
    compression: Annotated[CompressionRequest | None, Meta(description="Compress memory.")] = None
    auto_converge: Annotated[
        AutoConvergeRequest | None, Meta(description="Throttle a guest that writes too fast.")
    ] = None
    postcopy: Annotated[
        Literal["never", "allowed", "after_precopy"],
        Meta(description="Whether the guest may move before all of its memory did."),
    ] = "never"
    rdma_pin_all: Annotated[bool, Meta(description="Pin all memory for RDMA.")] = False
    zerocopy: Annotated[bool, Meta(description="Send memory without copying it first.")] = False
    max_downtime_ms: Annotated[
        Annotated[int, Meta(ge=1, le=2_000_000)] | None,
        Meta(description="The pause that QEMU aims to stay under; null is QEMU's default."),
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(ge=0, le=2_592_000)] | None,
        Meta(description="Seconds it may run before on_timeout is applied; 0 is no limit."),
    ] = None
    on_timeout: Annotated[
        Literal["abort", "suspend", "postcopy", "continue"] | None,
        Meta(description="What then happens; null is the configured default."),
    ] = None
    recover_attempts: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(
            description="How often a broken post-copy is gone on with by itself;"
            " null is the configured default."
        ),
    ] = None
    priority: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(
            description="Who waits starts by priority and age; a point is worth one minute."
            " null is 50."
        ),
    ] = None


class ResolveRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of ``POST /v1/migrations/{id}/resolve``: how an operator closes an unresolved one."""

    verdict: Annotated[
        Literal["succeeded", "failed"],
        Meta(description="What the operator found out by looking at both hosts."),
    ] = msgspec.field(name="as")


class SettingsRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of ``PATCH /v1/migrations/{id}``: what is to be changed; null and absent are left."""

    max_downtime_ms: Annotated[int, Meta(ge=1, le=2_000_000)] | None = None
    bandwidth_mib_s: _Bandwidth | None = None
    postcopy_bandwidth_mib_s: _Bandwidth | None = None
    compression_cache_bytes: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    timeout_s: Annotated[float, Meta(ge=0, le=2_592_000)] | None = None
    priority: Annotated[int, Meta(ge=0, le=100)] | None = None


class NoBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of an action that has nothing to say; it may be left out."""


LATER_FIELDS: Final[dict[str, tuple[Any, ...]]] = {
    "policy": (),
}
"""Fields of later releases, each with the values besides null that ask for nothing."""


_CONVERTED: Final = frozenset(
    {
        "transport",
        "flow",
        "copy_storage",
        "postcopy",
        "tls",
        "compression",
        "auto_converge",
        "bandwidth_mib_s",
        "postcopy_bandwidth_mib_s",
        "available_switchover_bandwidth_mib_s",
        "parallel_connections",
        "timeout_s",
        "on_timeout",
        "recover_attempts",
        "priority",
    }
)
"""Fields that differ between the wire and the core: null there is a value here, text an enum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the configuration says where a request says nothing."""

    transport: str = "native"
    tls: bool = False
    timeout_s: float = 0
    on_timeout: str = "abort"
    recover_attempts: int = 0


def parse_request(untrusted_body: object, defaults: Defaults) -> Request:
    """The validated request.

    Raises Refused with ``not_supported`` for what later releases bring, or with
    ``invalid_request`` and every wrong field.
    """
    if isinstance(untrusted_body, dict):
        untrusted_body = _without_later_fields(untrusted_body)
    wanted = parse(MigrationRequest, untrusted_body)
    compression = wanted.compression
    converge = wanted.auto_converge
    transport = Transport(wanted.transport or defaults.transport)
    same = {
        name: getattr(wanted, name)
        for name in Request.__dataclass_fields__
        if name not in _CONVERTED
    }
    return Request(
        **same,
        transport=transport,
        flow=Flow(wanted.flow),
        copy_storage=CopyStorage(wanted.copy_storage),
        postcopy=Postcopy(wanted.postcopy),
        # Where memory is tunnelled, or none is sent, TLS between the QEMUs has no meaning.
        tls=(
            defaults.tls and transport is Transport.NATIVE and not wanted.offline
            if wanted.tls is None
            else wanted.tls
        ),
        compression=Compression(**msgspec.structs.asdict(compression)) if compression else None,
        auto_converge=AutoConverge(**msgspec.structs.asdict(converge)) if converge else None,
        bandwidth_mib_s=wanted.bandwidth_mib_s or 0,
        postcopy_bandwidth_mib_s=wanted.postcopy_bandwidth_mib_s or 0,
        available_switchover_bandwidth_mib_s=wanted.available_switchover_bandwidth_mib_s or 0,
        parallel_connections=wanted.parallel_connections or 0,
        timeout_s=defaults.timeout_s if wanted.timeout_s is None else wanted.timeout_s,
        on_timeout=_on_timeout(wanted, defaults),
        recover_attempts=(
            defaults.recover_attempts
            if wanted.recover_attempts is None
            else wanted.recover_attempts
        ),
        priority=PRIORITY if wanted.priority is None else wanted.priority,
    )


def _on_timeout(wanted: MigrationRequest, defaults: Defaults) -> OnTimeout:
    """What is configured is for the requests that it can help; the others are aborted."""
    if wanted.on_timeout is not None:
        return OnTimeout(wanted.on_timeout)
    configured = OnTimeout(defaults.on_timeout)
    no_postcopy = configured is OnTimeout.POSTCOPY and wanted.postcopy == "never"
    nothing_runs = wanted.offline and configured in (OnTimeout.SUSPEND, OnTimeout.POSTCOPY)
    return OnTimeout.ABORT if no_postcopy or nothing_runs else configured


def asked(untrusted_body: object) -> str:
    """The same for every repeat of a request, whatever is configured. Raises as `parse_request`."""
    return fingerprint(parse_request(untrusted_body, Defaults()))


def parse(struct_type: type[T], untrusted: object) -> T:
    """`untrusted` as a `struct_type`. Raises Refused with every wrong field."""
    try:
        value, faults = validate(struct_type, untrusted, is_json=True)
    except RecursionError:
        raise refuse(Code.INVALID_REQUEST, "The body is nested too deeply.") from None
    if value is None:
        errors = tuple(FieldError(fault.field, fault.message) for fault in faults)
        detail = "; ".join(f"{error.field or 'the body'} {error.message}" for error in errors[:5])
        raise refuse(Code.INVALID_REQUEST, detail, errors)
    return value


def _without_later_fields(body: dict[Any, Any]) -> dict[Any, Any]:
    later = [
        name
        for name, nothing in LATER_FIELDS.items()
        if body.get(name) is not None and not _is_one_of(body[name], nothing)
    ]
    if later:
        errors = tuple(FieldError(name, "is not supported by this release") for name in later)
        raise refuse(Code.NOT_SUPPORTED, f"Not supported yet: {', '.join(later)}.", errors)
    return {name: value for name, value in body.items() if name not in LATER_FIELDS}


def _is_one_of(value: object, accepted: tuple[Any, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in accepted)
