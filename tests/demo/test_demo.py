"""`make demo` as a newcomer runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from contrib.lab import missing

DEMO = [sys.executable, "-m", "contrib.demo"]


@pytest.fixture
def able() -> None:
    lacking = missing()
    if lacking:
        pytest.fail("no lab here: " + "; ".join(lacking))


@pytest.mark.hypervisor
@pytest.mark.usefixtures("able")
@pytest.mark.timeout(180)
def test_the_demonstration_succeeds_and_says_what_it_does() -> None:
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[:4] for line in lines if line[1:3] == "/6"] == [f"{n}/6 " for n in range(1, 7)]
    assert "web1: succeeded hosta->hostb in" in done.stdout
    verdicts = [line.split()[:2] for line in lines if line.strip().startswith(("ok ", "WRONG"))]
    assert verdicts == [
        ["ok", word] for word in ("pmigctl:", "heartbeat:", "memory:", "copies:", "metrics")
    ]
    assert "copies: running on hostb" in done.stdout
    assert "pmigd_recent_migration_downtime_seconds{" in done.stdout
    assert lines[-1].startswith("All as it must be.")
    assert done.stderr == ""


@pytest.mark.hypervisor
@pytest.mark.usefixtures("able")
@pytest.mark.timeout(90)
def test_ctrl_c_ends_it_and_leaves_nothing() -> None:
    process: subprocess.Popen[Any] = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("web1: precopy"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err


@pytest.mark.hypervisor
@pytest.mark.usefixtures("able")
def test_without_root_it_says_what_is_missing() -> None:
    # The sources may be where only root can look, so they are loaded before root is given up.
    code = (
        "import os, sys; from contrib.demo.__main__ import main;"
        "sys.argv = ['demo']; os.setgid(65534); os.setuid(65534); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "cannot run here" in done.stderr
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr
