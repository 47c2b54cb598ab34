"""When a certificate ends: Python's library tells it only of a connection's certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION: Final = 0xA0
_FORMS: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime, as RFC 5280 (4.1.2.5) has them in certificates."""


def expires(file: Path) -> datetime:
    """When the first certificate of a PEM file ends. Raises OSError; ValueError if it has none."""
    found = _PEM.search(file.read_text(encoding="ascii", errors="replace"))
    if found is None:
        raise ValueError(f"{file} has no certificate")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(found.group()))
    except (ValueError, IndexError, KeyError, StopIteration) as error:
        raise ValueError(f"{file} has no certificate that can be read") from error


def _not_after(der: bytes) -> datetime:
    """Certificate, its signed part: [version,] serial, algorithm, issuer, validity."""
    (_, certificate), *_ = _items(der)
    (_, signed), *_ = _items(certificate)
    parts = [part for part in _items(signed) if part[0] != _VERSION]
    (_begin, (tag, text)) = list(_items(parts[3][1]))
    return datetime.strptime(text.decode("ascii"), _FORMS[tag]).replace(tzinfo=UTC)


def _items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents one level down."""
    place = 0
    while place < len(der):
        tag, size = der[place], der[place + 1]
        place += 2
        if size & 0x80:
            octets = size & 0x7F
            size = int.from_bytes(der[place : place + octets])
            place += octets
        yield tag, der[place : place + size]
        place += size
