"""`make bench` on its smallest measurement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.lab import missing

BENCH = [sys.executable, "-m", "contrib.bench"]


@pytest.mark.hypervisor
@pytest.mark.timeout(90)
def test_a_quick_measurement_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    lacking = missing()
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    path = tmp_path / "deep" / "bench.json"
    done = subprocess.run(
        [*BENCH, "--quick", "--only", "list", "--json", str(path)],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TCG" in done.stdout
    assert "list: wall time" in done.stdout
    document = json.loads(path.read_text())
    assert list(document["measurements"]) == ["list"]
    wall = document["measurements"]["list"][0]
    assert len(wall["pmigd"]["samples"]) == len(wall["virsh"]["samples"]) == 5
    assert 0 < wall["pmigd"]["min"] <= wall["pmigd"]["median"] <= wall["pmigd"]["max"]
    assert document["machine"]["libvirt"] != "unknown"


@pytest.mark.parametrize("arguments", [["--pairs", "0"], ["--pairs", "x"], ["--only", "nothing"]])
def test_wrong_arguments_are_refused_before_anything_starts(arguments: list[str]) -> None:
    done = subprocess.run(
        [*BENCH, *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
