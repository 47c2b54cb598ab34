"""What a check found: the same shape for conflicts, versions and the state of the hosts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from pmigd.core.problem import Code, FieldError, Problem


class Level(StrEnum):
    """What a finding does to a migration."""

    BLOCK = "block"  # it is not started
    WARN = "warn"  # it is started, and may go badly
    INFO = "info"


class Origin(StrEnum):
    """How it is known. Only what pmigd concludes from its own looks can be wrong."""

    RULE = "rule"  # what was asked for, or configured, makes no sense
    LIBVIRT = "libvirt"  # libvirt refused it, or told of something that it refuses for
    LOOK = "look"  # pmigd looked, and libvirt has still to say


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. `field` names the request field that it is about, if any.

    `problem` is what a migration fails with that nothing else keeps from starting.
    """

    code: str
    level: Level
    detail: str
    remedy: str
    field: str | None = None
    problem: Code = Code.CHECK_FAILED
    origin: Origin = Origin.RULE


def from_problem(problem: Problem, field: str | None = None) -> Finding:
    """A problem as the finding that blocks."""
    return Finding(
        str(problem.code),
        Level.BLOCK,
        problem.detail,
        problem.remedy,
        field,
        problem.code,
        Origin.LIBVIRT,
    )


def anyway(findings: list[Finding]) -> list[Finding]:
    """The findings where an administrator wants to start in spite of what pmigd itself looked at.

    libvirt then decides; what it has said already stays.
    """
    return [
        replace(
            finding,
            level=Level.WARN,
            detail=f"{finding.detail} 'start_anyway' lets it start all the same.",
        )
        if finding.level is Level.BLOCK and finding.origin is Origin.LOOK
        else finding
        for finding in findings
    ]


def blocking(findings: list[Finding], code: Code | None = None) -> Problem | None:
    """The findings that block as one problem, or None if none does.

    Its code is `code`, or else what all of them agree on.
    """
    found = [finding for finding in findings if finding.level is Level.BLOCK]
    if not found:
        return None
    if code is None:
        codes = {finding.problem for finding in found}
        code = codes.pop() if len(codes) == 1 else Code.CHECK_FAILED
    detail = " ".join(finding.detail for finding in found)
    return Problem(
        code,
        detail,
        tuple(FieldError(f.field or f.code, f"{f.detail} {f.remedy}".strip()) for f in found),
    )
