"""Which form the log has is for the place it goes to to say: a terminal, or anything else.

A daemon that cannot have its socket says so and ends; that is all of it that is needed here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    """A pmigd whose socket's directory cannot be made, and that has no libvirt to wait for."""
    (tmp_path / "file").touch()
    config = tmp_path / "pmigd.toml"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\n'
        f'[libvirt]\nuri = "qemu:///system?socket={tmp_path}/nobody"\n'
        f'[api]\nsocket = "{tmp_path}/file/pmigd.sock"\ngroup = ""\n[metrics]\nlisten = []\n'
    )
    return [sys.executable, "-m", "pmigd", "--config", str(config)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_people_on_a_terminal_get_text_in_colours(argv: list[str]) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "wb", 0) as stderr:
        daemon = subprocess.Popen(argv, stderr=stderr, env=environment())
    said = b""
    with os.fdopen(leader, "rb", 0) as terminal, contextlib.suppress(OSError):  # its end
        while part := terminal.read(4096):
            said += part
    assert daemon.wait(60) == 1
    line = next(line for line in said.decode().splitlines() if "cannot start" in line)
    assert "\x1b[" in line
    assert not line.lstrip("\x1b[0123456789;m").startswith("{")


def test_everybody_else_gets_one_object_a_line(argv: list[str]) -> None:
    done = subprocess.run(argv, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    assert done.returncode == 1
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert said[-1]["event"] == "cannot start"
    assert b"\x1b" not in done.stderr
