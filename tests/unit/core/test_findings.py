"""The registry of findings: a closed set, one row a code, words for both kinds of readers."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pmigd.core.finding import FindingKind, Level, Origin
from pmigd.core.findings import FINDINGS, SOURCES, registry
from pmigd.core.model import Request

ROOT = Path(__file__).parents[3]
FIELDS = {*Request.__dataclass_fields__, "destination"}
ROWS = pytest.mark.parametrize("kind", FINDINGS.values(), ids=lambda kind: kind.code)


@ROWS
def test_a_row_says_all_that_there_is_to_say(kind: FindingKind) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,60}", kind.code)
    assert kind.title.endswith(".")
    assert kind.remedy.endswith(".")
    assert kind.field is None or kind.field in FIELDS
    assert not (kind.unsure and kind.level is not Level.BLOCK)
    assert not (kind.mended and kind.level is not Level.BLOCK)


def test_a_code_has_one_row_and_one_source() -> None:
    codes = [code for _, kinds in SOURCES for code in {kind.code for kind in kinds}]
    assert sorted(codes) == sorted(FINDINGS)
    row = next(iter(FINDINGS.values()))
    with pytest.raises(ValueError, match="has two rows"):
        registry([row, replace(row, title="Something else.")])


def test_what_libvirt_refuses_itself_and_rules_no_administrator_overrides() -> None:
    by_origin = {
        origin: {k.code for k in FINDINGS.values() if k.origin is origin} for origin in Origin
    }
    assert {"snapshots", "same_host", "machine_unknown"} <= by_origin[Origin.LIBVIRT]
    assert {"tunnelled_tls", "needs_zlib", "pmigd_elsewhere"} <= by_origin[Origin.RULE]
    assert {"secret_missing", "memory_short"} <= by_origin[Origin.LOOK]


def test_nobody_makes_a_finding_but_by_its_row() -> None:
    """No bare code anywhere: a finding is made by ``found``, and rows stand in the core."""
    made: list[str] = []
    for file in (ROOT / "pmigd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                rows = node.func.id == "FindingKind" and "core" not in file.parts
                finding = node.func.id == "Finding" and "core" in file.parts
                if rows or (finding and file.name != "finding.py"):
                    made.append(f"{file}:{node.lineno}")
    assert made == []
