"""Decide what a well-typed config may still not say.

The types are msgspec's business (``pmigd.schema``); here are the rules about what a value means
and how values fit together.  Every rule runs on its own and yields all it finds.  Pure: no
file, socket, user database or clock is touched, so a config can be checked on another machine.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pmigd.config.schema import Config
from pmigd.core.address import UriRefused, is_loopback, parse_allowed_name, parse_listen_address
from pmigd.core.uri import (
    MAX_SOCKET_PATH_LENGTH,
    LocalUri,
    PeerUri,
    parse_collector_url,
    parse_configured_peer,
    parse_local_uri,
    parse_migrate_uri,
    parse_pmigd_url,
    parse_uri_pattern,
)
from pmigd.schema.validate import Path, field_path

_LIBVIRT_SOCKET: Final = "/run/libvirt/libvirt-sock"
_PEER_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")
_ACCOUNT = re.compile(r"[^\s\x00-\x1f\x7f:,@/-][^\s\x00-\x1f\x7f:,/]{0,255}\Z")
_MODE = re.compile(r"0?[0-7]{3}\Z")
_OWNER_RW: Final = 0o600
_OTHERS_WRITE: Final = 0o002


@dataclass(frozen=True, slots=True)
class Violation:
    """A value that is of the right type and still not accepted.

    ``path`` is where it stands, ``accepted`` "" where the field's own description says it.
    """

    path: Path
    value: object
    message: str
    accepted: str = ""


def violations(config: Config) -> Iterator[Violation]:
    """Yield every rule that the config breaks.  ``daemon.name`` must already be filled in."""
    yield from _daemon(config)
    yield from _api(config)
    yield from _addresses(config)
    yield from _peer(config)
    yield from _peers(config)


def _daemon(config: Config) -> Iterator[Violation]:
    yield from _absolute(("daemon", "state_dir"), config.daemon.state_dir)
    yield from _parsed(("libvirt", "uri"), config.libvirt.uri, parse_local_uri)
    if config.limits.libvirtd_conf:
        yield from _absolute(("limits", "libvirtd_conf"), config.limits.libvirtd_conf)


def _api(config: Config) -> Iterator[Violation]:
    api = config.api
    path: Path = ("api", "socket")
    yield from _absolute(path, api.socket)
    if len(api.socket.encode(errors="replace")) > MAX_SOCKET_PATH_LENGTH:
        yield Violation(
            path, api.socket, f"a socket's path has at most {MAX_SOCKET_PATH_LENGTH} bytes"
        )
    path = ("api", "mode")
    if not _MODE.match(api.mode):
        yield Violation(path, api.mode, "is not a file mode in octal digits")
    elif api.mode_bits & _OTHERS_WRITE:
        yield Violation(path, api.mode, "would let every user of this host connect")
    elif api.mode_bits & _OWNER_RW != _OWNER_RW:
        yield Violation(path, api.mode, "would keep pmigd's own user from connecting")
    if api.group and not _ACCOUNT.match(api.group):
        yield Violation(("api", "group"), api.group, "is not a group name")
    for role in ("admin", "operator", "viewer"):
        for index, entry in enumerate(getattr(api.roles, role)):
            if not _ACCOUNT.match(entry.removeprefix("@")):
                message = 'is neither a user name nor a group name with "@" before it'
                yield Violation(("api", "roles", role, index), entry, message)


def _addresses(config: Config) -> Iterator[Violation]:
    seen = set()
    for index, text in enumerate(config.metrics.listen):
        path: Path = ("metrics", "listen", index)
        faults = list(_parsed(path, text, parse_listen_address))
        yield from faults
        if not faults:
            address = parse_listen_address(text)
            if address in seen and address.port:
                yield Violation(path, text, "is there twice")
            seen.add(address)
    if config.metrics.web_config:
        yield from _absolute(("metrics", "web_config"), config.metrics.web_config)
    if config.tracing.endpoint:
        yield from _parsed(("tracing", "endpoint"), config.tracing.endpoint, parse_collector_url)
    if config.metrics.textfile:
        path = ("metrics", "textfile")
        yield from _absolute(path, config.metrics.textfile)
        if not config.metrics.textfile.endswith(".prom"):
            message = "does not end in .prom: node_exporter would not read it"
            yield Violation(path, config.metrics.textfile, message)
    for index, text in enumerate(config.security.allow_uris):
        yield from _parsed(("security", "allow_uris", index), text, parse_uri_pattern)


def _peer(config: Config) -> Iterator[Violation]:
    peer = config.peer
    if peer.listen:
        yield from _parsed(("peer", "listen"), peer.listen, parse_listen_address)
    for file in ("ca", "cert", "key", "client_cert", "client_key"):
        yield from _absolute(("peer", file), getattr(peer, file))
    for index, text in enumerate(peer.allowed_names):
        yield from _parsed(("peer", "allowed_names", index), text, parse_allowed_name)


def _peers(config: Config) -> Iterator[Violation]:
    own = config.daemon.name.lower()
    first_with: dict[str, str] = {}
    first_url: dict[str, str] = {}
    for name, peer in config.peers.items():
        if not _PEER_NAME.match(name):
            yield Violation(
                ("peers", name),
                name,
                "is not a valid name for a peer",
                "lower-case letters, digits, '.' and '-', at most 63 characters,"
                " beginning with a letter or a digit",
            )
        if name.lower() == own:
            message = "has the name of this host (daemon.name); a host is not its own peer"
            yield Violation(("peers", name), name, message, "the name of another host")
        path: Path = ("peers", name, "uri")
        try:
            uri = parse_configured_peer(peer.uri)
        except UriRefused as refused:
            yield Violation(path, peer.uri, refused.reason)
        else:
            if _is_own(uri, own, config.libvirt.uri):
                message = "is this host; a guest cannot be migrated to where it runs"
                yield Violation(path, peer.uri, message, "the URI of another host")
            elif uri.text in first_with:
                # Two names for one host would be counted as two hosts.
                other = field_path(("peers", first_with[uri.text]))
                message = f"is also the uri of {other}"
                yield Violation(path, peer.uri, message, "each peer once")
            else:
                first_with[uri.text] = name
        if peer.migrate_uri:
            yield from _migrate_uri(("peers", name, "migrate_uri"), peer.migrate_uri)
        if peer.pmigd:
            yield from _pmigd(name, peer.pmigd, own, first_url)


def _pmigd(name: str, text: str, own_name: str, first: dict[str, str]) -> Iterator[Violation]:
    path: Path = ("peers", name, "pmigd")
    try:
        url = parse_pmigd_url(text)
    except UriRefused as refused:
        yield Violation(path, text, refused.reason)
        return
    if is_loopback(url.host) or url.host == own_name:
        yield Violation(path, text, "is this host; a host is not its own peer")
    elif url.text in first:
        other = field_path(("peers", first[url.text], "pmigd"))
        yield Violation(path, text, f"is also {other}", "each peer's own")
    else:
        first[url.text] = name


def _is_own(uri: PeerUri | LocalUri, own_name: str, own_libvirt: str) -> bool:
    """Whether a peer's URI is this host's own libvirt."""
    if isinstance(uri, PeerUri):
        return is_loopback(uri.host) or uri.host == own_name
    try:
        own_socket = parse_local_uri(own_libvirt).socket
    except UriRefused:
        own_socket = None  # told elsewhere
    return uri.socket in (own_socket or _LIBVIRT_SOCKET, own_socket)


def _migrate_uri(path: Path, text: str) -> Iterator[Violation]:
    faults = list(_parsed(path, text, parse_migrate_uri))
    yield from faults
    if not faults and is_loopback(parse_migrate_uri(text).host):
        yield Violation(path, text, "is this host; memory would be sent to where it is")


def _parsed(path: Path, text: str, parse: Callable[[str], object]) -> Iterator[Violation]:
    try:
        parse(text)
    except UriRefused as refused:
        yield Violation(path, text, refused.reason)


def _absolute(path: Path, text: str) -> Iterator[Violation]:
    if not text.startswith("/") or text.endswith("/"):
        yield Violation(path, text, "is not an absolute path")
    elif ".." in text.split("/") or not text.isprintable():
        yield Violation(path, text, "holds '..' or a character that cannot be printed")
