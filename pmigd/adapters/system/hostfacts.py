"""Looks at this host for what only it can see: its qemu.conf, ports, files, devices and clock.

Reads only, and never connects to a port: a QEMU that waits for a migration would take the first
connection for it. Blocks on the disk and, for names, on the resolver. Every look stands alone; one
that fails is named in ``unknown``, as is what pmigd does not see as libvirt does (see
:mod:`pmigd.adapters.system.view`).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pmigd.adapters.system import libvirtconf
from pmigd.adapters.system.libvirtconf import Value
from pmigd.adapters.system.named import lacking
from pmigd.adapters.system.network import is_ours
from pmigd.adapters.system.view import Sight, State, View, whole
from pmigd.adapters.x509 import expires
from pmigd.core.facts import Leads, LocalFacts, Question, TlsFiles, Userfaultfd

T = TypeVar("T")

QEMU_CONF: Final = Path("/etc/libvirt/qemu.conf")
HOOK: Final = Path("/etc/libvirt/hooks/qemu")
"""And what is executable in qemu.d beside it, since libvirt 6.5."""
QEMU_USER: Final = "libvirt-qemu"
PORTS: Final = (49152, 49215)
TLS_DIRECTORY: Final = "/etc/pki/qemu"
MIGRATE_TLS_DIRECTORY: Final = "/etc/pki/libvirt-migrate"
"""Taken instead if it exists and qemu.conf names no directory."""

_LISTENING: Final = "0A"
_MEMINFO: Final = re.compile(r"^(MemTotal|SwapTotal): +(\d+) kB$", re.MULTILINE)
_OVERCOMMITS_ALL: Final = "1"


def look(
    question: Question,
    utc_now: datetime,
    *,
    arriving: bool,
    qemu_conf: Path = QEMU_CONF,
    hook: Path = HOOK,
    view: View | None = None,
) -> LocalFacts:
    """This host, as far as `question` is about it.

    `arriving`: it is the destination; otherwise its ports, of which nobody needs any, are left
    alone, for the kernel's list of them is slow. `view` is what pmigd sees beside what libvirt
    does; by default the same.
    """
    unknown: list[str] = []
    view = view or whole()
    nothing: dict[str, Value] = {}

    def attempt(what: str, function: Callable[[], T], otherwise: T) -> T:
        try:
            return function()
        except (OSError, ValueError) as error:
            unknown.append(f"{what} ({error})")
            return otherwise

    conf = attempt("qemu.conf", lambda: libvirtconf.read(qemu_conf), nothing)
    first = _number(conf, "migration_port_min", PORTS[0])
    last = _number(conf, "migration_port_max", PORTS[1])
    asked = {*range(first, last + 1), *question.ports}
    directory = _tls_directory(conf)
    paths = view.look(question.paths)
    unseen = {path: sight for path, sight in paths.items() if sight.state is State.UNSEEN}
    unknown += [f"{path} ({sight.why})" for path, sight in unseen.items()]
    wants = question.wants
    return LocalFacts(
        utc=utc_now,
        qemu_user=_text(conf, "user") or QEMU_USER,
        migration_host=_text(conf, "migration_host"),
        migration_ports=(first, last),
        busy_ports=attempt("ports", lambda: _listening(asked), ()) if arriving else (),
        tls_forced=bool(_number(conf, "migrate_tls_force", 0)),
        tls_verifies_clients=bool(
            _number(conf, "migrate_tls_x509_verify", _number(conf, "default_tls_x509_verify", 1))
        ),
        tls_client=attempt("TLS files", lambda: _tls_files(view, directory, "client"), TlsFiles()),
        tls_server=attempt("TLS files", lambda: _tls_files(view, directory, "server"), TlsFiles()),
        userfaultfd=attempt("userfaultfd", lambda: _userfaultfd(view), Userfaultfd.EVERYBODY),
        memory_limit_bytes=attempt("memory", _memory_limit, None),
        paths_missing=tuple(path for path in paths if paths[path].state is State.MISSING),
        paths_unseen=tuple(unseen),
        hooks=attempt("hooks", lambda: _hooks(view, hook), ()) if arriving else (),
        filesystems=_filesystems(paths, conf.get("shared_filesystems", [])),
        lacks=attempt("addresses", lambda: lacking(wants.named, arriving=arriving), ())
        if wants is not None
        else (),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def certificates_end(qemu_conf: Path = QEMU_CONF) -> datetime | None:
    """When the first of the certificates ends that QEMU shows when guests move with TLS.

    None where it has none. Raises OSError or ValueError where one cannot be read.
    """
    directory = _tls_directory(libvirtconf.read(qemu_conf))
    files = [directory / f"{role}-cert.pem" for role in ("client", "server")]
    return min((expires(file) for file in files if file.exists()), default=None)


def where_leads(host: str) -> Leads:
    """Where a name leads to from this host. Blocks on the resolver."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return Leads.NOWHERE
    ours = all(is_ours(family, address) for family, _, _, _, address in found)
    return Leads.HERE if ours else Leads.ELSEWHERE


