"""`make bench`, as much of it as is done in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.bench.__main__ import main
from contrib.lab import missing

pytestmark = pytest.mark.timeout(500)  # three labs with all other tests beside them

BENCH = [sys.executable, "-m", "contrib.bench"]


def measure(path: Path, *names: str) -> tuple[str, dict]:
    """What `--quick` prints and writes for these measurements."""
    lacking = missing(tls=True)
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))
    chosen = [word for name in names for word in ("--only", name)]
    done = subprocess.run(
        [*BENCH, "--quick", *chosen, "--json", str(path)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(path.read_text())
    assert list(document["measurements"]) == list(names)
    return done.stdout, document


@pytest.mark.hypervisor
def test_a_quick_measurement_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    table, document = measure(tmp_path / "deep" / "bench.json", "list")
    assert "TCG" in table
    assert "list: wall time" in table
    wall = document["measurements"]["list"][0]
    assert len(wall["pmigd"]["samples"]) == len(wall["virsh"]["samples"]) == 5
    assert 0 < wall["pmigd"]["min"] <= wall["pmigd"]["median"] <= wall["pmigd"]["max"]
    assert document["machine"]["libvirt"] != "unknown"


@pytest.mark.hypervisor
def test_limits_and_leases_are_measured_or_said_to_be_left_out(tmp_path: Path) -> None:
    table, document = measure(tmp_path / "b.json", "storm", "queue", "handover", "leases")
    found = document["measurements"]
    (storm,) = found["storm"]
    assert storm["pmigd"] is None
    assert storm["note"] == "left out: --quick"
    assert table.count("left out: --quick") == 3
    decisions = [figure for figure in found["queue"] if figure["unit"] == "us"]
    assert len(decisions) == 6
    assert all(figure["pmigd"]["median"] > 0 for figure in decisions)
    # Three guests in turn by three ways; none starts before the one before it has ended.
    *handovers, _ = found["handover"]
    assert [len(figure["pmigd"]["samples"]) for figure in handovers] == [2, 2, 2]
    assert all(figure["pmigd"]["min"] > 0 for figure in handovers)
    (left,) = found["leases"]
    assert left["pmigd"]["samples"] == [0]
    assert left["note"].startswith("2 kills; 4 of 4 guests arrived")


@pytest.mark.hypervisor
def test_scrapes_are_measured_and_no_short_migration_is_missed(tmp_path: Path) -> None:
    table, document = measure(tmp_path / "b.json", "scrape", "record")
    found = {
        figure["figure"]: figure["pmigd"] and figure["pmigd"]["median"]
        for figures in document["measurements"].values()
        for figure in figures
    }
    assert table.count("left out: --quick") == 1
    costs = [value for name, value in found.items() if name.startswith("scrape,") and value]
    assert len(costs) == 8
    assert min(costs) > 0
    assert found["series, each that ended lately"] == 5
    durations = next(f for f in document["measurements"]["record"] if f["unit"] == "s")
    assert len(durations["pmigd"]["samples"]) == 4
    for where in ("counter, at the source", "counter, at the destination", "histogram of pauses"):
        assert found[f"in the {where}"] == 4


@pytest.mark.parametrize("arguments", [["--pairs", "0"], ["--pairs", "x"], ["--only", "nothing"]])
def test_wrong_arguments_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
