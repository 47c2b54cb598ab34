"""Every key of the configuration file: type, default, unit, bounds and one line of meaning.

This is the only place where a key is written down, with :mod:`pmigd.config.peers` for those about
other hosts; those of ``[migration]`` are the defaults of request fields and stand in their rows.
The loader checks files against it, the commented ``etc/pmigd.toml`` is printed from it.  A key that
the code does not read must not be here: an operator who sets it would believe in it.  Keys of later
releases stand in :data:`LATER_KEYS`, so that the answer to them is "not yet" rather than "unknown".

Fields hold what the file says (text, numbers); where that text was parsed on loading, a
property gives the parsed value.  Only values that passed ``pmigd.config.load`` may be asked for
their properties.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pmigd.config.peers import PeerListenSection, PeerSection
from pmigd.config.section import Section
from pmigd.core.address import ListenAddress, parse_allowed_name, parse_listen_address
from pmigd.core.fields import Configured, Row
from pmigd.core.request import FIELDS
from pmigd.core.uri import (
    LocalUri,
    PeerUri,
    UriPattern,
    parse_collector_url,
    parse_local_uri,
    parse_uri_pattern,
)
from pmigd.schema.fields import bounded, made_of

LATER_KEYS: Final = frozenset(
    {
        ("policy",),
        ("migration", "policy"),
    }
)
"""Keys that are part of pmigd's design but not of this release; ``*`` is any name."""


class DaemonSection(Section, frozen=True, kw_only=True):
    """The daemon itself."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
            description="This host's name in records, answers and metrics."
            ' "" means the name the operating system gives the host.',
            extra={
                "accepted": "letters, digits, '.', '_' and '-', at most 64 characters",
                "reload": False,
            },
        ),
    ] = ""
    state_dir: Annotated[
        str,
        Meta(
            description="Directory of the journal. Made at the start if it is missing.",
            extra={"accepted": "an absolute path without '..'", "reload": False},
        ),
    ] = "/var/lib/pmigd"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important messages that are still written."),
    ] = "info"


class LibvirtSection(Section, frozen=True, kw_only=True):
    """This host's libvirt."""

    uri: Annotated[
        str,
        Meta(
            description="How to reach this host's own libvirt.",
            extra={
                "accepted": "qemu:///system or qemu+unix:///system, "
                "each with ?socket=/absolute/path if need be",
                "reload": False,
            },
        ),
    ] = "qemu:///system"

    @property
    def local_uri(self) -> LocalUri:
        """``uri``, parsed."""
        return parse_local_uri(self.uri)


_RoleEntries = Annotated[tuple[str, ...], Meta(max_length=1000)]
_ROLE_ACCEPTED: Final = 'a list of user names and of group names with "@" before them'


class RolesSection(Section, frozen=True, kw_only=True):
    """Who may do what on the socket.

    The client's user is what the kernel says. An entry is a user, or a group with "@" before it.
    Whoever has several roles has the highest one.
    """

    admin: Annotated[
        _RoleEntries,
        Meta(
            description="May do everything an operator may, and besides give URIs, XML,"
            " addresses and the option unsafe, which amount to root on both hosts.",
            extra={"accepted": _ROLE_ACCEPTED},
        ),
    ] = ("root",)
    operator: Annotated[
        _RoleEntries,
        Meta(
            description="May migrate guests between the configured peers and act on migrations.",
            extra={"accepted": _ROLE_ACCEPTED},
        ),
    ] = ("@pmigd",)
    viewer: Annotated[
        _RoleEntries,
        Meta(description="May read.", extra={"accepted": _ROLE_ACCEPTED}),
    ] = ()


