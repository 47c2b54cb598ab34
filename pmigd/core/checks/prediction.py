"""How long a migration takes at least, where that can be said without trying."""

from __future__ import annotations

from dataclasses import dataclass

from pmigd.core.checks.rules import BYTES_PER_MIB, copied
from pmigd.core.facts import GuestFacts
from pmigd.core.model import Request


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long the transfer takes if the guest writes nothing meanwhile; bytes and seconds."""

    memory_bytes: int
    disk_bytes: int
    seconds_at_least: float
    basis: str


def predict(request: Request, guest: GuestFacts | None) -> Prediction | None:
    """None unless the bandwidth is limited and the guest's memory in use is known."""
    if guest is None or guest.definition is None or guest.resident_bytes is None:
        return None
    if request.offline or request.compression is not None or not request.bandwidth_mib_s:
        return None
    memory = min(guest.resident_bytes, guest.definition.memory_bytes)
    allocated = dict(guest.allocated_bytes)
    disk = sum(
        allocated.get(disk.target, 0) for disk in guest.definition.disks if copied(request, disk)
    )
    return Prediction(
        memory,
        disk,
        round((memory + disk) / (request.bandwidth_mib_s * BYTES_PER_MIB), 1),
        f"memory in use now, zero pages included, and the copied disks' content, sent once at "
        f"{request.bandwidth_mib_s} MiB/s",
    )
