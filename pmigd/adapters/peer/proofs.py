"""Whether another host's pmigd would believe this host's certificates, found out on this host.

Each certificate is shown to a verifier of the same authorities over TLS in memory: what that says
is what the others will say. Nothing is sent to anybody. Blocks on the files.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pmigd.adapters.peer.names import certificate_names, covers
from pmigd.adapters.peer.tls import PkiFiles
from pmigd.adapters.pem import PkiUnusable, load_authorities, load_pair
from pmigd.adapters.x509 import expires

PkiRole = Literal["server", "client"]
PkiField = Literal["ca", "cert", "key", "client_cert", "client_key"]

_PAIR: Final[Mapping[PkiRole, tuple[PkiField, PkiField]]] = {
    "server": ("cert", "key"),
    "client": ("client_cert", "client_key"),
}
_USE: Final[Mapping[PkiRole, str]] = {"server": "serverAuth", "client": "clientAuth"}
_STEPS: Final = 10
"""More than a handshake has."""


@dataclass(frozen=True, slots=True)
class PkiFault:
    """What is wrong with one file of [peer], and what would be accepted."""

    field: PkiField
    file: Path
    message: str
    accepted: str


def faults(
    files: PkiFiles,
    roles: tuple[PkiRole, ...],
    host: str,
    *,
    is_here: Callable[[str], bool],
) -> list[PkiFault]:
    """Everything that keeps others from believing them; `roles` are those that are used.

    `host` is what this host calls itself, `is_here` whether a name leads to this host.
    """
    authorities = _authorities(files.ca)
    if isinstance(authorities, PkiFault):
        return [authorities]
    return [
        fault for role in roles for fault in _faults_of(role, files, authorities, host, is_here)
    ]


def _faults_of(
    role: PkiRole,
    files: PkiFiles,
    verifier: ssl.SSLContext,
    host: str,
    is_here: Callable[[str], bool],
) -> Iterator[PkiFault]:
    cert_field, key_field = _PAIR[role]
    cert: Path = getattr(files, cert_field)
    key: Path = getattr(files, key_field)
    unreadable = [
        fault
        for field, file, begins, what in (
            (cert_field, cert, "CERTIFICATE", "a certificate"),
            (key_field, key, "PRIVATE KEY", "a key without a password"),
        )
        if (fault := _unreadable(field, file, begins, what)) is not None
    ]
    if unreadable:
        yield from unreadable
        return
    try:
        shown = _shown(role, cert, key, verifier)
    except PkiUnusable as error:
        yield PkiFault(
            key_field, key, str(error), f"the key that {cert} was made for, unenciphered"
        )
    except ssl.SSLCertVerificationError as error:
        yield _about(role, cert_field, cert, files.ca, error)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        yield PkiFault(cert_field, cert, f"cannot be used ({reason})", "a certificate for TLS 1.2")
    else:
        names = certificate_names(shown)
        ours = covers(names, host) or (role == "server" and any(map(is_here, names)))
        if not ours:
            listed = ", ".join(names) or "nobody"
            yield PkiFault(
                cert_field,
                cert,
                f"is a certificate of {listed}, and not of this host, which calls itself '{host}'",
                f"one with {host}, or a name that begins with '{host}.', as DNS name; or set "
                "daemon.name to the first part of its name",
            )


def _authorities(ca: Path) -> ssl.SSLContext | PkiFault:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        load_authorities(context, ca)
    except PkiUnusable as error:
        message = str(error).removeprefix(f"{ca}").lstrip(": ")
        return PkiFault("ca", ca, message, "a file (PEM) of the authorities that both hosts trust")
    return context


def _unreadable(field: PkiField, file: Path, begins: str, what: str) -> PkiFault | None:
    accepted = f"a file (PEM) that pmigd can read, with {what}"
    try:
        content = file.read_bytes()
    except OSError as error:
        return PkiFault(field, file, f"cannot be read: {error.strerror}", accepted)
    if f"{begins}-----".encode() not in content:
        return PkiFault(field, file, f"has not {what} (PEM)", accepted)
    return None


def _shown(role: PkiRole, cert: Path, key: Path, authorities: ssl.SSLContext) -> Mapping[str, Any]:
    """What a verifier sees of a certificate that it accepts. Raises PkiUnusable, SSLError."""
    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if role == "server" else ssl.PROTOCOL_TLS_CLIENT)
    load_pair(shows, cert, key)
    if role == "server":
        server, client = _Side(shows, server=True), _Side(authorities, server=False)
        verifier = client
    else:
        # Whoever verifies must show something too; here nobody looks at that.
        verifies = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_pair(verifies, cert, key)
        verifies.load_verify_locations(
            cadata=b"".join(map(bytes, authorities.get_ca_certs(binary_form=True)))
        )
        verifies.verify_mode = ssl.CERT_REQUIRED
        shows.check_hostname = False
        shows.verify_mode = ssl.CERT_NONE
        server, client = _Side(verifies, server=True), _Side(shows, server=False)
        verifier = server
    for _ in range(_STEPS):
        done = [side.step() for side in (client, server)]
        client.take(server)
        server.take(client)
        if all(done):
            break
    return verifier.tls.getpeercert() or {}


class _Side:
    """One end of a connection in memory."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)

    def step(self) -> bool:
        """Go on with the handshake; whether it is done. Raises SSLError."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def take(self, other: _Side) -> None:
        """Receive what the other side has sent."""
        self._incoming.write(other._outgoing.read())


def _about(
    role: PkiRole,
    field: PkiField,
    cert: Path,
    ca: Path,
    error: ssl.SSLCertVerificationError,
) -> PkiFault:
    """OpenSSL's verdict in words; its numbers are those of X509_V_ERR_* and do not change."""
    now = "a certificate that is valid now"
    signed = f"a certificate signed by an authority in {ca}, which both hosts trust"
    match error.verify_code:
        case 9:
            return PkiFault(field, cert, "is not valid yet", f"{now}; is this host's clock right?")
        case 10:
            return PkiFault(field, cert, f"ended{_end(cert)}", now)
        case 18:
            message = "is self-signed: no authority vouches for it, and no other host believes it"
            return PkiFault(field, cert, message, signed)
        case 2 | 19 | 20 | 21 | 24:
            return PkiFault(field, cert, f"is not signed by an authority in {ca}", signed)
        case 26:
            message = f"is not for this use: its extended key usage lacks {_USE[role]}"
            return PkiFault(
                field, cert, message, f"one with {_USE[role]}, or without that extension"
            )
        case _:
            return PkiFault(field, cert, f"is not accepted: {error.verify_message}", signed)


def _end(cert: Path) -> str:
    try:
        return f" {expires(cert):%Y-%m-%d %H:%M} UTC"
    except (OSError, ValueError):
        return ""
