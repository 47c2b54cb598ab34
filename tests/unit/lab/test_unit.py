"""The lab plays pmigd.service as it is, and refuses what it cannot play."""

from __future__ import annotations

import pytest

from contrib.lab import LabError
from contrib.lab.unit import shipped


def test_the_shipped_unit_can_be_played() -> None:
    sandbox = shipped()
    assert sandbox.capabilities == ("CAP_CHOWN", "CAP_SETPCAP")
    assert sandbox.no_new_privileges
    assert sandbox.umask == 0o077
    assert "/" in sandbox.read_only
    assert sandbox.writable == ("/var/lib/pmigd", "/run/pmigd")
    assert dict(sandbox.directories) == {"/var/lib/pmigd": 0o700, "/run/pmigd": 0o755}
    assert sandbox.empty == ()
    assert not sandbox.small_dev


def test_a_drop_in_adds_and_takes_back() -> None:
    hardened = shipped("PrivateTmp=yes\nPrivateDevices=true\nProtectHome=tmpfs\nUMask=0022")
    assert set(hardened.empty) == {"/tmp", "/var/tmp", "/home", "/root", "/run/user"}
    assert (hardened.small_dev, hardened.umask) == (True, 0o022)
    wider = shipped("CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\nReadWritePaths=-/srv")
    assert wider.capabilities == ("CAP_KILL",)
    assert wider.writable[-1] == "/srv"


@pytest.mark.parametrize(
    "line", ["PrivateUsers=yes", "NoNewPrivileges=perhaps", "AmbientCapabilities=CAP_KILL"]
)
def test_what_the_lab_cannot_play_is_an_error(line: str) -> None:
    with pytest.raises(LabError, match="the lab cannot play"):
        shipped(line)