class ApiSection(Section, frozen=True, kw_only=True):
    """The socket that clients use.

    Where systemd passes the socket (pmigd.socket), socket, mode and group have no effect.
    """

    socket: Annotated[
        str,
        Meta(
            description="Path of the UNIX socket.",
            extra={
                "accepted": "an absolute path of at most 107 bytes without '..'",
                "reload": False,
            },
        ),
    ] = "/run/pmigd/pmigd.sock"
    mode: Annotated[
        str,
        Meta(
            description="File mode of the socket: who may connect at all."
            " What a client may do then is decided by [api.roles].",
            extra={
                "accepted": 'octal digits in quotes, as in "0660";'
                " read and write for the owner, no write for others",
                "unit": "octal",
                "reload": False,
            },
        ),
    ] = "0660"
    group: Annotated[
        str,
        Meta(
            description='Group of the socket. "" leaves it to root\'s own group.'
            " While the group does not exist, only root can connect.",
            extra={"accepted": "a group name", "reload": False},
        ),
    ] = "pmigd"
    roles: RolesSection = msgspec.field(default_factory=RolesSection)

    @property
    def mode_bits(self) -> int:
        """``mode`` as a number, as ``os.chmod`` takes it."""
        return int(self.mode, 8)


class MetricsSection(Section, frozen=True, kw_only=True):
    """Metrics for Prometheus, and how it comes by them."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            max_length=16,
            description="TCP addresses that serve GET /metrics. Where systemd passes sockets with"
            " the name metrics, those are used instead. [] serves it on the API's socket only.",
            extra={"accepted": "a list of at most 16 HOST:PORT", "reload": False},
        ),
    ] = ("127.0.0.1:9718",)
    web_config: Annotated[
        str,
        Meta(
            description="Web configuration file of Prometheus' exporters: TLS and passwords for"
            " these addresses. It and its certificates are read again when they change."
            ' "" serves without encryption or password.',
            extra={"accepted": "an absolute path without '..', or \"\""},
        ),
    ] = ""
    per_domain_metrics: Annotated[
        bool,
        Meta(
            description="Whether there are series of single migrations: of those under way, which"
            " have the guest's name, and of the last 20 that ended. false leaves what is counted,"
            " and takes from the alerts those that name a guest."
        ),
    ] = True
    textfile: Annotated[
        str,
        Meta(
            description="File in the folder of node_exporter's textfile collector (Debian:"
            " /var/lib/prometheus/node-exporter), for hosts where pmigd opens no port. It has the"
            " metrics of pmigd without those of its process. The unit must let pmigd write there"
            ' (ReadWritePaths). "" writes none.',
            extra={"accepted": "an absolute path without '..' that ends in .prom, or \"\""},
        ),
    ] = ""
    textfile_interval_s: Annotated[
        int,
        Meta(
            ge=1,
            le=3600,
            description="How often it is written: as often as node_exporter is scraped.",
            extra={"unit": "seconds"},
        ),
    ] = 15

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        """``listen``, parsed."""
        return tuple(parse_listen_address(text) for text in self.listen)


class SecuritySection(Section, frozen=True, kw_only=True):
    """What administrators may ask for."""

    allow_uris: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1000,
            description="Destinations besides the configured peers that an admin may give as a"
            " URI. '*' in the host matches: as a whole label one label or more, inside a label"
            " a part of it. [] allows none.",
            extra={
                "accepted": "a list of patterns such as qemu+tls://*.example.com/system",
            },
        ),
    ] = ()

    @property
    def allowed_patterns(self) -> tuple[UriPattern, ...]:
        """``allow_uris``, parsed."""
        return tuple(parse_uri_pattern(text) for text in self.allow_uris)


class LimitsSection(Section, frozen=True, kw_only=True):
    """How much at a time. Besides these, the limits of libvirt's daemons hold."""

    source: Annotated[
        Literal["auto", "virt-admin", "conf", "default"],
        Meta(
            description="Where the limits of libvirt's daemons are read:"
            ' "virt-admin" asks the running daemons, "conf" reads their configuration files,'
            ' "default" takes libvirt\'s defaults, which also stand in for what is not told.'
            ' "auto" takes the first of the three that has a figure.',
        ),
    ] = "auto"
    libvirtd_conf: Annotated[
        str,
        Meta(
            description="Configuration file of the daemon that runs the guests (libvirtd,"
            ' or virtqemud). "" is the one in /etc/libvirt.',
            extra={"accepted": "an absolute path without '..', or \"\""},
        ),
    ] = ""
    max_outgoing: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Migrations that may leave this host at the same time; the others wait."
            " Each holds one worker of libvirtd (max_workers, by default 20) to its end.",
            extra={"unit": "migrations"},
        ),
    ] = 1
    max_incoming: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Migrations that may come to this host at the same time;"
            " the others wait where they are.",
            extra={"unit": "migrations"},
        ),
    ] = 1
    max_preparing: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Migrations for which this host may start a QEMU at the same time."
            " Each holds one worker of libvirtd meanwhile.",
            extra={"unit": "migrations"},
        ),
    ] = 2
    reserve_workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Workers of libvirtd (max_workers) that migrations leave free: an abort,"
            " a change and everybody else's calls need one. Cut where fewer than two would be"
            " left to migrate with.",
            extra={"unit": "workers"},
        ),
    ] = 5
    reserve_clients: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="Connections to libvirtd (max_clients) that migrations leave free."
            " Cut where fewer than two would be left to migrate with.",
            extra={"unit": "connections"},
        ),
    ] = 100
    queue_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Migrations that may wait; further ones are refused.",
            extra={"unit": "migrations"},
        ),
    ] = 10_000
    ssh_startups: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Connections that may be set up at the same time to one qemu+ssh peer:"
            " the first number of MaxStartups in its sshd_config.",
            extra={"unit": "connections"},
        ),
    ] = 10


