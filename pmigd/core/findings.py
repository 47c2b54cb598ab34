"""All findings there are, by code: the rooms of the checks and the tables, in one registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pmigd.core import autostart, checks, conflicts, defects, request_check, versions
from pmigd.core.finding import FindingKind

SOURCES: Final[tuple[tuple[str, tuple[FindingKind, ...]], ...]] = (
    ("What is asked for", (*request_check.KINDS, *conflicts.KINDS)),
    ("The versions of the hosts", versions.KINDS),
    ("Known defects by version", defects.KINDS),
    ("The guest, the hosts and the way between them", checks.KINDS),
    ("Autostart", autostart.KINDS),
)
"""Where findings come from, in the order in which people read them. No code is in two of them."""


def registry(kinds: Iterable[FindingKind]) -> dict[str, FindingKind]:
    """By code. Raises ValueError where two rows say different things about one."""
    found: dict[str, FindingKind] = {}
    for kind in kinds:
        if found.setdefault(kind.code, kind) != kind:
            raise ValueError(f"the finding {kind.code} has two rows")
    return found


FINDINGS: Final[dict[str, FindingKind]] = registry(kind for _, kinds in SOURCES for kind in kinds)