def _text(conf: dict[str, Value], name: str) -> str:
    value = conf.get(name, "")
    return value if isinstance(value, str) else ""


def _number(conf: dict[str, Value], name: str, default: int) -> int:
    value = conf.get(name, default)
    return value if isinstance(value, int) else default


def _tls_directory(conf: dict[str, Value]) -> Path:
    named = _text(conf, "migrate_tls_x509_cert_dir")
    if named:
        return Path(named)
    own = Path(MIGRATE_TLS_DIRECTORY)
    if own.exists():
        return own
    return Path(_text(conf, "default_tls_x509_cert_dir") or TLS_DIRECTORY)


def _tls_files(view: View, directory: Path, role: str) -> TlsFiles:
    names = ("ca-cert.pem", f"{role}-cert.pem", f"{role}-key.pem")
    there = {name: _is_there(view, str(directory / name)) for name in names}
    expiries = [expires(directory / name) for name in names if there[name] and "cert" in name]
    missing = tuple(name for name in names if not there[name])
    return TlsFiles(str(directory), missing, min(expiries, default=None))


def _is_there(view: View, path: str) -> bool:
    """Raises OSError where that cannot be seen."""
    sight = view.look([path])[path]
    if sight.state is State.UNSEEN:
        raise OSError(sight.why)
    return sight.state is State.THERE


def _listening(asked: Iterable[int]) -> tuple[int, ...]:
    """Which TCP ports have a listener, on whatever address."""
    busy = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                _slot, local, _remote, state = line.split()[:4]
                if state == _LISTENING:
                    busy.add(int(local.rpartition(":")[2], 16))
    return tuple(sorted(busy & set(asked)))


def _hooks(view: View, hook: Path) -> tuple[str, ...]:
    """Those that libvirt runs. By their mode: pmigd, without root's powers, may not run all."""
    folder = hook.with_name(f"{hook.name}.d")
    files = [hook, *(sorted(folder.iterdir()) if _is_there(view, str(folder)) else ())]
    return tuple(
        str(file)
        for file in files
        if _is_there(view, str(file)) and file.is_file() and file.stat().st_mode & 0o111
    )


def _userfaultfd(view: View) -> Userfaultfd:
    try:
        anybody = Path("/proc/sys/vm/unprivileged_userfaultfd").read_text(encoding="ascii")
    except FileNotFoundError:
        return Userfaultfd.NOBODY  # a kernel without it has no such setting
    if anybody.strip() == "1":
        return Userfaultfd.EVERYBODY
    return Userfaultfd.DEVICE if _is_there(view, "/dev/userfaultfd") else Userfaultfd.ROOT


def _memory_limit() -> int | None:
    """RAM and swap: by default the kernel refuses a mapping that is larger."""
    overcommit = Path("/proc/sys/vm/overcommit_memory").read_text(encoding="ascii").strip()
    if overcommit == _OVERCOMMITS_ALL:
        return None
    sizes = _MEMINFO.findall(Path("/proc/meminfo").read_text(encoding="ascii"))
    return sum(int(kib) * 1024 for _name, kib in sizes)


def _filesystems(paths: Mapping[str, Sight], shared: Value) -> tuple[tuple[str, str], ...]:
    """The type of the file system that each path is on, as far as it is seen.

    libvirt (10.8 and newer) takes what is below the `shared` directories for shared.
    """
    believed = [Path(path) for path in shared] if isinstance(shared, list) else []
    return tuple(
        (
            path,
            "shared"
            if any(Path(sight.real).is_relative_to(directory) for directory in believed)
            else sight.filesystem,
        )
        for path, sight in paths.items()
        if sight.filesystem
    )