class TracingSection(Section, frozen=True, kw_only=True):
    """Spans of migrations, by OpenTelemetry. Needs the extra package: pip install 'pmigd[otel]'.

    The SDK's environment variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_SCHEDULE_DELAY, ...) hold.
    """

    endpoint: Annotated[
        str,
        Meta(
            description="Collector that the spans are sent to, by OTLP over HTTP. Without a path it"
            ' is asked at /v1/traces. "" makes no spans.',
            extra={
                "accepted": 'http://HOST:PORT or https://HOST:PORT, with a path if need be, or ""',
                "reload": False,
            },
        ),
    ] = ""

    @property
    def url(self) -> str | None:
        """``endpoint`` with its path; None where no spans are made."""
        return parse_collector_url(self.endpoint) if self.endpoint else None


def _default_of(row: Row, key: Configured) -> tuple[str, Any, Any]:
    extra = {"unit": key.unit} if key.unit else None
    kind = bounded(row._replace(type=key.type or row.type))
    default = row.default if key.default is None else key.default
    return row.name, Annotated[kind, Meta(description=key.says, extra=extra)], default


@made_of(_default_of(row, row.about.configured) for row in FIELDS if row.about.configured)
class MigrationSection(Section, frozen=True, kw_only=True):
    """What a migration is like when its request does not say."""


class Config(Section, frozen=True, kw_only=True):
    """The whole file. ``daemon.name`` of a loaded config is never empty."""

    daemon: DaemonSection = msgspec.field(default_factory=DaemonSection)
    libvirt: LibvirtSection = msgspec.field(default_factory=LibvirtSection)
    api: ApiSection = msgspec.field(default_factory=ApiSection)
    metrics: MetricsSection = msgspec.field(default_factory=MetricsSection)
    peer: PeerListenSection = msgspec.field(default_factory=PeerListenSection)
    peers: Annotated[dict[str, PeerSection], Meta(max_length=10_000)] = msgspec.field(
        default_factory=dict
    )
    security: SecuritySection = msgspec.field(default_factory=SecuritySection)
    limits: LimitsSection = msgspec.field(default_factory=LimitsSection)
    migration: MigrationSection = msgspec.field(default_factory=MigrationSection)
    tracing: TracingSection = msgspec.field(default_factory=TracingSection)

    @property
    def defaults(self) -> dict[str, Any]:
        """What counts where a request says nothing."""
        return msgspec.structs.asdict(self.migration)

    @property
    def admitted_names(self) -> frozenset[str]:
        """The names, and patterns of names, of certificates that may ask this host."""
        if self.peer.allowed_names:
            return frozenset(parse_allowed_name(text) for text in self.peer.allowed_names)
        ways = [(peer.peer_uri, peer.pmigd_url) for peer in self.peers.values()]
        hosts = {uri.host for uri, _ in ways if isinstance(uri, PeerUri)}
        return frozenset(hosts | {url.host for _, url in ways if url is not None})
