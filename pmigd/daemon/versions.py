"""Which libvirt and QEMU the peers run, and what is known to be broken between here and there.

Their libvirt is asked, which is what migrations meet; the answer is good for a while, so that
listing the peers stays cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pmigd.core.defects import present
from pmigd.core.facts import HostFacts, Question
from pmigd.core.model import Domain, Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Refused
from pmigd.wire.host import KnownDefect

ASK_DEADLINE_S: Final = 3.0
GOOD_FOR_S: Final = 600.0

_SIDES: Final[tuple[Literal["source", "destination"], ...]] = ("source", "destination")
_NOBODY: Final = Question(Domain("", ""))
"""About no guest: only who answers."""


@dataclass(eq=False)
class Versions:
    """What the peers' libvirt said last."""

    hypervisor: Hypervisor
    mono: Callable[[], float]
    _known: dict[str, tuple[float, HostFacts]] = field(default_factory=dict)

    async def of(self, targets: Iterable[Target]) -> dict[str, HostFacts]:
        """By the peers' names, those that could be asked now or were lately; all at once."""
        asked = list(targets)
        found = await asyncio.gather(*map(self._of, asked))
        return {t.name: facts for t, facts in zip(asked, found, strict=True) if facts is not None}

    async def _of(self, target: Target) -> HostFacts | None:
        at, facts = self._known.get(target.uri, (0.0, None))
        if facts is not None and self.mono() - at < GOOD_FOR_S:
            return facts
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                host = (await self.hypervisor.inspect_peer(target, _NOBODY)).host
        except (Refused, TimeoutError):
            self._known.pop(target.uri, None)
            return None
        self._known[target.uri] = (self.mono(), host)
        return host

    def told(self, there: HostFacts | None) -> dict[str, Any]:
        """A peer's versions, and what can hurt a migration from here to it, as clients see it."""
        if there is None:
            return {}
        return {
            "libvirt_version": there.libvirt_version,
            "hypervisor_version": there.hypervisor_version,
            "defects": tuple(
                KnownDefect(
                    code=found.finding.code,
                    level=found.finding.level.value,
                    sides=tuple(side for side in _SIDES if side in dict(found.where)),
                    detail=found.finding.detail,
                    remedy=found.finding.remedy,
                    field=found.finding.field,
                )
                for found in present(self.hypervisor.facts, there)
            ),
        }
