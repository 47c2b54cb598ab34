"""A request field is its row: with it the field is everywhere, and without it nowhere.

Each test gives a copy of the tree one row more, or one less, and asks that copy in a process of its
own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROBE = ROOT / "tests" / "support" / "probe.py"

HASTE = """\
    haste_mib_s: int = row(
        0,
        "How hastily it goes.",
        "--haste: go as hastily as this, in MiB/s",
        unit=MIB_S,
        between=(0, 1000),
        flag="VIR_MIGRATE_RDMA_PIN_ALL",
        param="haste.rate",
        needs=(Needs("needs_haste", (99, 1, 0)),),
        admin=True,
        zero="none",
    )
"""
KEY = '        configured=Configured("How hastily migrations go.", "MiB/s", default=7),\n'
CHANGE = '        change=Change("--haste: go on as hastily as this, in MiB/s", "Haste"),\n'
BEFORE = "    abort_on_error: bool = row(\n"


class Tree:
    """A copy of what is asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "pmigd", root / "pmigd", ignore=shutil.ignore_patterns("__pyc*"))
        shutil.copytree(ROOT / "contrib" / "docs", root / "contrib" / "docs")
        shutil.copy(ROOT / "contrib" / "__init__.py", root / "contrib")

    def put(self, path: str, before: str, text: str) -> None:
        """Write `text` before the one place in a file."""
        old = (self.root / path).read_text()
        assert old.count(before) == 1
        (self.root / path).write_text(old.replace(before, text + before))

    def asked(self, field: str, option: str, value: object, *words: str) -> dict[str, Any]:
        """What the tree makes of a field."""
        done = subprocess.run(
            [sys.executable, str(PROBE), field, option, json.dumps(value), *words],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def row(*more: str) -> str:
    return HASTE.removesuffix("    )\n") + "".join(more) + "    )\n"


def test_a_row_is_all_that_a_field_takes(tree: Tree) -> None:
    tree.put("pmigd/core/request.py", BEFORE, row())
    found = tree.asked("haste_mib_s", "--haste", 512, "--haste", "0.5GiB/s")
    assert found["parsed"] == found["view"] == 512
    assert found["wrong"] == "haste_mib_s must be a whole number from 0 to 1000 or null"
    assert found["journal"]
    assert found["asked"]
    assert found["openapi"] == {
        "description": "How hastily it goes. Administrators only.",
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": 1000}, {"type": "null"}],
        "default": None,
    }
    assert found["typed"] == {"haste_mib_s": 512}
    assert found["help"]
    assert found["completions"] == [True, True]
    [line] = found["page"]
    assert line == (
        "| `haste_mib_s` | `--haste` | a whole number from 0 to 1000 or null | `0` |"
        " How hastily it goes. *Admin.* *Needs* libvirt 99.1. |"
    )
    assert found["forbidden"] == "Only an administrator may give haste_mib_s."
    assert found["params"]["haste.rate"] == 512
    libvirt = pytest.importorskip("libvirt")
    assert found["flags"] & libvirt.VIR_MIGRATE_RDMA_PIN_ALL
    assert [text.partition(" on the ")[0] for text in found["too old"]] == [
        "'haste_mib_s' needs libvirt >= 99.1.0"
    ] * 2
    # and no more than the row says
    assert found["key"] == []
    assert "is not a known key" in found["configured"]
    assert "unrecognized arguments: --haste" in found["set"]
    assert found["changed"].startswith("haste_mib_s is not known")


def test_a_line_more_makes_it_configurable(tree: Tree) -> None:
    tree.put("pmigd/core/request.py", BEFORE, row(KEY))
    found = tree.asked("haste_mib_s", "--haste", 5, "--haste", "5")
    assert found["key"] == ["#haste_mib_s = 7"]
    assert found["configured"] == 5
    assert found["parsed"] == 5
    assert found["page"][0].count("`0`, *configured*") == 1


def test_a_line_more_and_its_two_names_let_it_be_changed_on_the_way(tree: Tree) -> None:
    tree.put("pmigd/core/request.py", BEFORE, row(CHANGE))
    tree.put(
        "pmigd/core/request.py",
        "    compression_cache_bytes: int | None = None\n",
        "    haste_mib_s: int | None = None\n",
    )
    tree.put(
        "pmigd/core/commands.py",
        '    COMPRESSION_CACHE = "compression_cache_bytes"\n',
        '    HASTE = "haste_mib_s"\n',
    )
    found = tree.asked("haste_mib_s", "--haste", 5, "--haste", "5")
    assert found["set"] == {"haste_mib_s": 5}
    changed = found["changed"]
    assert changed["words"] == ["haste 5 MiB/s"]
    assert changed["becomes"] == 5
    assert changed["calls"] == [["migrateSetHaste", [5, 0]]]
    assert changed["in force"]["haste_mib_s"] == 5
    assert changed["said"] == "haste 5 MiB/s"
    assert found["page"][0].count("*Set.*") == 1


def test_autostart_is_its_row(tree: Tree) -> None:
    asked = ("autostart", "--leave-autostart", True, "--autostart")
    found = tree.asked(*asked)
    assert (found["parsed"], found["typed"]) == (True, {"autostart": True})
    assert found["help"]
    assert found["openapi"] is not None
    assert len(found["page"]) == 1
    path = tree.root / "pmigd" / "core" / "request.py"
    without, rows = re.subn(
        r"    autostart: Autostart = row\(\n.*?\n    \)\n", "", path.read_text(), flags=re.DOTALL
    )
    assert rows == 1
    path.write_text(without)
    found = tree.asked(*asked)
    assert found["parsed"] == "autostart is not known"
    assert "unrecognized arguments: --autostart" in found["typed"]
    assert not found["help"]
    assert found["completions"] == [False, False]
    assert found["openapi"] is None
    assert found["page"] == []
