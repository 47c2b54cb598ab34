"""Hosts with a newer libvirt and QEMU: where their root comes from.

`make matrix` sets PMIGD_MATRIX=1: then a root that cannot be had is a failure, not a skip, and what
ran is written to the record that docs/parity.md is made from.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from contrib.lab import available_roots

SUITE: Final = "trixie"
FORCED: Final = os.environ.get("PMIGD_MATRIX") == "1"
_BUILD_S: Final = 150
"""Building takes 20 s from a near mirror; whoever has a far one has make matrix or the command."""
_ROOT: Final = Path(__file__).parents[2]


def require() -> None:
    """Skip, or fail if forced, where there is no root and none can be built."""
    reason = why_not()
    if reason:
        (pytest.fail if FORCED else pytest.skip)(f"no newer libvirt to test with: {reason}")


@functools.cache
def why_not() -> str:
    """Why there is no root; empty when there is one. Builds it, once a session."""
    if SUITE in available_roots():
        return ""
    command = [sys.executable, "-m", "contrib.lab", "root", SUITE]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=None if FORCED else _BUILD_S,
        )
    except subprocess.TimeoutExpired:
        return f"`{' '.join(command[1:])}` did not end within {_BUILD_S} s; what it fetched is kept"
    if done.returncode == 0:
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return next((line for line in lines if line.startswith("E: ")), "\n".join(lines))
