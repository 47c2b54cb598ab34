"""The example programs of docs/client.md on real hosts, with pmigd restarted under them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from contrib.lab.deadlines import until
from pmigd.client import ClientError
from tests.lab.conftest import ROOT, start

pytestmark = pytest.mark.hypervisor


def test_they_move_watch_and_wait_and_outlive_a_restart(a, b, guest) -> None:
    slow, one, two = guest(fill_mib=24), guest(fill_mib=4), guest(fill_mib=4)

    def example(name: str, *arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", f"contrib.examples.{name}", *arguments]
        pipe = subprocess.PIPE
        return a.host.popen(argv, env={"PYTHONPATH": ROOT}, stdout=pipe, stderr=pipe, text=True)

    watch = example("watch_everything")
    try:
        assert watch.stderr.readline() == "connected\n"
        waiting = example("migrate_and_wait", slow.name, "hostb")
        until(lambda: [m for m in a.all() if m["state"] == "precopy"], "the slow one under way")
        iden = next(m["id"] for m in a.all() if m["state"] == "precopy")
        a.call("PATCH", f"/v1/migrations/{iden}", {"bandwidth_mib_s": 1})
        a.host.pmigd.kill()
        with pytest.raises(ClientError):
            a.host.pmigd.client().status()
        start(a.host)
        a.call("PATCH", f"/v1/migrations/{iden}", {"bandwidth_mib_s": 0})
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
