"""The closed set of things that go wrong, told apart by what the reader must do.

Every error that leaves pmigd, on the socket, in a migration, in a log line or as a metric label,
is one of these codes. A code says whose fault it is, whether trying again can help, the HTTP
status, and one sentence of remedy. Free text (libvirt's own words included) only ever goes into
``detail``; nothing may decide anything by reading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Who has to act."""

    CALLER = "caller"  # the request is wrong, or not allowed
    SOURCE = "source"  # this host, its libvirt or its guest
    DESTINATION = "destination"  # the peer, or the way to it
    PMIGD = "pmigd"  # pmigd itself, or the machine under it
    NOBODY = "nobody"  # somebody asked for it: not an error


class Reason(StrEnum):
    """The closed label set of ``pmigd_migration_failures_total``."""

    CONNECT = "connect"
    AUTH = "auth"
    PEER_LIMIT = "peer_limit"
    LOCAL_LIMIT = "local_limit"
    PRECHECK = "precheck"
    PREPARE = "prepare"
    PERFORM = "perform"
    FINISH = "finish"
    CONFIRM = "confirm"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    STORAGE = "storage"
    LIBVIRT_LOST = "libvirt_lost"
    PEER_LOST = "peer_lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed for one problem code.

    `retryable`: the same request, unchanged, may succeed later, and nobody has to do anything for
    it first. Not what people wanted, nor what is still open: there a retry is refused or harmful.
    """

    title: str
    fault: Fault
    status: int
    remedy: str
    reason: Reason = Reason.UNKNOWN
    retryable: bool = False


class Code(StrEnum):
    """Problem codes. A name here never changes its meaning."""

    # The request
    BAD_HTTP = "bad_http"
    BAD_JSON = "bad_json"
    INVALID_REQUEST = "invalid_request"
    NOT_SUPPORTED = "not_supported"
    CONFLICT = "conflict"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TOO_SLOW = "request_too_slow"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_BUSY = "too_busy"
    NOT_AUTHENTICATED = "not_authenticated"
    NOT_ADMITTED = "not_admitted"
    FORBIDDEN = "forbidden"
    UNKNOWN_MIGRATION = "unknown_migration"
    UNKNOWN_RESOURCE = "unknown_resource"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    WRONG_STATE = "wrong_state"
    QUEUE_FULL = "queue_full"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    DOMAIN_NOT_FOUND = "domain_not_found"
    DOMAIN_NOT_RUNNING = "domain_not_running"
    DOMAIN_BUSY = "domain_busy"
    UNKNOWN_PEER = "unknown_peer"
    URI_REFUSED = "uri_refused"
    SAME_HOST = "same_host"
    CHECK_FAILED = "check_failed"
    # Between two pmigd
    PEER_NOT_ALLOWED = "peer_not_allowed"
    PEER_FALSE_NAME = "peer_false_name"
    PEER_PROTOCOL = "peer_protocol"
    PEER_UNGREETED = "peer_ungreeted"
    # This daemon
    LIBVIRT_UNAVAILABLE = "libvirt_unavailable"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    SHUTTING_DOWN = "shutting_down"
    ACCOUNTS_UNAVAILABLE = "accounts_unavailable"
    INTERNAL = "internal"
    # The migration
    DESTINATION_UNREACHABLE = "destination_unreachable"
    DESTINATION_AUTH = "destination_auth"
    DESTINATION_HAS_DOMAIN = "destination_has_domain"
    PEER_UNAVAILABLE = "peer_unavailable"
    REFUSED_BY_DESTINATION = "refused_by_destination"
    SOURCE_AUTH = "source_auth"
    UNSAFE_STORAGE = "unsafe_storage"
    CPU_INCOMPATIBLE = "cpu_incompatible"
    REFUSED_BY_LIBVIRT = "refused_by_libvirt"
    UNSUPPORTED_BY_LIBVIRT = "unsupported_by_libvirt"
    JOB_LOCK_TIMEOUT = "job_lock_timeout"
    MIGRATION_FAILED = "migration_failed"
    CONNECTION_BROKE = "connection_broke"
    PORTS_SHUT = "ports_shut"
    SECRET_MISSING = "secret_missing"  # noqa: S105
    FILTER_MISSING = "filter_missing"
    NETWORK_MISSING = "network_missing"
    POOL_MISSING = "pool_missing"
    VOLUME_MISSING = "volume_missing"
    DEVICE_MISSING = "device_missing"
    FILE_MISSING = "file_missing"
    PORT_IN_USE = "port_in_use"
    CANCELLED = "cancelled"
    ABORTED_ELSEWHERE = "aborted_elsewhere"
    TIMEOUT = "timeout"
    GUEST_STOPPED = "guest_stopped"
    INTERRUPTED = "interrupted"
    POSTCOPY_FAILED = "postcopy_failed"
    POSTCOPY_LOST = "postcopy_lost"
    ANOTHER_RUN = "another_run"
    LEFTOVER_COPY = "leftover_copy"
    STANDSTILL = "standstill"
    RESOLVED_AS_FAILED = "resolved_as_failed"
    # Nobody knows yet
    DESTINATION_SILENT = "destination_silent"
    GUEST_NOT_FOUND = "guest_not_found"
    SOURCE_LEFT_PAUSED = "source_left_paused"
    TWO_COPIES = "two_copies"
    JOURNAL_ROW_UNREADABLE = "journal_row_unreadable"
    JOURNAL_CONFLICT = "journal_conflict"

    @property
    def kind(self) -> Kind:
        """Everything fixed about this code."""
        return KINDS[self]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of a request or of the configuration."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One occurrence: a code and what was special about it.

    ``detail`` is a sentence for people and may quote libvirt. ``errors`` lists every wrong field.
    """

    code: Code
    detail: str
    errors: tuple[FieldError, ...] = ()

    @property
    def title(self) -> str:
        """Short sentence, the same for every occurrence."""
        return self.code.kind.title

    @property
    def remedy(self) -> str:
        """What the reader can do about it."""
        return self.code.kind.remedy

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.code.kind.retryable


