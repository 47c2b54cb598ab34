"""The dashboards against Grafana's own types: nothing in them is misspelt or of the wrong kind.

contrib/grafana/dashboard.ts says what is checked. One run of the compiler judges the dashboards and
those that are spoilt on purpose.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.installed import lacks, needs

Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ROOT / "build/node/node_modules"
TYPES: Final = ROOT / "contrib/grafana/dashboard.ts"
DASHBOARDS: Final = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "contrib/grafana").glob("pmigd-*.json"))
}
KINDS: Final = ("row", "stat", "timeseries", "heatmap", "state-timeline", "table")
_CONFIG: Final = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "target": "es2022",
        "skipLibCheck": True,
        "types": [],
        "paths": {"*": [f"{PACKAGES}/*"]},
    },
    "include": ["*.ts"],
}


def _sample() -> Json:
    """One panel of each kind, those of both dashboards with the most in them."""
    panels = [panel for model in DASHBOARDS.values() for panel in model["panels"]]
    sample = copy.deepcopy(DASHBOARDS["pmigd-host"])
    sample["panels"] = [
        max((p for p in panels if p["type"] == kind), key=lambda p: len(json.dumps(p)))
        for kind in KINDS
    ]
    return copy.deepcopy(sample)


def _misspelt(path: str, key: str) -> Callable[[Json], None]:
    def spoil(model: Json) -> None:
        part = _at(model, path)
        part[f"{key}x"] = part.pop(key)

    return spoil


def _wrong(path: str, key: str, value: object) -> Callable[[Json], None]:
    def spoil(model: Json) -> None:
        assert key in _at(model, path)
        _at(model, path)[key] = value

    return spoil


def _at(model: Json, path: str) -> Json:
    """A part of the sample: kinds of panels, keys, and places in lists."""
    if not path:
        return model
    part: Any = model | dict(zip(KINDS, model["panels"], strict=True))
    for word in path.split("/"):
        part = part[int(word)] if isinstance(part, list) else part[word]
    return part


SPOILT: Final = {
    "a key of the dashboard": _misspelt("", "refresh"),
    "the crosshair": _wrong("", "graphTooltip", 7),
    "a link": _misspelt("links/0", "keepTime"),
    "a variable": _misspelt("templating/list/1", "refresh"),
    "when a variable is looked up": _wrong("templating/list/1", "refresh", 5),
    "an annotation": _misspelt("annotations/list/0", "iconColor"),
    "the query of an annotation": _misspelt("annotations/list/0/target", "expr"),
    "a row": _misspelt("row", "collapsed"),
    "a kind of panel": _wrong("stat", "type", "stats"),
    "a key of a panel": _misspelt("stat", "description"),
    "a place": _misspelt("stat/gridPos", "w"),
    "a query": _misspelt("stat/targets/0", "legendFormat"),
    "the format of a query": _wrong("stat/targets/0", "format", "tables"),
    "the unit": _misspelt("timeseries/fieldConfig/defaults", "unit"),
    "thresholds": _misspelt("stat/fieldConfig/defaults/thresholds", "steps"),
    "the kind of a mapping": _wrong("state-timeline/fieldConfig/defaults/mappings/0", "type", "x"),
    "an override": _misspelt("table/fieldConfig/overrides/0", "matcher"),
    "a transformation": _misspelt("table/transformations/0", "options"),
    "options of a stat": _misspelt("stat/options", "graphMode"),
    "an option's value": _wrong("stat/options", "graphMode", "nine"),
    "options of a graph": _misspelt("timeseries/options", "tooltip"),
    "a legend": _misspelt("timeseries/options/legend", "calcs"),
    "the style of a graph": _misspelt("timeseries/fieldConfig/defaults/custom", "drawStyle"),
    "the style's value": _wrong("timeseries/fieldConfig/defaults/custom", "drawStyle", "barz"),
    "options of a heatmap": _misspelt("heatmap/options", "cellGap"),
    "colours of a heatmap": _misspelt("heatmap/options/color", "scheme"),
    "options of states": _misspelt("state-timeline/options", "mergeValues"),
    "the style of states": _misspelt("state-timeline/fieldConfig/defaults/custom", "fillOpacity"),
    "options of a table": _misspelt("table/options", "cellHeight"),
    "the style of a table": _misspelt("table/fieldConfig/defaults/custom", "inspect"),
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the compiler says of each file, by its stem."""
    if not PACKAGES.exists():
        lacks("npm packages in build/node: run contrib/grafana/packages")
    directory = tmp_path_factory.mktemp("types")
    shutil.copy(TYPES, directory)
    (directory / "tsconfig.json").write_text(json.dumps(_CONFIG))
    models = dict(DASHBOARDS) | {"sample": _sample()}
    for number, spoil in enumerate(SPOILT.values()):
        models[f"spoilt{number}"] = model = _sample()
        spoil(model)
    for stem, model in models.items():
        head = 'import type { Dashboard } from "./dashboard";\nexport const it: Dashboard = '
        (directory / f"{stem}.ts").write_text(head + json.dumps(model, indent=1) + ";\n")
    ran = subprocess.run(
        ["node", PACKAGES / "typescript/bin/tsc", "--project", directory],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=directory,
    )
    found: dict[str, list[str]] = {stem: [] for stem in models}
    for line in ran.stdout.splitlines():
        # The lines of a longer explanation are indented.
        if not line.startswith(" "):
            file = re.match(r"([\w-]+)\.ts\(\d+,\d+\): error ", line)
            assert file, line
            found[file[1]].append(line)
    assert ran.stderr == ""
    return found


@pytest.mark.parametrize("name", [*DASHBOARDS, "sample"])
def test_each_dashboard_is_what_grafana_takes(name: str, errors: dict[str, list[str]]) -> None:
    assert errors[name] == []


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_spoilt_is_found(what: str, errors: dict[str, list[str]]) -> None:
    assert errors[f"spoilt{list(SPOILT).index(what)}"]


@needs("node")
def test_the_drawing_program_can_be_read() -> None:
    ran = subprocess.run(
        ["node", "--check", ROOT / "contrib/dashboards/draw.js"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_lock_names_no_place_to_get_the_packages_from() -> None:
    lock = json.loads((ROOT / "contrib/grafana/package-lock.json").read_text())
    for name, package in lock["packages"].items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")
