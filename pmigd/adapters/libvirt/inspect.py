"""Looks at a host through its libvirt daemon: can it take this guest?

One function over one connection, so that the source can ask the destination, the destination
itself, and, as a control, the source itself. Reads only. Every look stands alone: one that fails
is named in ``unknown`` and hides no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

import libvirt

from pmigd.adapters.libvirt.autostart import flag_of
from pmigd.adapters.libvirt.definition import parse
from pmigd.adapters.libvirt.failures import words_of
from pmigd.adapters.libvirt.named import is_missing, models_lacking, to_look_up
from pmigd.adapters.libvirt.translate import power_of
from pmigd.core.facts import Definition, DestinationFacts, HostFacts, ImageFacts, Question
from pmigd.core.model import Power, View
from pmigd.core.named import Named

T = TypeVar("T")

_NOT_THERE: Final = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
    }
)
_ALL_CELLS: Final = -1
_KIB: Final = 1024
_NOTHING: Final[dict[str, Any]] = {}


def inspect(connection: libvirt.virConnect, question: Question) -> DestinationFacts:
    """Everything that the daemon can say to `question`.

    Raises libvirtError only if the daemon does not say who it is.
    """
    host = host_facts(connection)
    look = _Looks()
    found: dict[str, Any] = {}
    if question.domain.uuid:
        found |= look("the domain", lambda: _identity(connection, question), _NOTHING)
    wants = question.wants
    if wants is not None:
        found |= look("the machine type", lambda: _machine(connection, wants), _NOTHING)
        found |= look("memory", lambda: _memory(connection, wants), _NOTHING)
        images = (
            look(f"image {path}", partial(_image, connection, path), None)
            for path in question.images
        )
        found["images"] = tuple(image for image in images if image is not None)
        found["lacks"] = found.get("lacks", ()) + tuple(
            thing
            for thing in to_look_up(wants.named)
            if look(_words(thing), partial(is_missing, connection, thing), False)
        )
    return DestinationFacts(host=host, unknown=tuple(look.failed), **found)


def _words(thing: Named) -> str:
    return f"{thing.kind.replace('_', ' ')} {thing.name}"


def host_facts(connection: libvirt.virConnect) -> HostFacts:
    """Who the daemon is."""
    return HostFacts(
        hostname=connection.getHostname(),
        host_uuid=parse(connection.getCapabilities()).findtext("host/uuid") or "",
        libvirt_version=_version(connection.getLibVersion()),
        hypervisor=connection.getType(),
        hypervisor_version=_version(connection.getVersion()),
    )


class _Looks:
    """Takes looks and remembers which of them failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def __call__(self, what: str, function: Callable[[], T], otherwise: T) -> T:
        try:
            return function()
        except libvirt.libvirtError as error:
            self.failed.append(f"{what} ({words_of(error)})")
            return otherwise


def _identity(connection: libvirt.virConnect, question: Question) -> dict[str, Any]:
    found: dict[str, Any] = {"view": View(Power.ABSENT)}
    same = _lookup(lambda: connection.lookupByUUIDString(question.domain.uuid))
    if same is not None:
        power, because = power_of(*same.state(0)[:2])
        persistent = bool(same.isPersistent())
        found = {
            "view": View(power, because, persistent=persistent),
            "known_as": same.name(),
            "autostart": flag_of(same),
        }
    namesake = _lookup(lambda: connection.lookupByName(question.name))
    if namesake is not None and namesake.UUIDString() != question.domain.uuid:
        found["name_taken_by"] = namesake.UUIDString()
    return found


def _lookup(function: Callable[[], T]) -> T | None:
    """What is looked up, or None if the daemon says that it has no such thing."""
    try:
        return function()
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NOT_THERE:
            return None
        raise


def _machine(connection: libvirt.virConnect, wants: Definition) -> dict[str, Any]:
    """Whether the emulator is there and has the machine, and then whether the CPU goes with it."""
    which = (wants.emulator or None, wants.arch, wants.machine, wants.virt_type)
    try:
        capabilities = connection.getDomainCapabilities(*which, 0)
    except libvirt.libvirtError as error:
        if error.get_error_domain() == libvirt.VIR_FROM_QEMU:
            return {"refuses_machine": words_of(error)}
        raise
    found: dict[str, Any] = {"lacks": tuple(models_lacking(wants.named, parse(capabilities)))}
    if not wants.cpu_xml:
        return found
    try:
        connection.compareHypervisorCPU(
            *which, wants.cpu_xml, libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
        )
    except libvirt.libvirtError as error:
        if error.get_error_domain() == libvirt.VIR_FROM_CPU:
            return found | {"refuses_cpu": words_of(error)}
        raise
    return found


def _memory(connection: libvirt.virConnect, wants: Definition) -> dict[str, Any]:
    stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
    found: dict[str, Any] = {
        "memory_total_bytes": stats["total"] * _KIB,
        "memory_available_bytes": _KIB
        * sum(stats.get(name, 0) for name in ("free", "buffers", "cached")),
    }
    sizes = [size for size, _ in wants.hugepages if size]
    if sizes:
        pages = connection.getFreePages(sizes, _ALL_CELLS, 1)[_ALL_CELLS]
        found["free_hugepages"] = tuple(sorted(pages.items()))
    return found


def _image(connection: libvirt.virConnect, path: str) -> ImageFacts:
    """What the pools know of a path. Their lists are as old as their last refresh."""
    known = _lookup(lambda: connection.storageVolLookupByPath(path)) is not None
    directory = str(PurePosixPath(path).parent)
    pool = _lookup(lambda: connection.storagePoolLookupByTargetPath(directory))
    if pool is None:
        return ImageFacts(path, known)
    _state, _capacity, _allocation, available = pool.info()
    return ImageFacts(path, known, pool.name(), available)


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