class Refused(Exception):  # noqa: N818 - reads as what happened: the request was refused
    """A request that is answered with a problem instead of being carried out."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refuse(code: Code, detail: str, errors: tuple[FieldError, ...] = ()) -> Refused:
    """The exception for `code`; the caller raises it."""
    return Refused(Problem(code, detail, errors))


_C, _S, _D, _P, _N = Fault.CALLER, Fault.SOURCE, Fault.DESTINATION, Fault.PMIGD, Fault.NOBODY

KINDS: dict[Code, Kind] = {
    Code.BAD_HTTP: Kind("This is not an HTTP request", _C, 400, "Speak HTTP/1.1; 'pmigctl' does."),
    Code.BAD_JSON: Kind("The body is not JSON", _C, 400, "Send one JSON object in UTF-8."),
    Code.INVALID_REQUEST: Kind(
        "The request is not valid",
        _C,
        422,
        "Correct the fields listed in 'errors'; the schema is at /v1/openapi.json.",
    ),
    Code.NOT_SUPPORTED: Kind(
        "This release does not support that",
        _C,
        422,
        "Leave the named options out, or use a release of pmigd that has them.",
        Reason.PRECHECK,
    ),
    Code.CONFLICT: Kind(
        "These options do not go together",
        _C,
        422,
        "'errors' says for each what to leave out or to add; 'pmigctl check' shows it beforehand.",
        Reason.PRECHECK,
    ),
    Code.BODY_TOO_LARGE: Kind("The body is too large", _C, 413, "Keep the request under 1 MiB."),
    Code.REQUEST_TOO_SLOW: Kind(
        "The body did not arrive in time",
        _C,
        408,
        "Send the whole request at once.",
        retryable=True,
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: Kind(
        "The body is of a kind that is not taken",
        _C,
        415,
        "Send application/json without Content-Encoding.",
    ),
    Code.TOO_BUSY: Kind(
        "pmigd has too much to do at the moment", _P, 503, "Try again soon.", retryable=True
    ),
    Code.NOT_AUTHENTICATED: Kind(
        "A user and the right password are needed",
        _C,
        401,
        "Give a user of basic_auth_users in the web configuration file, and the password.",
    ),
    Code.NOT_ADMITTED: Kind(
        "No name of the client's certificate is allowed",
        _C,
        403,
        "Add one of its names to client_allowed_sans in the web configuration file.",
    ),
    Code.FORBIDDEN: Kind(
        "Not allowed for this user",
        _C,
        403,
        "Ask an administrator for a role that may do this ([api.roles] in pmigd.toml).",
    ),
    Code.UNKNOWN_MIGRATION: Kind(
        "No such migration", _C, 404, "List the known ones with 'pmigctl list --all'."
    ),
    Code.UNKNOWN_RESOURCE: Kind(
        "No such resource", _C, 404, "The resources are listed at /v1/openapi.json."
    ),
    Code.METHOD_NOT_ALLOWED: Kind(
        "The resource does not have that method",
        _C,
        405,
        "The methods of each resource are listed at /v1/openapi.json.",
    ),
    Code.WRONG_STATE: Kind(
        "The migration is in a state where this makes no sense",
        _C,
        409,
        "Look at its state with 'pmigctl show ID'.",
    ),
    Code.QUEUE_FULL: Kind(
        "The queue is full",
        _C,
        429,
        "Try again when some have started, or raise limits.queue_max.",
        Reason.LOCAL_LIMIT,
        retryable=True,
    ),
    Code.IDEMPOTENCY_CONFLICT: Kind(
        "This idempotency key belongs to another request",
        _C,
        409,
        "Use a new key for a new request.",
    ),
    Code.DOMAIN_NOT_FOUND: Kind(
        "No such domain on this host",
        _C,
        422,
        "Look for it with 'virsh list --all'; it may have been migrated already.",
        Reason.PRECHECK,
    ),
    Code.DOMAIN_NOT_RUNNING: Kind(
        "The domain is not running",
        _C,
        422,
        "Start it first: this release migrates running domains only.",
        Reason.PRECHECK,
    ),
    Code.DOMAIN_BUSY: Kind(
        "The domain is already being migrated",
        _C,
        409,
        "Wait for that migration or abort it; 'pmigctl list' shows it.",
        Reason.PRECHECK,
        retryable=True,
    ),
    Code.UNKNOWN_PEER: Kind(
        "No such peer",
        _C,
        422,
        "Name a peer of [peers] in pmigd.toml; 'pmigctl peers' lists them.",
        Reason.PRECHECK,
    ),
    Code.URI_REFUSED: Kind(
        "This destination URI is not allowed",
        _C,
        422,
        "Name a configured peer, or have security.allow_uris cover the URI.",
        Reason.PRECHECK,
    ),
    Code.SAME_HOST: Kind(
        "The destination is this host",
        _C,
        422,
        "Name another host; check what the peer's host name resolves to here.",
        Reason.PRECHECK,
    ),
    Code.CHECK_FAILED: Kind(
        "The checks before the start found what keeps it from working",
        _C,
        422,
        "'errors' says for each what to do; 'pmigctl check' shows what is left.",
        Reason.PRECHECK,
    ),
    Code.PEER_NOT_ALLOWED: Kind(
        "This host is not one that may ask here",
        _C,
        403,
        "Where it is refused, add its certificate's name to peer.allowed_names, or it to [peers].",
        Reason.AUTH,
    ),
    Code.PEER_FALSE_NAME: Kind(
        "The certificate is not one of the host that the message names",
        _C,
        403,
        "Give daemon.name the host's name in its certificate, or the first part of that name.",
        Reason.AUTH,
    ),
    Code.PEER_PROTOCOL: Kind(
        "The pmigd of the two hosts do not understand each other",
        _D,
        502,
        "Upgrade the older of the two; 'detail' says what each of them speaks.",
        Reason.CONNECT,
    ),
    Code.PEER_UNGREETED: Kind(
        "The message is of a start of pmigd that another one has taken the place of",
        _D,
        409,
        "Nothing to do: pmigd greets and asks again. If it stays, two pmigd use one certificate.",
        Reason.CONNECT,
        retryable=True,
    ),
    Code.LIBVIRT_UNAVAILABLE: Kind(
        "The local libvirt daemon does not answer",
        _S,
        503,
        "Check it with 'systemctl status libvirtd virtqemud'; pmigd reconnects by itself.",
        Reason.LIBVIRT_LOST,
        retryable=True,
    ),
    Code.JOURNAL_UNAVAILABLE: Kind(
        "The journal cannot be read or written",
        _P,
        503,
        "Mount daemon.state_dir, free space in it or make it writable; running migrations go on.",
        Reason.STORAGE,
        retryable=True,
    ),
    Code.SHUTTING_DOWN: Kind(
        "pmigd is stopping", _P, 503, "Try again when it has been started again.", retryable=True
    ),
    Code.ACCOUNTS_UNAVAILABLE: Kind(
        "The user database does not answer",
        _P,
        503,
        "Check with 'getent passwd' on this host; root is served from memory soon after.",
        retryable=True,
    ),
    Code.INTERNAL: Kind(
        "pmigd made a mistake",
        _P,
        500,
        "Report it with the log lines that carry this request's id.",
    ),
    Code.DESTINATION_UNREACHABLE: Kind(
        "The destination's libvirt daemon cannot be reached",
        _D,
        502,
        "From this host try 'virsh -c URI version'; check network, firewall and the peer's uri.",
        Reason.CONNECT,
        retryable=True,
    ),
    Code.DESTINATION_AUTH: Kind(
        "The destination does not accept this host",
        _D,
        502,
        "Check certificates, ssh keys or access rules for this host at the destination.",
        Reason.AUTH,
    ),
    Code.DESTINATION_HAS_DOMAIN: Kind(
        "The destination already runs a domain of this name or UUID",
        _D,
        409,
        "Find out which copy is the right one before you touch either.",
        Reason.PRECHECK,
    ),
    Code.PEER_UNAVAILABLE: Kind(
        "The destination's pmigd does not answer",
        _D,
        502,
        "See 'pmigctl peers'; start pmigd there, or remove 'pmigd' of this peer from the file.",
        Reason.PEER_LIMIT,
        retryable=True,
    ),
    Code.REFUSED_BY_DESTINATION: Kind(
        "The destination does not take this migration",
        _D,
        502,
        "Remove the reason that the destination gives.",
        Reason.PRECHECK,
    ),
    Code.SOURCE_AUTH: Kind(
        "The local libvirt daemon refuses pmigd",
        _S,
        502,
        "pmigd must run as root, or libvirt's access rules must allow domain.migrate.",
        Reason.AUTH,
    ),
    Code.UNSAFE_STORAGE: Kind(
        "libvirt says the migration could damage the guest's disks",
        _C,
        422,
        "Put the disks on shared storage with a safe cache mode.",
        Reason.STORAGE,
    ),
    Code.CPU_INCOMPATIBLE: Kind(
        "The destination's CPU cannot run this guest",
        _D,
        422,
        "Give the guest a CPU model that both hosts have.",
        Reason.PREPARE,
    ),
    Code.REFUSED_BY_LIBVIRT: Kind(
        "libvirt refuses this migration",
        _C,
        422,
        "'detail' has libvirt's reason; change the request or the guest accordingly.",
        Reason.PREPARE,
    ),
    Code.UNSUPPORTED_BY_LIBVIRT: Kind(
        "libvirt or QEMU of one host is too old for this",
        _C,
        422,
        "Leave the option out or upgrade the host named in 'detail'.",
        Reason.PREPARE,
    ),
    Code.JOB_LOCK_TIMEOUT: Kind(
        "Another job holds the domain",
        _S,
        409,
        "Wait for the job that 'virsh domjobinfo' shows (backup, snapshot, ...), then try again.",
        Reason.PREPARE,
        retryable=True,
    ),
    Code.MIGRATION_FAILED: Kind(
        "The migration failed",
        _D,
        502,
        "The guest runs on at the source. 'detail' and libvirt's logs of both hosts say why.",
        Reason.PERFORM,
        retryable=True,
    ),
    Code.CONNECTION_BROKE: Kind(
        "A connection between the hosts, or to libvirt, broke during the migration",
        _D,
        502,
        "The guest runs on at the source. Check the network and the libvirt daemons.",
        Reason.PEER_LOST,
        retryable=True,
    ),
    Code.PORTS_SHUT: Kind(
        "A connection to a port of the destination was refused or not answered",
        _D,
        502,
        "The guest runs on at the source. Let the ports that 'detail' names through the firewalls "
        "between the two, in that direction.",
        Reason.CONNECT,
    ),
    Code.SECRET_MISSING: Kind(
        "A secret that the guest needs is not defined, or has no value",
        _D,
        422,
        "Define it at the destination: 'virsh secret-define', 'virsh secret-set-value'.",
        Reason.PREPARE,
    ),
    Code.FILTER_MISSING: Kind(
        "A network filter of the guest cannot be used at the destination",
        _D,
        422,
        "'virsh nwfilter-dumpxml NAME' at the source, 'virsh nwfilter-define' at the destination.",
        Reason.PREPARE,
    ),
    Code.NETWORK_MISSING: Kind(
        "The destination lacks a network of the guest",
        _D,
        422,
        "Define and start it there ('virsh net-define', 'virsh net-start'), or change the guest.",
        Reason.PREPARE,
    ),
    Code.POOL_MISSING: Kind(
        "The destination lacks a storage pool of the guest",
        _D,
        422,
        "Define and start it there ('virsh pool-define', 'virsh pool-start').",
        Reason.PREPARE,
    ),
    Code.VOLUME_MISSING: Kind(
        "The destination lacks a storage volume of the guest",
        _D,
        422,
        "Create it there, or 'virsh pool-refresh' if it is there already, or copy the disk.",
        Reason.PREPARE,
    ),
    Code.DEVICE_MISSING: Kind(
        "The destination lacks a device of the guest",
        _D,
        422,
        "Detach it ('virsh detach-device'), or choose a host that has it.",
        Reason.PREPARE,
    ),
    Code.FILE_MISSING: Kind(
        "The destination lacks a file or folder that the guest needs",
        _D,
        422,
        "Put what 'detail' names there, or on storage that both hosts see.",
        Reason.PREPARE,
    ),
    Code.PORT_IN_USE: Kind(
        "A port that is needed is taken at the destination",
        _D,
        409,
        "End what listens there, or choose another port.",
        Reason.PREPARE,
    ),
    Code.CANCELLED: Kind(
        "Cancelled on request", _N, 409, "Nothing to do: the guest runs on at the source."
    ),
    Code.ABORTED_ELSEWHERE: Kind(
        "Somebody else aborted the job",
        _N,
        409,
        "Nothing to do: the guest runs on at the source. It was not pmigd that aborted it.",
    ),
    Code.TIMEOUT: Kind(
        "The migration did not finish within its time",
        _S,
        504,
        "Allow more time or bandwidth, or choose on_timeout=suspend to pause the guest instead.",
        Reason.TIMEOUT,
        retryable=True,
    ),
    Code.GUEST_STOPPED: Kind(
        "The guest ended while it was being migrated",
        _S,
        409,
        "Start it where it is wanted; its log says why it ended.",
        Reason.PERFORM,
    ),
    Code.INTERRUPTED: Kind(
        "The migration ended while pmigd was not watching",
        _P,
        503,
        "The guest runs on at the source; submit the migration again.",
        Reason.LIBVIRT_LOST,
        retryable=True,
    ),
    Code.POSTCOPY_FAILED: Kind(
        "Post-copy is interrupted: the guest's memory is on two hosts",
        _D,
        502,
        "Touch neither copy. Restore the network, then resume the post-copy.",
        Reason.PEER_LOST,
    ),
    Code.POSTCOPY_LOST: Kind(
        "Post-copy broke and one half of the guest's memory is gone",
        _S,
        409,
        "Save what the half copy still answers, 'virsh destroy' it where it is, and start the "
        "guest from its disks.",
        Reason.PEER_LOST,
    ),
    Code.ANOTHER_RUN: Kind(
        "The guest was moved or started by somebody else meanwhile",
        _N,
        409,
        "See where it runs and whether that is where it is wanted; migrate it again only then.",
        Reason.UNKNOWN,
    ),
    Code.LEFTOVER_COPY: Kind(
        "A half-made copy that never ran is left at the destination",
        _D,
        409,
        "When the guest is seen to run at the source, 'virsh destroy' the copy at the destination; "
        "the runbook 'leftover copy' says what to do if libvirt does not let go of it.",
        Reason.PREPARE,
    ),
    Code.STANDSTILL: Kind(
        "The migration stands still",
        _S,
        504,
        "'pmigctl abort ID'. If it stays open after that, 'pmigctl suspend ID' makes libvirt let "
        "go of it, and pmigd lets the guest run on.",
        Reason.STALLED,
    ),
    Code.RESOLVED_AS_FAILED: Kind("An operator closed it as failed", _N, 409, "Nothing to do."),
    Code.DESTINATION_SILENT: Kind(
        "The destination does not say whether it runs the guest",
        _D,
        502,
        "Touch neither copy. Reach the destination; pmigd asks on and settles it by itself.",
        Reason.PEER_LOST,
    ),
    Code.GUEST_NOT_FOUND: Kind(
        "The guest left this host and the destination does not show it",
        _D,
        502,
        "Look for it on other hosts and in both libvirt logs; then 'pmigctl resolve ID --as ...'.",
        Reason.FINISH,
    ),
    Code.SOURCE_LEFT_PAUSED: Kind(
        "A paused copy is left at the source",
        _S,
        409,
        "If the guest runs at the destination, or ran there, 'virsh destroy' the paused copy here; "
        "if it surely never did, 'virsh resume' it. pmigd then settles the migration by itself.",
        Reason.CONFIRM,
    ),
    Code.TWO_COPIES: Kind(
        "The guest is alive on both hosts",
        _S,
        409,
        "Stop the wrong copy at once, before both write to the same disks; pmigd touches neither.",
        Reason.CONFIRM,
    ),
    Code.JOURNAL_ROW_UNREADABLE: Kind(
        "What the journal has of this migration cannot be read",
        _P,
        500,
        "Start the pmigd that wrote it, if that was a newer one. Else look on both hosts where the "
        "guest runs, see that no migration of it is under way, and 'pmigctl resolve ID --as ...'.",
        Reason.STORAGE,
    ),
    Code.JOURNAL_CONFLICT: Kind(
        "Another migration of the guest was begun while the journal of this one was away",
        _P,
        409,
        "Wait for the other one, look on both hosts where the guest runs, then "
        "'pmigctl resolve ID --as ...'. Have daemon.state_dir mounted before pmigd starts.",
        Reason.STORAGE,
    ),
}

ONLY_AN_OPERATOR: frozenset[Code] = frozenset({Code.JOURNAL_ROW_UNREADABLE, Code.JOURNAL_CONFLICT})
"""Of what is unresolved, that which pmigd knows too little of to look at it and settle it."""
