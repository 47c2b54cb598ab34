"""A configuration that is refused, and the check before each reload, need little of the daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

SCRIPT = """
import sys
from pmigd.daemon.main import main
code = main(sys.argv[1:])
print(*sys.modules)
sys.exit(code)
"""


@pytest.mark.parametrize("how", [[], ["--check"]])
def test_a_configuration_is_refused_before_the_daemon_is_read(
    how: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "pmigd.toml"
    config.write_text("[limits]\nnonsense = 1\n")
    argv = [sys.executable, "-c", SCRIPT, "--config", str(config), *how]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "limits.nonsense" in done.stdout + done.stderr
    loaded = done.stdout.splitlines()[-1].split()
    assert "pmigd.config.load" in loaded
    assert [name for name in ("pmigd.daemon.app", "aiohttp", "libvirt") if name in loaded] == []
