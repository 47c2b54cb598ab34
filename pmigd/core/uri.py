"""Decide which addresses pmigd may hand to libvirt, and take them apart to do so.

The source's libvirtd, which is root, is the client that opens a peer's URI, and it obeys
whatever the URI asks for: ``command=`` runs a local program, ``socket=`` connects root to
any socket, ``pkipath=`` trusts any CA.  So a URI is accepted only when every part of it is
one this module knows, and it is rebuilt from those parts (``.text``): nothing that was not
understood can travel on.  There is no query and no fragment, for nobody.

This module must never guess, normalise a mistake away, resolve a name or compare URIs as
strings.  Its input is text from the root-owned config file or from an administrator's
request; its output is a value that cannot be wrong in form.
Reference: https://libvirt.org/uri.html and https://libvirt.org/migration.html
"""

import re
from dataclasses import dataclass
from typing import Final

from pmigd.core.address import (
    LABEL,
    UriRefused,
    authority_text,
    check_labels,
    one_spelling,
    parse_port,
    plain,
    shown,
    split_authority,
)

PEER_SCHEMES: Final = ("qemu+tls", "qemu+ssh", "qemu+tcp")
"""The accepted schemes; plain ``qemu`` with a host is libvirt's other name for ``qemu+tls``."""

MAX_SOCKET_PATH_LENGTH: Final = 107
"""Bytes a UNIX socket's path may have on Linux (``sun_path`` less its closing NUL)."""

PMIGD_PORT: Final = 9717
"""Where pmigd listens for its peers, unless a URL says otherwise."""

# What the peer's user database may hold: first.last, CORP\user, user@corp, a machine's name$.
# Nothing that a shell, or an option of ssh, could be made of.
_USER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+~@\\-]{0,126}[A-Za-z0-9_.+~@-])?\$?\Z")
_USER_BEFORE_HOST = re.compile(r"([^/@?#]*://)([^/@?#]*)@")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN_IN_USER: Final = "._~+-$"
# A name that only ssh's configuration knows may have what no host's name has.
_ALIAS_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_PATTERN_LABEL = re.compile(r"[a-z0-9*](?:[a-z0-9*-]{0,61}[a-z0-9*])?\Z")
_ALIAS = re.compile(r"[A-Za-z0-9_-]+\Z")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}\Z")
_PARAMETER_DANGER: Final = {
    "command": "it makes libvirtd run a local program as root",
    "argv": "it passes arguments to a program that libvirtd runs as root",
    "netcat": "it names a program to run on the peer",
    "socket": "it connects libvirtd, as root, to any UNIX socket",
    "keyfile": "it lets libvirtd use any private key that root can read",
    "known_hosts": "it makes libvirtd trust, and write, any file",
    "known_hosts_verify": "it turns off the check of the peer's identity",
    "no_verify": "it turns off the check of the peer's identity",
    "no_sanity": "it turns off the checks of this host's own certificate",
    "pkipath": "it makes libvirtd trust certificates from any directory",
    "tls_priority": "it can weaken the encryption",
    "authfile": "it makes libvirtd read any file as credentials",
    "auth": "it chooses how libvirtd proves itself to the peer",
    "sshauth": "it can force a weaker way to log in",
    "name": "it makes the peer open another URI than the one that was checked",
    "proxy": "it chooses another helper on the peer",
    "mode": "it chooses another daemon",
    "no_tty": "it changes how ssh is started",
}


@dataclass(frozen=True, slots=True)
class PeerUri:
    """A peer's connection URI, checked part by part.  Make it with :func:`parse_peer_uri`.

    ``host`` is lower case and without brackets; ``port`` is None where libvirt's default for
    the scheme applies; ``user``, as the peer has it, is set only for ``qemu+ssh``, and so is
    ``alias``: the host as it was written, which ssh's configuration tells from other spellings.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None
    path: str
    alias: str | None = None

    @property
    def text(self) -> str:
        """The URI, built from the checked parts alone; parsing it again gives an equal value."""
        host = self.host if self.alias is None else self.alias
        return _peer_text(self.scheme, self.user, host, self.port, self.path)


@dataclass(frozen=True, slots=True)
class UriPattern:
    """One entry of ``[security] allow_uris``.  Make it with :func:`parse_uri_pattern`.

    As :class:`PeerUri`, except that ``host`` may hold ``*``.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None
    path: str

    @property
    def text(self) -> str:
        """The pattern, built from its checked parts."""
        return _peer_text(self.scheme, self.user, self.host, self.port, self.path)


