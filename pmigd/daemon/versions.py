"""Which libvirt and QEMU the peers run, and what is known to be broken between here and there.

Their libvirt is asked, which is what migrations meet; the answer is good for a while, so that
listing the peers stays cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pmigd.adapters.tasks import Tasks
from pmigd.core.defects import present
from pmigd.core.facts import HostFacts, Question
from pmigd.core.model import Domain, Target
from pmigd.core.ports import Hypervisor
from pmigd.core.problem import Refused
from pmigd.wire.host import KnownDefect

ASK_DEADLINE_S: Final = 3.0
WAIT_S: Final = 0.5
"""A peer that takes longer is told of in the next list: nobody waits for one that is away."""
GOOD_FOR_S: Final = 600.0
AWAY_FOR_S: Final = 10.0
"""So long one that did not answer is not asked again."""

_SIDES: Final[tuple[Literal["source", "destination"], ...]] = ("source", "destination")
_NOBODY: Final = Question(Domain("", ""))
"""About no guest: only who answers."""


@dataclass(eq=False)
class Versions:
    """What the peers' libvirt said last."""

    hypervisor: Hypervisor
    mono: Callable[[], float]
    tasks: Tasks
    _known: dict[str, tuple[float, HostFacts | None]] = field(default_factory=dict)
    _asking: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def of(self, targets: Iterable[Target]) -> dict[str, HostFacts]:
        """By the peers' names, those that answer soon or did lately; all are asked at once."""
        asked = list(targets)
        if asking := [self._begun(target) for target in asked if self._is_due(target)]:
            await asyncio.wait(asking, timeout=WAIT_S)
        known = {target.name: self._known.get(target.uri) for target in asked}
        return {name: last[1] for name, last in known.items() if last and last[1] is not None}

    def _is_due(self, target: Target) -> bool:
        at, facts = self._known.get(target.uri, (-math.inf, None))
        return self.mono() - at >= (AWAY_FOR_S if facts is None else GOOD_FOR_S)

    def _begun(self, target: Target) -> asyncio.Task[None]:
        if target.uri not in self._asking:
            asking = self.tasks.begun("version of a peer", lambda: self._ask(target))
            self._asking[target.uri] = asking
            asking.add_done_callback(lambda _: self._asking.pop(target.uri))
        return self._asking[target.uri]

    async def _ask(self, target: Target) -> None:
        facts = None
        with contextlib.suppress(Refused, TimeoutError):
            async with asyncio.timeout(ASK_DEADLINE_S):
                facts = (await self.hypervisor.inspect_peer(target, _NOBODY)).host
        self._known[target.uri] = (self.mono(), facts)

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
