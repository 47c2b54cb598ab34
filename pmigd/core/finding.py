"""What a check can find: a closed set of codes, each with one row of all that is fixed for it.

The rows stand beside the rules that find them: in the rooms of :mod:`pmigd.core.checks` and in the
tables of conflicts, versions, defects and named things. :mod:`pmigd.core.findings` has them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

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


_PROBLEMS: Final = frozenset(str(code) for code in Code)


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What is fixed for one code. A code never changes its meaning.

    `title` says what it means, in a sentence. `level` is what it is where that is sure; `unsure`:
    where it is not, it only warns. `remedy` is for readers of the API: it writes a request's
    fields as ``'tls'`` or ``'copy_storage': 'all'``, which pmigctl says in its own words, and
    ``{name}`` for what a finding fills in. `field` is the request field that it is about, if any.
    `mended`: a hook of the destination's libvirt may still put it right when the guest comes.
    `problem` is what a migration fails with that nothing else keeps from starting; without one it
    is the problem of the same name, if there is one.
    """

    code: str
    title: str
    level: Level
    origin: Origin
    field: str | None
    remedy: str
    unsure: bool = False
    mended: bool = False
    problem: Code | None = None

    def found(
        self,
        detail: str,
        *,
        sure: bool = True,
        field: str | None = None,
        mended: bool | None = None,
        **values: object,
    ) -> Finding:
        """One occurrence. `values` are what the remedy leaves open."""
        return Finding(
            self,
            self.level if sure else Level.WARN,
            detail,
            self.remedy.format(**values) if values else self.remedy,
            field or self.field,
            self.mended if mended is None else mended,
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. `detail` is a sentence for people and may quote libvirt."""

    kind: FindingKind
    level: Level
    detail: str
    remedy: str
    field: str | None
    mended: bool = False

    @property
    def code(self) -> str:
        """Which of the closed set it is."""
        return self.kind.code

    @property
    def problem(self) -> Code:
        """What a migration fails with for this alone."""
        kind = self.kind
        if kind.problem is not None:
            return kind.problem
        return Code(kind.code) if kind.code in _PROBLEMS else Code.CHECK_FAILED


def of_problem(code: Code, field: str | None = None) -> FindingKind:
    """A problem that is known beforehand: a finding of the same name, which libvirt told."""
    kind = code.kind
    return FindingKind(
        str(code), f"{kind.title}.", Level.BLOCK, Origin.LIBVIRT, field, kind.remedy, problem=code
    )


def from_problem(problem: Problem, field: str | None = None) -> Finding:
    """A problem as the finding that blocks."""
    return of_problem(problem.code, field).found(problem.detail)


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
        if finding.level is Level.BLOCK and finding.kind.origin is Origin.LOOK
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
