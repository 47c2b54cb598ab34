"""What a client may ask for, and how it becomes a :class:`pmigd.core.model.Request`.

Unknown fields are refused. Fields of the contract that this release does not act on are refused
too, as not supported, unless they have the value that means "nothing special": a client that always
sends all fields is served as long as it asks for nothing that is missing here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from pmigd.core.model import OnTimeout, Request, Transport
from pmigd.core.problem import Code, FieldError, refuse
from pmigd.schema.validate import validate

T = TypeVar("T", bound=msgspec.Struct)

# Patterns end in (?![\s\S]): unlike '$' it does not let a last newline through, in any dialect.

BODY_LIMIT_BYTES: Final = 1024 * 1024
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


class MigrationRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of ``POST /v1/migrations``.

    ``persistent`` and ``undefinesource`` null follow the guest. ``timeout_s`` and ``on_timeout``
    null, and ``transport`` null, mean the configured default; 0 seconds is no time limit.
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
        Literal["p2p"],
        Meta(description="Who is in control: the two libvirt daemons, peer to peer."),
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
    bandwidth_mib_s: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_BANDWIDTH_MIB_S)] | None,
        Meta(description="Upper limit of the transfer in MiB/s; null or 0 is unlimited."),
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(ge=0, le=2_592_000)] | None,
        Meta(description="Seconds it may run before on_timeout is applied; 0 is no limit."),
    ] = None
    on_timeout: Annotated[
        Literal["abort", "suspend", "continue"] | None,
        Meta(description="What then happens; null is the configured default."),
    ] = None


class ResolveRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of ``POST /v1/migrations/{id}/resolve``: how an operator closes an unresolved one."""

    verdict: Annotated[
        Literal["succeeded", "failed"],
        Meta(description="What the operator found out by looking at both hosts."),
    ] = msgspec.field(name="as")


class NoBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Body of an action that has nothing to say; it may be left out."""


LATER_FIELDS: Final[dict[str, tuple[Any, ...]]] = {
    "offline": (False,),
    "suspend": (False,),
    "unsafe": (False,),
    "abort_on_error": (False,),
    "change_protection": (False,),
    "copy_storage": ("none",),
    "copy_storage_synchronous_writes": (False,),
    "migrate_disks": ([],),
    "migrate_disks_detect_zeroes": ([],),
    "disks_port": (),
    "disks_uri": (),
    "migrate_uri": (),
    "graphics_uri": (),
    "listen_address": (),
    "tls": (False,),
    "tls_destination": (),
    "dname": (),
    "xml": (),
    "persistent_xml": (),
    "postcopy_bandwidth_mib_s": (0,),
    "available_switchover_bandwidth_mib_s": (0,),
    "parallel_connections": (0,),
    "compression": (),
    "auto_converge": (),
    "postcopy": ("never",),
    "rdma_pin_all": (False,),
    "zerocopy": (False,),
    "policy": (),
    "max_downtime_ms": (),
    "priority": (),
}
"""Fields of later releases, each with the values besides null that ask for nothing."""
_LATER_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "flow": ("direct",),
    "on_timeout": ("postcopy",),
}
"""Values of present fields that later releases bring."""


def parse_request(
    untrusted_body: object, *, transport: str, timeout_s: float, on_timeout: str
) -> Request:
    """The validated request; the keyword arguments are the configured defaults.

    Raises Refused with ``not_supported`` for what later releases bring, or with
    ``invalid_request`` and every wrong field.
    """
    if isinstance(untrusted_body, dict):
        untrusted_body = _without_later_fields(untrusted_body)
    wanted = parse(MigrationRequest, untrusted_body)
    return Request(
        domain=wanted.domain,
        destination=wanted.destination,
        transport=Transport(wanted.transport or transport),
        live=wanted.live,
        persistent=wanted.persistent,
        undefinesource=wanted.undefinesource,
        bandwidth_mib_s=wanted.bandwidth_mib_s or 0,
        timeout_s=timeout_s if wanted.timeout_s is None else wanted.timeout_s,
        on_timeout=OnTimeout(wanted.on_timeout or on_timeout),
    )


def parse(struct_type: type[T], untrusted: object) -> T:
    """`untrusted` as a `struct_type`. Raises Refused with every wrong field."""
    value, faults = validate(struct_type, untrusted)
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
    later += [name for name, values in _LATER_VALUES.items() if body.get(name) in values]
    if later:
        errors = tuple(FieldError(name, "is not supported by this release") for name in later)
        raise refuse(Code.NOT_SUPPORTED, f"Not supported yet: {', '.join(later)}.", errors)
    return {name: value for name, value in body.items() if name not in LATER_FIELDS}


def _is_one_of(value: object, accepted: tuple[Any, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in accepted)
