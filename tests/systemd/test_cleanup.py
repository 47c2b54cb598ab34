"""The container leaves nothing behind, also when the tests are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contrib.lab.deadlines import until
from tests.systemd.machine import SOURCE, Machine, innermost_pid

pytestmark = pytest.mark.systemd

VICTIM = """
import json, sys
from tests.systemd.machine import Machine
with Machine() as machine:
    print(json.dumps([machine.leader, machine.keeper_pid]), flush=True)
    sys.stdin.read()
"""


def groups(keeper: int) -> list[Path]:
    """The control groups of one container."""
    return list(Path("/sys/fs/cgroup").glob(f"**/pmigd-systemd-test-{keeper}"))


def members(pid_namespace: int) -> list[str]:
    """The processes of a PID namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").stat().st_ino == pid_namespace:
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize("whom", ["tests", "keeper"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left(booted: Machine, whom: str, number: signal.Signals) -> None:
    mounts_before = Path("/proc/self/mounts").read_text()
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=SOURCE,
        text=True,
    ) as victim:
        assert victim.stdout
        leader, keeper = json.loads(victim.stdout.readline())
        assert len(innermost_pid(leader)) >= 3
        assert groups(keeper)
        # Open: the number of a namespace that is gone goes to the next one that anybody makes.
        with Path(f"/proc/{leader}/ns/pid").open("rb") as namespace:
            inside = os.fstat(namespace.fileno()).st_ino
            os.kill(victim.pid if whom == "tests" else keeper, number)
            until(lambda: not members(inside), "the end of the container", timeout=10)
        victim.kill()
        victim.wait(10)
    until(lambda: not Path(f"/proc/{keeper}").exists(), "the keeper's end", timeout=10)
    if whom == "keeper" and number is signal.SIGKILL:
        # Only empty control groups can be left, and the next container removes them.
        with Machine():
            pass
    assert groups(keeper) == []
    assert Path("/proc/self/mounts").read_text() == mounts_before
