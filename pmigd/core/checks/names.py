"""What the guest's XML names and the destination lacks: by :data:`pmigd.core.named.KINDS`."""

from __future__ import annotations

from collections.abc import Iterator

from pmigd.core.checks.rules import Arriving, copied
from pmigd.core.finding import Finding
from pmigd.core.named import KINDS, Asked, Named


def lacking(at: Arriving) -> Iterator[Finding]:
    """One finding for each that is missing. Of a disk that is copied nothing has to be there."""
    exempt = {f"disk {d.target}" for d in at.wants.disks if d.optional or copied(at.request, d)}
    for thing in dict.fromkeys(at.wants.named):
        kind = KINDS.get(thing.kind)
        if kind is None or thing.by in exempt or not _lacks(at, thing, kind.asked):
            continue
        level_is_sure = kind.sure and (kind.asked is not Asked.EITHER or _trusted(at, thing))
        yield kind.finding.found(
            kind.detail.format(name=thing.name, by=thing.by), sure=level_is_sure, name=thing.name
        )


def _lacks(at: Arriving, thing: Named, asked: Asked) -> bool:
    match asked:
        case Asked.LIBVIRT:
            return thing in at.facts.lacks
        case Asked.PATH:
            return at.local is not None and thing.name in at.local.paths_missing
        case Asked.HOST:
            return at.local is not None and thing in at.local.lacks
        case Asked.EITHER:
            return thing in (at.facts if at.local is None else at.local).lacks


def _trusted(at: Arriving, thing: Named) -> bool:
    """Where libvirt here does not know what surely is here, libvirt there proves nothing."""
    control = at.there.control
    return at.local is not None or (control is not None and thing not in control.lacks)
