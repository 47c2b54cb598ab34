"""One public name, one meaning: whoever reads a name that stands alone need not ask whose it is.

Held over the modules of pmigd:

- A class has its name for itself.
- A function, a constant or an alias may be called as others are, for the module is a part of what
  it is called (``libvirtconf.read``, ``abort.COMMAND``); but of all that are called so, one at the
  most is imported by its name alone.
- Nothing is imported under another name than its own, but modules.

Exempt: what begins with an underscore, type variables, each module's own ``log``, and
``pmigd.client``, which is a library for others: its names are its users'.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
TREES: Final = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(ROOT.glob("pmigd/**/*.py"))
}
MODULES: Final = {name.removesuffix(".__init__") for name in TREES}
_NOT_YET: Final = frozenset(
    {
        "Answers",
        "Callers",
        "Change",
        "Command",
        "Connection",
        "Controls",
        "Domain",
        "Door",
        "Entry",
        "Event",
        "FieldError",
        "Figure",
        "Finding",
        "KINDS",
        "Kind",
        "Lease",
        "Limits",
        "Lines",
        "Migration",
        "Outcome",
        "OwnHost",
        "Peers",
        "Prediction",
        "Prepare",
        "Problem",
        "Requests",
        "Result",
        "Rule",
        "Settings",
        "State",
        "View",
        "BODY_LIMIT_BYTES",
        "about",
        "asked",
        "check",
        "explained",
        "given",
        "judge",
        "lacking",
        "parse",
    }
)
"""Those that are to be told apart yet."""


def _defined(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The public names that a module gives something to, and whether it is a class."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name, True
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, False
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="TypeVar"))
            ):
                continue
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, False


def _public() -> dict[str, dict[str, bool]]:
    """By name, the modules that define it, and whether as a class."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for module, tree in TREES.items():
        for name, is_class in _defined(tree):
            if module.startswith("pmigd.client"):
                continue
            if not name.startswith("_") and name != "log":
                found[name][module] = is_class
    return {name: where for name, where in found.items() if len(where) > 1}


def _imports() -> Iterator[tuple[str, str, str, str | None]]:
    """Every name of pmigd's that is imported from a module: (where, from, name, under which)."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pmigd"):
                for alias in node.names:
                    if f"{node.module}.{alias.name}" not in MODULES:
                        yield module, str(node.module), alias.name, alias.asname


def test_a_class_has_its_name_for_itself() -> None:
    twice = {name: list(where) for name, where in _public().items() if any(where.values())}
    assert {name: where for name, where in twice.items() if name not in _NOT_YET} == {}


def test_of_those_with_one_name_one_at_the_most_goes_by_it_alone() -> None:
    alone: dict[str, set[str]] = defaultdict(set)
    double = _public()
    for _, source, name, _ in _imports():
        if name in double and not any(double[name].values()):
            alone[name].add(source)
    twice = {name: sorted(sources) for name, sources in alone.items() if len(sources) > 1}
    assert {name: where for name, where in twice.items() if name not in _NOT_YET} == {}


def test_nothing_goes_by_another_name_where_it_is_used() -> None:
    renamed = [
        f"{where}: {name} as {other}"
        for where, _, name, other in _imports()
        if other not in (None, name) and name not in _NOT_YET
    ]
    assert renamed == []
