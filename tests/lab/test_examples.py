"""The example programs of docs/client.md on real hosts, with pmigd restarted under them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from contrib.lab.deadlines import until
from pmigd.client import UnreachableError
from tests.lab.conftest import ROOT, start

pytestmark = pytest.mark.hypervisor


def test_they_move_watch_and_wait_and_outlive_a_restart(lab, a, b, guest) -> None:
    slow, one, two = guest(fill_mib=24), guest(fill_mib=4), guest(fill_mib=4)

    def example(name: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"contrib.examples.{name}", *arguments],
            env={"PYTHONPATH": ROOT, "PMIGD_SOCKET": a.host.pmigd.socket},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    watch = example("watch_everything")
    try:
        assert watch.stderr.readline() == "connected\n"
        lab.link(b.host).shape(1, direction="in")
        waiting = example("migrate_and_wait", slow.name, "hostb")
        until(
            lambda: [m for m in a.all() if m["state"] == "precopy"],
            "the slow one under way",
            timeout=30,
        )
        a.host.pmigd.kill()
        with pytest.raises(UnreachableError):
            a.host.pmigd.client().status()
        start(a.host)
        lab.link(b.host).unshape()
        moving = example("move_all", "hostb", one.name, two.name)
        moved, errors = moving.communicate(timeout=60)
        assert (moving.returncode, errors) == (0, "")
        assert sorted(moved.splitlines()) == [f"{g.name}: succeeded" for g in (one, two)]
        waited, errors = waiting.communicate(timeout=60)
        assert (waiting.returncode, errors) == (0, "")
        assert waited.startswith(f"{slow.name}: at hostb in ")
        ends = {f"{g.name} succeeded" for g in (slow, one, two)}
        while ends:
            line = watch.stdout.readline()
            assert line, "the watcher has ended"
            ends.discard(line.strip().partition(" ")[2])
        assert "connected" in [watch.stderr.readline().strip() for _ in range(2)]
    finally:
        watch.kill()
        watch.communicate()
    assert all(g.where() == [b.host] for g in (slow, one, two))