@dataclass(frozen=True, slots=True)
class MigrateUri:
    """Where the guest's memory is sent.  Make it with :func:`parse_migrate_uri`.

    ``port`` None lets the destination choose one from its own range.
    """

    scheme: str
    host: str
    port: int | None

    @property
    def text(self) -> str:
        """The URI, built from the checked parts alone."""
        return f"{self.scheme}://{authority_text(None, self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class PmigdUrl:
    """Where a peer's pmigd listens.  Make it with :func:`parse_pmigd_url`."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """The URL, built from the checked parts alone, without a path."""
        return f"https://{authority_text(None, self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class LocalUri:
    """The URI of this host's own libvirt.  Make it with :func:`parse_local_uri`."""

    scheme: str
    socket: str | None

    @property
    def text(self) -> str:
        """The URI, built from the checked parts alone."""
        query = "" if self.socket is None else f"?socket={self.socket}"
        return f"{self.scheme}:///system{query}"


def parse_peer_uri(untrusted_text: str) -> PeerUri:
    """Parse a peer's connection URI; raise :class:`UriRefused` for anything not understood.

    Plain ``qemu://`` comes back as ``qemu+tls://``, which is what libvirt makes of it, so that
    a rule written for one holds for the other.  Whether the host is this very host is another
    question: see :func:`is_loopback`.
    """
    user, without_user = _take_user(untrusted_text)
    scheme, authority, path = _split_peer(without_user, "URI")
    host_text, port_text = _split_host(authority)
    _require_user(user, scheme)
    if scheme != "qemu+ssh":
        return PeerUri(scheme, user, one_spelling(host_text), parse_port(port_text), path)
    host = one_spelling(host_text, _ALIAS_LABEL)
    alias = None if host_text.lower() in (host_text, f"[{host}]") else host_text
    return PeerUri(scheme, user, host, parse_port(port_text), path, alias)


def parse_uri_pattern(untrusted_text: str) -> UriPattern:
    """Parse an ``allow_uris`` entry; raise :class:`UriRefused` when it is not one.

    ``*`` may stand in the host only.  As a whole label it matches one label or more
    (``*.example.com`` matches ``a.example.com`` and ``a.b.example.com``, not ``example.com``);
    inside a label it matches characters of that label.  A host of only ``*`` matches all hosts.
    """
    user, without_user = _take_user(untrusted_text)
    scheme, authority, path = _split_peer(without_user, "pattern")
    host_text, port_text = _split_host(authority)
    if user is not None and "*" in user:
        raise UriRefused("'*' may stand in the host only, not in the user")
    if port_text is not None and "*" in port_text:
        raise UriRefused("'*' may stand in the host only; leave the port out or give a number")
    _require_user(user, scheme)
    label = _ALIAS_LABEL if scheme == "qemu+ssh" else LABEL
    host = _host_pattern(host_text) if "*" in host_text else one_spelling(host_text, label)
    return UriPattern(scheme, user, host, parse_port(port_text), path)


def matches(pattern: UriPattern | str, uri: PeerUri) -> bool:
    """Whether the pattern allows the URI, compared part by part.

    Scheme, user and path must be equal.  The port must be equal where the pattern gives one and
    absent where it gives none.  A pattern given as text must be one that
    :func:`parse_uri_pattern` accepts, else :class:`UriRefused` is raised.
    """
    if isinstance(pattern, str):
        pattern = parse_uri_pattern(pattern)
    return (
        pattern.scheme == uri.scheme
        and pattern.user == uri.user
        and pattern.port == uri.port
        and pattern.path == uri.path
        and _host_matches(pattern.host, uri.host)
    )


