"""The way from one QEMU to the other: the destination's name, its ports, and QEMU's own TLS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from pmigd.core.checks.rules import Arriving, Rules, listed
from pmigd.core.facts import Leads, TlsFiles
from pmigd.core.finding import Finding, FindingKind, Level, Origin
from pmigd.core.model import CopyStorage, Request, Target, Transport
from pmigd.core.named import PORT_IN_USE

TLS_SOON: Final = timedelta(days=7)

NATIVE: Final[Rules[Arriving]] = Rules()


def goes_by_hostname(request: Request, target: Target) -> bool:
    """Whether the source is to connect to whatever the destination calls itself."""
    native = request.transport is Transport.NATIVE and not request.offline
    return native and not (request.migrate_uri or target.migrate_uri)


@NATIVE.rule(
    FindingKind(
        "destination_hostname",
        "What the destination calls itself does not lead to it from here.",
        Level.BLOCK,
        Origin.LOOK,
        "migrate_uri",
        "Correct its host name or what it resolves to, or give the peer a migrate_uri.",
        unsure=True,
    )
)
def _hostname(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """The destination tells the source its own host name, unless it is told what to say.

    Measured: "hostname on destination resolved to localhost, but migration requires an FQDN";
    "unable to connect to server at 'hostb:49153': Connection refused"; "Unable to resolve address".
    Its qemu.conf may name another (migration_host), which only its own pmigd sees.
    """
    if not goes_by_hostname(at.request, at.target):
        return
    if at.local is not None and at.local.migration_host:
        return
    name = at.facts.host.hostname
    if name.startswith("localhost"):
        detail = f"The destination calls itself '{name}'; the source could not reach it by that."
    elif at.there.leads is Leads.HERE:
        detail = f"The destination calls itself '{name}', which is an address of this host here."
    elif at.there.leads is Leads.NOWHERE:
        detail = f"The destination calls itself '{name}', which cannot be resolved here."
    else:
        return
    yield kind.found(detail, sure=at.local is not None)


@NATIVE.rule(PORT_IN_USE)
def _ports(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Measured: with a foreign listener on the port the memory goes to that, and nothing ends.

    Over IPv4 it is connected to instead of the guest's QEMU. With one on 'disks_port' not even an
    abort came through.
    """
    if at.local is None:
        return
    for port in at.question.ports:
        if port in at.local.busy_ports:
            yield kind.found(
                f"Something listens on port {port} of the destination already.",
                field="disks_port" if port == at.request.disks_port else "migrate_uri",
                mended=False,
            )


@NATIVE.rule(
    FindingKind(
        "no_free_port",
        "The destination has no port free for it in the range of its qemu.conf.",
        Level.BLOCK,
        Origin.LOOK,
        "destination",
        "Wait for other migrations, or widen migration_port_min and _max in its qemu.conf.",
    )
)
def _no_port(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    if at.local is None or at.question.ports:
        return
    first, last = at.local.migration_ports
    taken = sum(first <= port <= last for port in at.local.busy_ports)
    needs = 1 + (at.request.copy_storage is not CopyStorage.NONE)
    if last - first + 1 - taken < needs:
        yield kind.found(f"The destination has no free port for it between {first} and {last}.")


@NATIVE.rule(
    FindingKind(
        "tls_forced",
        "A host's qemu.conf has migrate_tls_force, and TLS is not asked for.",
        Level.BLOCK,
        Origin.LOOK,
        "tls",
        "Add 'tls'.",
    )
)
def _tls_forced(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """libvirt: "this libvirtd instance allows migration only with VIR_MIGRATE_TLS flag"."""
    hosts = (at.there.here, at.local)
    if not at.request.tls and any(host is not None and host.tls_forced for host in hosts):
        yield kind.found("One of the hosts has migrate_tls_force in its qemu.conf.")


_CERTIFICATES: Final = (
    "Put QEMU's certificates into {directory} of {host}; docs/migration.md has how."
)


def _tls_files(at: Arriving) -> Iterator[tuple[str, TlsFiles, datetime, tuple[str, ...]]]:
    """Whose certificates QEMU needs: the host, its files, its time, and which may be missing."""
    if not at.request.tls:
        return
    here, local = at.there.here, at.local
    if here is not None:
        optional: tuple[str, ...] = ("client-cert.pem", "client-key.pem")
        if local is not None and local.tls_verifies_clients:
            optional = ()
        yield "this host", here.tls_client, here.utc, optional
    if local is not None:
        yield "the destination", local.tls_server, local.utc, ()


@NATIVE.rule(
    FindingKind(
        "tls_not_set_up",
        "A host lacks the certificates that QEMU needs for TLS.",
        Level.BLOCK,
        Origin.LOOK,
        "tls",
        _CERTIFICATES,
        unsure=True,
    )
)
def _tls_missing(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    """Measured: without the certificate authority, or the server's certificate or key, "Unable to
    access credentials"; without the client's, the destination that verifies clients hangs up
    ("Cannot write to TLS channel").
    """
    for host, files, _now, optional in _tls_files(at):
        if files.missing:
            yield kind.found(
                f"{listed(files.missing)} missing in {files.directory} of {host}.",
                sure=any(name not in optional for name in files.missing),
                directory=files.directory,
                host=host,
            )


@NATIVE.rule(
    FindingKind(
        "tls_expired",
        "A certificate that QEMU needs for TLS has ended.",
        Level.BLOCK,
        Origin.LOOK,
        "tls",
        _CERTIFICATES,
    )
)
def _tls_expired(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    for host, files, now, _optional in _tls_files(at):
        if files.expires is not None and files.expires <= now:
            yield _ends(kind, host, files, "ended", files.expires)


@NATIVE.rule(
    FindingKind(
        "tls_expires_soon",
        "A certificate that QEMU needs for TLS ends within a week.",
        Level.WARN,
        Origin.LOOK,
        "tls",
        _CERTIFICATES,
    )
)
def _tls_expires_soon(kind: FindingKind, at: Arriving) -> Iterator[Finding]:
    for host, files, now, _optional in _tls_files(at):
        if files.expires is not None and now < files.expires < now + TLS_SOON:
            yield _ends(kind, host, files, "ends", files.expires)


def _ends(kind: FindingKind, host: str, files: TlsFiles, word: str, when: datetime) -> Finding:
    return kind.found(
        f"A certificate in {files.directory} of {host} {word} {when:%Y-%m-%d %H:%M} UTC.",
        directory=files.directory,
        host=host,
    )
