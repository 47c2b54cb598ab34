"""The exposition of real daemons, by the rules of Prometheus' own checker."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.hypervisor


def test_promtool_finds_nothing_idle_or_while_guests_migrate(a, b, slow) -> None:
    def check(pmig) -> None:
        text = pmig.call("GET", "/metrics")
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
        )
        assert (checked.stdout, checked.stderr, checked.returncode) == ("", "", 0)

    check(b)
    ids = [a.submit(slow(), bandwidth_mib_s=1)["id"] for _ in range(2)]
    for iden in ids:
        a.wait(iden, "precopy", also=lambda m: m["progress"] is not None)
    check(a)
    assert a.metric("pmigd_migration_phase", phase="precopy") == 1
    for iden in ids:
        a.abort(iden)
    for iden in ids:
        a.end(iden, "cancelled")
    check(a)
