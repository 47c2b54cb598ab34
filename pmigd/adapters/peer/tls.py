"""This host's certificates, as both ends of the channel use them.

The files are libvirt's by default. They are read at the start and at each reload, never while
somebody waits for an answer; what cannot be used is said, and tried again at the next reload.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pmigd.adapters.pem import PkiUnusable, is_there, load_authorities, load_pair

CRL_NAME: Final = "cacrl.pem"
"""Revoked certificates: as libvirt does, the list beside the CA's certificate, if there is one."""


@dataclass(frozen=True, slots=True)
class PkiFiles:
    """Where the certificates are (PEM)."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path

    @property
    def crl(self) -> Path:
        """The list of revoked certificates; it need not exist."""
        return self.ca.with_name(CRL_NAME)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What was read. A context is None, and its fault says why, where it cannot be had.

    `server_ends` and `client_ends` are when the certificates of the contexts end.
    """

    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None
    server_fault: str = "the certificates were not read yet"
    client_fault: str = "the certificates were not read yet"
    server_ends: datetime | None = None
    client_ends: datetime | None = None

    def or_else(self, before: Certificates) -> Certificates:
        """These, and those of `before` where these cannot be used; the faults are these."""
        server = self if self.server else before
        client = self if self.client else before
        return Certificates(
            server.server,
            client.client,
            self.server_fault,
            self.client_fault,
            server.server_ends,
            client.client_ends,
        )


def read_certificates(files: PkiFiles) -> Certificates:
    """Read everything anew. Raises nothing; blocks on the files."""
    server, server_fault, server_ends = _context(
        ssl.PROTOCOL_TLS_SERVER, files, files.cert, files.key
    )
    client, client_fault, client_ends = _context(
        ssl.PROTOCOL_TLS_CLIENT, files, files.client_cert, files.client_key
    )
    return Certificates(server, client, server_fault, client_fault, server_ends, client_ends)


def _context(
    protocol: int, files: PkiFiles, cert: Path, key: Path
) -> tuple[ssl.SSLContext | None, str, datetime | None]:
    """The context, its fault, and when its certificate ends."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session would not be verified again, though its certificate may have ended.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
    try:
        return context, "", _load(context, files, cert, key)
    except PkiUnusable as error:
        return None, str(error), None


def _load(context: ssl.SSLContext, files: PkiFiles, cert: Path, key: Path) -> datetime | None:
    load_authorities(context, files.ca)
    if is_there(files.crl, needed=False):
        try:
            context.load_verify_locations(cafile=files.crl)
        except (ssl.SSLError, OSError) as error:
            raise PkiUnusable(f"{files.crl} is not a list of revoked certificates") from error
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return load_pair(context, cert, key)
