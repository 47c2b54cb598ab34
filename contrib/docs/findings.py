"""docs/findings.md: every finding of a check, each with an anchor: from the registry itself."""

from __future__ import annotations

import re
from typing import Final

from pmigd.cli.words import in_options
from pmigd.core.defects import DEFECTS, EVER, Defect, Side
from pmigd.core.finding import FindingKind, Level, Origin
from pmigd.core.findings import SOURCES
from pmigd.core.problem import Code
from pmigd.core.versions import text as version

_HEAD: Final = """\
# Findings

What a check can find: `pmigctl check`, `POST /v1/check`, and the checks before every start, which
end it with the problem of the same name, or with `check_failed`, if something blocks. The set is
closed, and a code never changes its meaning. A destination that cannot be asked is told by the code
of the [problem](problems.md).

A finding that *blocks* keeps the migration from starting, one that *warns* is logged when it
starts, *info* is good to know. *How it is known* says who may overrule it: what pmigd only looked
at itself becomes a warning with `start_anyway`, and what a hook of the destination's libvirt may
still mend becomes one where there is such a hook. Generated from the rows beside the rules (see
[architecture](architecture.md)); `make docs` writes it again.
"""
_LEVELS: Final = {Level.BLOCK: "blocks", Level.WARN: "warns", Level.INFO: "info"}
_ORIGINS: Final = {
    Origin.RULE: "from the request and the configuration alone",
    Origin.LIBVIRT: "libvirt said so, or refuses for what it said",
    Origin.LOOK: "pmigd looked; libvirt has still to say",
}


def text() -> str:
    """The page, in Markdown."""
    defects = {defect.kind: defect for defect in DEFECTS}
    lines = [_HEAD]
    for title, kinds in SOURCES:
        lines += [f"## {title}", ""]
        for kind in dict.fromkeys(kinds):
            lines += [*_entry(kind, defects.get(kind)), ""]
    return "\n".join(lines)


def _entry(kind: FindingKind, defect: Defect | None) -> list[str]:
    level = _LEVELS[kind.level] + (", or warns where that is not sure" if kind.unsure else "")
    facts = [level, _ORIGINS[kind.origin]]
    if kind.mended:
        facts.append("a hook of the destination may mend it")
    if kind.field is not None:
        facts.append(f"about `{kind.field}`")
    if kind.code in {str(code) for code in Code}:
        facts.append("alone it fails a migration with the [problem](problems.md) of this name")
    lines = [f"### {kind.code}", "", kind.title, "", f"*{'; '.join(facts)}.*", ""]
    if defect is not None:
        lines += [_where(defect), ""]
    remedy = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), kind.remedy)
    if defect is not None:
        remedy = remedy.replace("FIXED", version(defect.fixed))
    lines.append(f"What to do: {remedy}")
    if in_options(remedy) != remedy:
        lines += ["", f"With pmigctl: {in_options(remedy)}"]
    return lines


def _where(defect: Defect) -> str:
    side = "either host" if defect.side is Side.BOTH else f"the {defect.side}"
    since = "" if defect.since == EVER else f" from {version(defect.since)} on and"
    words = f"In {defect.software} of {side}{since} before {version(defect.fixed)}"
    if defect.only_from is not None:
        first, end = map(version, defect.only_from)
        words += f", with a source from {first} on and before {end}"
    return f"{words}."
