"""Certificates and keys in files (PEM), loaded so that whatever is wrong is said of its file."""

from __future__ import annotations

import os
import ssl
from datetime import datetime
from pathlib import Path

from pmigd.adapters.x509 import expires
from pmigd.core.ownership import ownership_fault


class PkiUnusable(Exception):  # noqa: N818 - it says what is the case
    """A certificate, key or list cannot be used; the text names the file and says why."""


def load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> datetime | None:
    """Load a certificate and its key; when it ends, if that can be read. Raises PkiUnusable."""
    is_there(cert, needed=True)
    is_there(key, needed=True)
    is_ours(key)
    try:
        # An enciphered key must not make OpenSSL ask for its password on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise PkiUnusable(_about_pair(cert, key, error)) from error
    try:
        return expires(cert)
    except (OSError, ValueError):
        return None  # OpenSSL reads more forms, and it is the one that needs it


def load_authorities(context: ssl.SSLContext, file: Path) -> None:
    """Trust the authorities whose certificates are in `file`. Raises PkiUnusable."""
    is_there(file, needed=True)
    is_ours(file)
    try:
        context.load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError) as error:
        raise PkiUnusable(f"{file} has no certificate of an authority") from error


def is_there(file: Path, *, needed: bool) -> bool:
    """Raise what OpenSSL would not tell: which file it is that cannot be read."""
    try:
        file.read_bytes()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not needed:
            return False
        raise PkiUnusable(f"{file}: {error.strerror}") from error
    return True


def is_ours(file: Path) -> None:
    """Raise PkiUnusable if others could change what is proven by it, or whom it proves."""
    try:
        found = file.stat()
    except OSError as error:
        raise PkiUnusable(f"{file}: {error.strerror}") from error
    if fault := ownership_fault(found.st_mode, found.st_uid, os.geteuid()):
        raise PkiUnusable(f"{file} {fault}")


def _about_pair(cert: Path, key: Path, error: OSError) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of {cert}"
    return f"{cert} and {key} are not a certificate and a key without a password"
