"""No module of pmigd is so long that nobody finds his way in it, and no function.

What is longer is listed with its length. The list only shrinks: whoever makes one much shorter says
so here, and what is within the bounds leaves it.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULE_LINES = 500
FUNCTION_LINES = 60
SLACK_LINES = 20
"""By so much one may be shorter than it is listed, so that not every change has to say so."""

LONG_MODULES = {
    "pmigd/core/problem.py": 679,  # a table
    "pmigd/core/request.py": 671,  # a table
}
LONG_FUNCTIONS = {
    "pmigd/cli/shells.py:_bash": 76,  # text
    "pmigd/cli/shells.py:_zsh": 84,  # text
}


def test_modules_are_within_their_bound_and_the_exceptions_shrink() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "pmigd").rglob("*.py")
    }
    _only_shrinks(lengths, MODULE_LINES, LONG_MODULES)


def test_functions_are_within_their_bound_and_the_exceptions_shrink() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in (ROOT / "pmigd").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    _only_shrinks(lengths, FUNCTION_LINES, LONG_FUNCTIONS)


def _only_shrinks(lengths: dict[str, int], bound: int, listed: dict[str, int]) -> None:
    over = {name: length for name, length in lengths.items() if length > bound}
    assert over.keys() - listed.keys() == set(), "too long: split it by subject"
    assert listed.keys() - over.keys() == set(), "short enough by now: take it out of the list"
    grown = {name: length for name, length in over.items() if length > listed[name]}
    assert grown == {}, "longer than ever: it was to shrink"
    shorter = {name: length for name, length in over.items() if length < listed[name] - SLACK_LINES}
    assert shorter == {}, "write down how short it is by now"
