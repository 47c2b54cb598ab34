"""What a web configuration file says: checked whole, every fault told, and made ready to be used.

The verdict is that of ``promtool check web-config``, but where a file would be accepted and not
served as it says. Such a file is refused: ciphers, curves and headers are not chosen in it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from pmigd.adapters.pem import PkiUnusable, load_authorities, load_pair
from pmigd.adapters.web.document import Lines, NotYaml, parse_yaml
from pmigd.schema.files import FileUnusable, decoded, read_trusted
from pmigd.schema.validate import FieldFault, KeyPath, show, validate

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_COST: Final = 15
"""Of a bcrypt hash: about two seconds a guess. More would outlast the scrape."""

_HASH: Final = rf"^\$2[aby]\$(?:0[4-9]|1[0-{MAX_COST - 10}])\$[./A-Za-z0-9]{{53}}$"

_VERSIONS: Final = {"TLS13": ssl.TLSVersion.TLSv1_3}
"""What may begin later than TLS 1.2, with which everything begins."""

_NO_CLIENT_CERT: Final = ("", "NoClientCert", "RequestClientCert")
"""What is only requested, nobody looks at: it is not requested."""
_ANY_CLIENT_CERT: Final = ("RequireAnyClientCert", "RequireClientCert")

_NOT_CHOSEN_HERE: Final[dict[KeyPath, str]] = {
    (
        "tls_server_config",
        "cipher_suites",
    ): "OpenSSL chooses; min_version: TLS13 leaves out older",
    ("tls_server_config", "prefer_server_cipher_suites"): "OpenSSL chooses",
    ("tls_server_config", "curve_preferences"): "OpenSSL chooses",
    ("tls_server_config", "max_version"): "TLS 1.3 is always offered",
    ("http_server_config", "http2"): "pmigd speaks HTTP/1.1",
    ("http_server_config", "headers"): "answers have none but their own; a proxy can add some",
}
"""Keys of exporter-toolkit's that are refused, and what holds once they are removed."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class _Tls(_Table, frozen=True, kw_only=True):
    cert_file: str = ""
    key_file: str = ""
    client_auth_type: Literal[
        "",
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = ""
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"

    @property
    def wanted(self) -> bool:
        return any((self.cert_file, self.key_file, self.client_auth_type, self.client_ca_file))


class _Http(_Table, frozen=True, kw_only=True):
    """Nothing of it is chosen here."""


_Hash = Annotated[
    str,
    Meta(
        pattern=_HASH,
        extra={"accepted": f"a bcrypt hash, as of htpasswd -nB, of a cost from 4 to {MAX_COST}"},
    ),
]


class _File(_Table, frozen=True, kw_only=True):
    tls_server_config: _Tls = msgspec.field(default_factory=_Tls)
    http_server_config: _Http = msgspec.field(default_factory=_Http)
    basic_auth_users: dict[str, _Hash] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebFault:
    """One thing that keeps the file from being used; the fields are those of a config's finding."""

    key: str
    message: str
    value: str = ""
    accepted: str = ""
    line: int | None = None


Stamps = dict[Path, tuple[int, ...] | None]
"""Which version of each file was read; None: it was not there."""


class WebConfigRefused(Exception):  # noqa: N818 - it says what happened
    """The file is not usable; `faults` has every reason, `stamps` what it was decided by."""

    def __init__(self, path: Path, faults: list[WebFault], stamps: Stamps) -> None:
        first = faults[0]
        where = f"{path}:{first.line}" if first.line else str(path)
        super().__init__(": ".join(part for part in (where, first.key, first.message) if part))
        self.faults: Final = tuple(faults)
        self.stamps: Final = stamps


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A file that was read and can be used. The defaults are those without a file.

    `context` None is plain HTTP; `ends` is when its certificate does. `names` are those of which a
    client's certificate must have one; None where it need not.
    """

    context: ssl.SSLContext | None = None
    names: frozenset[str] | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    stamps: Stamps = field(default_factory=dict)
    ends: datetime | None = None


def read(path: Path) -> WebConfig:
    """Read the file and the certificates that it names. Raises WebConfigRefused; blocks."""
    stamps = stamps_of((path,))
    try:
        document, lines = parse_yaml(decoded(read_trusted(path, MAX_FILE_BYTES)))
    except (FileUnusable, NotYaml) as error:
        raise WebConfigRefused(path, [WebFault("", str(error), line=error.line)], stamps) from error
    document = _without_nulls(document)
    said, errors = validate(_File, document)
    if said is None:
        raise WebConfigRefused(path, [_fault(e, document, lines) for e in errors], stamps)
    tls = said.tls_server_config
    directory = path.parent
    named = [directory / name for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name]
    stamps |= stamps_of(named)
    faults = [*_tls_faults(tls)]
    context: ssl.SSLContext | None = None
    ends: datetime | None = None
    if tls.wanted and not faults:
        try:
            context, ends = _context(tls, directory)
        except PkiUnusable as error:
            faults.append(WebFault("tls_server_config", str(error)))
    if faults:
        raise WebConfigRefused(path, faults, stamps)
    sans = tls.client_allowed_sans
    return WebConfig(
        context,
        frozenset(sans) if context is not None and sans is not None else None,
        said.basic_auth_users,
        stamps,
        ends,
    )


def stamps_of(files: Iterable[Path]) -> Stamps:
    """Which versions of the files are there now. Blocks."""
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _without_nulls(document: Any) -> Any:
    """A key of a table without a value is as good as none; a user without a hash is a fault."""
    if not isinstance(document, dict):
        return {} if document is None else document
    document = {key: value for key, value in document.items() if value is not None}
    for name in ("tls_server_config", "http_server_config"):
        if isinstance(table := document.get(name), dict):
            document[name] = {key: value for key, value in table.items() if value is not None}
    return document


def _fault(error: FieldFault, document: Any, lines: Lines) -> WebFault:
    line = lines.get(error.path)
    if instead := _NOT_CHOSEN_HERE.get(error.path):
        return WebFault(error.field, f"is not supported: remove it; {instead}", line=line)
    if error.kind == "unknown":
        message = error.message.replace("is not known", "is not a known key")
        accepted = f"one of {error.accepted}" if error.accepted else ""
        return WebFault(error.field, message, "", accepted, line)
    secret = error.path[:1] == ("basic_auth_users",)
    value = "" if secret else show(_at(document, error.path))
    return WebFault(error.field, "is not accepted", value, error.accepted, line)


def _at(document: Any, path: KeyPath) -> Any:
    for step in path:
        document = document[step]
    return document


def _tls_faults(tls: _Tls) -> Iterator[WebFault]:
    def at(key: str, message: str, value: object = None, accepted: str = "") -> WebFault:
        shown = "" if value is None else show(value)
        return WebFault(f"tls_server_config.{key}", message, shown, accepted)

    if not tls.wanted:
        return
    if not tls.cert_file:
        yield at("cert_file", "is required")
    if not tls.key_file:
        yield at("key_file", "is required")
    asked = tls.client_auth_type
    if tls.client_ca_file and asked in ("", "NoClientCert"):
        yield at("client_auth_type", "must say what client_ca_file is for", asked)
    if asked in _ANY_CLIENT_CERT:
        message = "is not supported: a certificate that nobody verifies proves nothing"
        yield at("client_auth_type", message, asked, "RequireAndVerifyClientCert")
    elif tls.client_allowed_sans is not None and asked != "RequireAndVerifyClientCert":
        message = "needs client_auth_type RequireAndVerifyClientCert"
        yield at("client_allowed_sans", message)


def _context(tls: _Tls, directory: Path) -> tuple[ssl.SSLContext, datetime | None]:
    """The context that the file asks for, and when its certificate ends. Raises PkiUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session would not be verified again, though its certificate may have ended.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.minimum_version = _VERSIONS.get(tls.min_version, ssl.TLSVersion.TLSv1_2)
    ends = load_pair(context, directory / tls.cert_file, directory / tls.key_file)
    if tls.client_auth_type not in _NO_CLIENT_CERT:
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        if tls.client_ca_file:
            load_authorities(context, directory / tls.client_ca_file)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    elif tls.client_ca_file:
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), directory / tls.client_ca_file)
    return context, ends
