"""The keys about other hosts: their libvirt and pmigd, and how this host proves itself to them.

See :mod:`pmigd.config.schema`.
"""

from typing import Annotated, Final

from msgspec import Meta

from pmigd.config.section import Section
from pmigd.core.address import ListenAddress, parse_listen_address
from pmigd.core.uri import LocalUri, PeerUri, PmigdUrl, parse_configured_peer, parse_pmigd_url

_PATH: Final = {"accepted": "an absolute path without '..'"}


class PeerListenSection(Section, frozen=True, kw_only=True):
    """What this host's pmigd and those of its peers prove themselves with to each other.

    The files are libvirt's own by default. With a cacrl.pem beside ca, whose certificate it lists
    is refused, as by libvirt. All files are read again at a reload; connections that exist go on.
    """

    listen: Annotated[
        str,
        Meta(
            description="TCP address where the pmigd of other hosts ask this one before they send"
            ' it guests, with TLS and certificates on both sides. "" does not listen.',
            extra={
                "accepted": 'HOST:PORT, or ""',
                "example": "0.0.0.0:9717",
                "reload": False,
            },
        ),
    ] = ""
    ca: Annotated[
        str,
        Meta(description="Certificates of the authorities that both sides trust.", extra=_PATH),
    ] = "/etc/pki/CA/cacert.pem"
    cert: Annotated[
        str,
        Meta(description="This host's certificate for those who ask it.", extra=_PATH),
    ] = "/etc/pki/libvirt/servercert.pem"
    key: Annotated[
        str,
        Meta(description="Its key, without a password.", extra=_PATH),
    ] = "/etc/pki/libvirt/private/serverkey.pem"
    client_cert: Annotated[
        str,
        Meta(description="This host's certificate where it asks others.", extra=_PATH),
    ] = "/etc/pki/libvirt/clientcert.pem"
    client_key: Annotated[
        str,
        Meta(description="Its key, without a password.", extra=_PATH),
    ] = "/etc/pki/libvirt/private/clientkey.pem"
    allowed_names: Annotated[
        tuple[str, ...],
        Meta(
            max_length=10_000,
            description="Names of certificates that may ask here: DNS names and addresses of the"
            ' certificate or, where it has none, its common name. A "*." at the beginning stands'
            " for one label. [] allows the hosts of the peers' pmigd and uri, and nobody else.",
            extra={"accepted": 'a list of hosts, or of domains with "*." before them'},
        ),
    ] = ()
    patience_s: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="How long a migration waits for a destination's pmigd that does not answer"
            " before it fails.",
            extra={"unit": "seconds"},
        ),
    ] = 300

    @property
    def address(self) -> ListenAddress | None:
        """``listen``, parsed; None where pmigd does not listen."""
        return parse_listen_address(self.listen) if self.listen else None


class PeerSection(Section, frozen=True, kw_only=True):
    """One host that guests may be moved to. NAME is what people call it in commands."""

    uri: Annotated[
        str,
        Meta(
            description="The peer's libvirt as this host's libvirtd reaches it."
            " qemu+tcp is neither encrypted nor, by itself, authenticated.",
            extra={
                "accepted": "qemu+tls://HOST/system, qemu+ssh://[USER@]HOST/system"
                " or qemu+tcp://HOST/system, each with :PORT if need be,"
                " or qemu+unix:///system?socket=/PATH",
                "example": "qemu+tls://hostb.example.com/system",
            },
        ),
    ]
    migrate_uri: Annotated[
        str,
        Meta(
            description="Where guests' memory is sent, if not to the host of uri:"
            ' say, an address on a faster network. "" lets libvirt choose.',
            extra={
                "accepted": 'tcp://HOST or tcp://HOST:PORT, or ""',
                "example": "tcp://10.0.0.2",
            },
        ),
    ] = ""
    pmigd: Annotated[
        str,
        Meta(
            description="Where the peer's pmigd listens (its peer.listen). It is asked before a"
            ' guest is sent, and says what it has room for. "" counts only this host\'s limits.',
            extra={
                "accepted": 'https://HOST or https://HOST:PORT (by default 9717), or ""',
                "example": "https://hostb.example.com",
            },
        ),
    ] = ""

    @property
    def peer_uri(self) -> PeerUri | LocalUri:
        """``uri``, parsed."""
        return parse_configured_peer(self.uri)

    @property
    def pmigd_url(self) -> PmigdUrl | None:
        """``pmigd``, parsed; None where the peer has none."""
        return parse_pmigd_url(self.pmigd) if self.pmigd else None
