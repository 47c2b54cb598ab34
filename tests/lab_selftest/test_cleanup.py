"""The lab leaves nothing behind, can run twice, and says what it lacks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contrib.lab import Guest, Lab, LabUnavailable, requirements
from contrib.lab.deadlines import until

pytestmark = pytest.mark.hypervisor

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("mnt", "net", "uts", "pid")

VICTIM = """
import json, sys, time
from contrib.lab import Guest, Lab, LabUnavailable, requirements
with Lab(name="victim", tls=True, ssh=True) as lab:
    guest = lab.guest(Guest(name="g1", disk_mib=1), on=lab.hosts[0])
    print(json.dumps(list(lab.anchor.pids().values())), flush=True)
    sys.stdin.read()
"""


def listing(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


def machine() -> dict[str, object]:
    """What a lab could leave on the machine."""
    places = ("/run", "/etc", "/var", "/var/lib", "/var/cache", "/var/log", "/run/netns")
    keys = ("/etc/pki", "/etc/ssh", "/root", "/root/.ssh")
    libvirts = tuple(f"/{top}/libvirt" for top in ("etc", "run", "var/lib", "var/cache", "var/log"))
    qemus = ("/var/cache/libvirt/qemu", "/var/log/libvirt/qemu", "/var/lib/libvirt/qemu")
    return {
        "mounts": Path("/proc/self/mounts").read_text(),
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "files": {p: listing(Path(p)) for p in (*places, *keys, *libvirts, *qemus)},
        "cgroups": sorted(str(p) for p in Path("/sys/fs/cgroup").glob("*/*libvirt*")),
    }


def namespaces(pid: int) -> dict[str, int]:
    return {kind: Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in KINDS}


def held(wanted: set[int]) -> list[str]:
    """Processes that are in one of these namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted & set(namespaces(int(entry.name)).values()):
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_lab_leaves_nothing(able: None, tmp_path: Path, number: signal.Signals) -> None:
    before = machine()
    own = set(namespaces(os.getpid()).values())
    env = {**os.environ, "TMPDIR": str(tmp_path / "t"), "HOME": str(tmp_path / "h")}
    (tmp_path / "t").mkdir()
    (tmp_path / "h").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=env,
        text=True,
    ) as victim:
        assert victim.stdout
        pids: list[int] = json.loads(victim.stdout.readline())
        # anchor, two hosts, two libvirtds, two sshds, a QEMU
        assert len(pids) >= 8
        lab_namespaces = {ino for pid in pids for ino in namespaces(pid).values()} - own
        # one PID namespace; mount, network and UTS of the switch and of each host
        assert len(lab_namespaces) == 1 + 3 * 3
        with contextlib.ExitStack() as kept:
            # The number of a namespace that is gone goes to the next one that anybody makes.
            for pid in pids:
                for kind in KINDS:
                    kept.enter_context(Path(f"/proc/{pid}/ns/{kind}").open("rb"))
            victim.send_signal(number)
            victim.wait(15)
            until(lambda: not held(lab_namespaces), "the end of the lab's processes", timeout=10)
    until(lambda: machine() == before, "a clean machine", timeout=10)
    assert listing(tmp_path / "t") == []
    assert listing(tmp_path / "h") == []


def test_a_killed_anchor_takes_the_lab_with_it(able: None) -> None:
    lab = Lab(1)
    started = lab.anchor.pids()
    os.kill(lab.anchor.pid, signal.SIGKILL)
    lab.close()
    assert not [pid for pid in started.values() if Path(f"/proc/{pid}").exists()]


def test_two_labs_run_side_by_side(lab: Lab) -> None:
    with Lab(name="other") as other:
        first = lab.guest(Guest(name="twin"), on=lab.hosts[0])
        second = other.guest(Guest(name="twin"), on=other.hosts[0])
        first.migrate(lab.hosts[1])
        second.heartbeats.wait(5)
        assert first.where() == [lab.hosts[1]]
        assert second.where() == [other.hosts[0]]
        assert first.heartbeats.restarts == second.heartbeats.duplicated == 0
    first.heartbeats.wait(5)
    first.destroy()


def test_a_closed_lab_is_gone_at_once(able: None) -> None:
    with Lab(1) as lab:
        pids = list(lab.anchor.pids().values())
    started = time.monotonic()
    lab.close()
    assert time.monotonic() - started < 5
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_check_says_what_is_missing_and_with_which_package(able: None) -> None:
    command = [sys.executable, "-m", "contrib.lab", "check"]
    good = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (good.returncode, good.stdout) == (0, "the lab can run here\n")
    nobody = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert nobody.returncode == 1
    assert "missing: root" in nobody.stdout


def test_the_shell_runs_commands_on_both_hosts(able: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "contrib.lab", "shell"],
        input="hostname\non hostb hostname\nvirsh list --name\nexit 5\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert done.stdout.split()[-4:] == ["hosta", "hostb", "web1", "db1"]


def test_missing_programs_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(
        shutil,
        "which",
        lambda name, path=None: None if name in {"ss", "ld"} else real(name, path=path),
    )
    assert requirements.missing()[:2] == [
        "program ss (Debian package iproute2)",
        "program ld (Debian package binutils)",
    ]
    with pytest.raises(LabUnavailable, match="binutils"):
        Lab()
