"""Every problem code, for people: made from the one table that the daemon answers from."""

from __future__ import annotations

from typing import Final

from pmigd.core.problem import Code, Fault

_HEAD: Final = """\
# Problems

Every error that leaves pmigd (an answer on the socket, the `problem` of a migration, a log line, a
metric's label) is one of these codes. Answers are `application/problem+json` (RFC 9457): `type`,
`title`, `status`, `detail`, `code`, `remedy`, `retryable`, and `errors` with every wrong field. A
name here never changes its meaning.

*Retry* says whether the same request may succeed later, unchanged. Generated from
`pmigd/core/problem.py`; `make docs` writes it again.
"""
_WHOSE: Final = {
    Fault.CALLER: "The request",
    Fault.SOURCE: "This host, its libvirt or its guest",
    Fault.DESTINATION: "The destination, or the way to it",
    Fault.PMIGD: "pmigd, or the machine under it",
    Fault.NOBODY: "Nobody: it was asked for",
}


def text() -> str:
    """The page, in Markdown."""
    lines = [_HEAD]
    for fault, whose in _WHOSE.items():
        lines += [f"## {whose}", "", "| code | status | retry | what it means | what to do |"]
        lines.append("|---|---|---|---|---|")
        lines += [_row(code) for code in Code if code.kind.fault is fault]
        lines.append("")
    return "\n".join(lines)


def _row(code: Code) -> str:
    kind = code.kind
    cells = (f"`{code}`", str(kind.status), "yes" if kind.retryable else "no", kind.title)
    return "| " + " | ".join((*cells, kind.remedy)) + " |"