def parse_migrate_uri(untrusted_text: str) -> MigrateUri:
    """Parse the address for a guest's memory, ``tcp://HOST[:PORT]``; else :class:`UriRefused`."""
    text = plain(untrusted_text, "migration URI")
    _refuse_query(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise UriRefused("a migration URI must read tcp://HOST or tcp://HOST:PORT")
    if scheme != "tcp":
        raise UriRefused(
            f"the scheme {shown(scheme)} is not supported for a migration URI; use tcp://HOST"
        )
    if "/" in rest:
        raise UriRefused("a migration URI has no path: write tcp://HOST or tcp://HOST:PORT")
    user, host_text, port_text = split_authority(rest)
    if user is not None:
        raise UriRefused("a migration URI has no user")
    return MigrateUri(scheme, one_spelling(host_text), parse_port(port_text))


def check_data_uri(untrusted_text: str, schemes: tuple[str, ...]) -> None:
    """Check the address of a memory or disk stream: SCHEME://HOST[:PORT] or unix:///PATH.

    Raises :class:`UriRefused`. `schemes` are those allowed, "unix" among them or not.
    """
    text = plain(untrusted_text, "address")
    _refuse_query(text)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in schemes:
        raise UriRefused(f"it must begin with one of {', '.join(f'{s}://' for s in schemes)}")
    if scheme == "unix":
        if not rest.startswith("/") or "//" in rest or "/../" in f"{rest}/" or "%" in rest:
            raise UriRefused("a UNIX socket is written unix:///absolute/path")
        if len(rest.encode()) > MAX_SOCKET_PATH_LENGTH:
            raise UriRefused("the path of a UNIX socket has at most 107 bytes")
        return
    if "/" in rest:
        raise UriRefused(f"it has no path: write {scheme}://HOST or {scheme}://HOST:PORT")
    user, host_text, port_text = split_authority(rest)
    if user is not None:
        raise UriRefused("it has no user")
    one_spelling(host_text)
    parse_port(port_text)


def check_graphics_uri(untrusted_text: str) -> None:
    """Check where consoles are sent: spice://HOST[:PORT] or vnc://HOST[:PORT]."""
    check_data_uri(untrusted_text.removesuffix("/"), ("spice", "vnc"))


def parse_pmigd_url(untrusted_text: str) -> PmigdUrl:
    """Parse where a peer's pmigd listens, ``https://HOST[:PORT]``; else :class:`UriRefused`."""
    scheme, separator, authority = plain(untrusted_text, "URL").partition("://")
    if not separator or scheme != "https" or re.search(r"[/?#]", authority):
        raise UriRefused("a pmigd's URL must read https://HOST or https://HOST:PORT")
    user, host_text, port_text = split_authority(authority)
    if user is not None:
        raise UriRefused("a pmigd's URL has no user; certificates say who is who")
    return PmigdUrl(one_spelling(host_text), parse_port(port_text) or PMIGD_PORT)


def parse_collector_url(untrusted_text: str) -> str:
    """The URL of a collector of spans, with its path; else :class:`UriRefused`."""
    text = plain(untrusted_text, "URL")
    found = re.fullmatch(r"(https?)://([^/?#]+)(/[^?#]*)?", text)
    if found is None:
        raise UriRefused("a collector's URL must read http://HOST:PORT or https://HOST:PORT/PATH")
    scheme, authority, path = found.groups()
    user, host_text, port_text = split_authority(authority)
    if user is not None:
        raise UriRefused("a collector's URL has no user; OTEL_EXPORTER_OTLP_HEADERS takes secrets")
    where = authority_text(None, one_spelling(host_text), parse_port(port_text))
    return f"{scheme}://{where}{path if path not in (None, '/') else '/v1/traces'}"


def parse_configured_peer(untrusted_text: str) -> PeerUri | LocalUri:
    """Parse the URI of a peer in the configuration; else :class:`UriRefused`.

    Besides what an administrator may give in a request, root's own file may name the UNIX socket of
    another libvirt daemon on this machine: ``qemu+unix:///system?socket=/PATH``.
    """
    if not untrusted_text.startswith("qemu+unix:"):
        return parse_peer_uri(untrusted_text)
    uri = parse_local_uri(untrusted_text)
    if uri.socket is None:
        raise UriRefused("qemu+unix without ?socket=/PATH is this host's own libvirt")
    return uri


def parse_local_uri(untrusted_text: str) -> LocalUri:
    """Parse the URI of this host's libvirt; raise :class:`UriRefused` for any other.

    ``qemu:///system`` and ``qemu+unix:///system``, each with ``?socket=/absolute/path`` if need
    be.  The parameter is let through here, and only here, because the text comes from a file
    that root alone writes and pmigd, not libvirtd, is the one who connects.
    """
    text = plain(untrusted_text, "libvirt URI")
    if "#" in text:
        raise UriRefused("a URI with a fragment ('#') is not accepted")
    base, question, query = text.partition("?")
    scheme, separator, path = base.partition("://")
    if separator != "://" or scheme not in {"qemu", "qemu+unix"} or path != "/system":
        raise UriRefused("libvirt must be this host's own: qemu:///system or qemu+unix:///system")
    if not question:
        return LocalUri(scheme, None)
    name, _, socket = query.partition("=")
    if name != "socket":
        raise UriRefused(f"the only parameter accepted here is socket=, not {shown(name)}")
    if re.search(r"[&;?=]", socket):
        raise UriRefused("the only parameter accepted here is socket=, once, with a plain path")
    if not socket.startswith("/") or ".." in socket.split("/"):
        raise UriRefused("the parameter socket= needs an absolute path without '..'")
    if len(socket) > MAX_SOCKET_PATH_LENGTH:
        raise UriRefused(f"a socket's path has at most {MAX_SOCKET_PATH_LENGTH} characters")
    return LocalUri(scheme, socket)


def _refuse_query(text: str) -> None:
    if "#" in text:
        raise UriRefused("a URI with a fragment ('#') is not accepted")
    _, question, query = text.partition("?")
    if not question:
        return
    first = re.split(r"[&;=]", query, maxsplit=1)[0]
    if not _PARAMETER_NAME.match(first):
        raise UriRefused("a URI with a query ('?') is not accepted")
    danger = _PARAMETER_DANGER.get(first.lower(), "pmigd does not pass parameters to libvirt")
    raise UriRefused(f"the parameter {first}= is not accepted: {danger}")


def _split_peer(untrusted_text: str, what: str) -> tuple[str, str, str]:
    """Scheme, authority and path of a peer URI or a pattern for one."""
    text = plain(untrusted_text, what)
    if _ALIAS.match(text):
        raise UriRefused(
            f"{shown(text)} is a bare word; libvirt would look it up as an alias in libvirt.conf, "
            "so write the whole URI, as in qemu+tls://HOST/system"
        )
    _refuse_query(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise UriRefused(f"a {what} must read SCHEME://HOST/system")
    if scheme == "qemu":
        scheme = "qemu+tls"
    if scheme == "qemu+unix":
        raise UriRefused("qemu+unix is not accepted for a peer: it reaches only this host")
    if scheme not in PEER_SCHEMES:
        raise UriRefused(
            f"the scheme {shown(scheme)} is not accepted; use one of {', '.join(PEER_SCHEMES)}"
        )
    authority, slash, path = rest.partition("/")
    if not authority:
        raise UriRefused(f"the {what} has no host")
    if slash + path != "/system":
        raise UriRefused(f"the path must be exactly /system, not {shown(slash + path)}")
    return scheme, authority, slash + path


def _split_host(authority: str) -> tuple[str, str | None]:
    """Host and port of an authority whose user was taken already."""
    user, host, port = split_authority(authority)
    if user is not None:
        raise UriRefused("there is more than one '@' before the host")
    return host, port


def _take_user(untrusted_text: str) -> tuple[str | None, str]:
    """The user of a peer's URI, and the text without it.

    There, and only there, percent-encoding is understood, for libvirt wants some users so:
    ``CORP%5Cuser``; one written plainly is the same user.
    """
    if not isinstance(untrusted_text, str):
        raise UriRefused("a URI must be text")
    found = _USER_BEFORE_HOST.match(untrusted_text)
    if found is None:
        return None, untrusted_text
    user = _ENCODED.sub(lambda code: chr(int(code[1], 16)), found[2])
    if ":" in user:
        # The text after the colon may be a secret: it is not repeated.
        raise UriRefused("a password is not accepted in a URI")
    return user, found[1] + untrusted_text[found.end() :]


def _require_user(user: str | None, scheme: str) -> None:
    if user is None:
        return
    if scheme != "qemu+ssh":
        raise UriRefused(f"a user is accepted only with qemu+ssh, not with {scheme}")
    if not _USER.match(user):
        raise UriRefused(f"{shown(user)} is not a valid user name")


def _host_pattern(text: str) -> str:
    host = text.lower()
    if host.startswith("["):
        raise UriRefused("'*' is not accepted inside an IPv6 address")
    if "**" in host:
        raise UriRefused("'**' is not accepted: one '*' as a whole label matches several labels")
    check_labels(host, _PATTERN_LABEL)
    return host


def _host_matches(pattern: str, host: str) -> bool:
    if "*" not in pattern:
        return pattern == host
    if pattern == "*":
        return True
    if ":" in host:  # an IPv6 address has no labels to match
        return False
    labels = host.split(".")
    # Where in the host the pattern read so far can end.  Positions instead of a regular
    # expression, whose backtracking would grow without bound with the number of stars.
    ends = {0}
    for wanted in pattern.split("."):
        if wanted == "*":
            ends = set(range(min(ends) + 1, len(labels) + 1))
        else:
            ends = {end + 1 for end in ends if _label_matches(wanted, labels[end : end + 1])}
        if not ends:
            return False
    return len(labels) in ends


def _label_matches(wanted: str, label: list[str]) -> bool:
    """Whether the one label there is (none at the host's end) fits, ``*`` being any part of it."""
    if not label:
        return False
    text = label[0]
    ends = {0}
    for character in wanted:
        if character == "*":
            ends = set(range(min(ends), len(text) + 1))
        else:
            ends = {end + 1 for end in ends if text[end : end + 1] == character}
        if not ends:
            return False
    return len(text) in ends


def _peer_text(scheme: str, user: str | None, host: str, port: int | None, path: str) -> str:
    written = None if user is None else "".join(map(_in_user, user))
    return f"{scheme}://{authority_text(written, host, port)}{path}"


def _in_user(character: str) -> str:
    """A character of a user name as libvirt reads it in a URI."""
    plain = character.isalnum() or character in _PLAIN_IN_USER
    return character if plain else f"%{ord(character):02X}"
