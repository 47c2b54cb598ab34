"""The exposition of real daemons, by the rules of Prometheus' own checker."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import pytest

from contrib.bench.exporter import Exporter

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


def _series_of(text: str, *, but: str) -> Counter[str]:
    """How many series each name has in an exposition, without lines that begin like `but`."""
    lines = (line for line in text.splitlines() if not re.match(f"#|{but}", line))
    return Counter(re.split("[{ ]", line)[0] for line in lines)


def test_a_real_host_has_the_series_that_are_counted_for_the_documents(a, slow) -> None:
    guest = slow()
    iden = a.submit(guest, bandwidth_mib_s=1)["id"]
    a.wait(iden, "precopy", also=lambda m: m["progress"] is not None)
    real, alone = a.call("GET", "/metrics"), Exporter()
    # What depends on the host and on what was done before: its certificates, calls, requests, and
    # migrations that ended lately.
    done = r"pmigd_(tls_certificate|libvirt_call|api|recent)_"
    single = r"|pmigd_migration_\w+\{.*domain="
    assert _series_of(real, but=done + single) == _series_of(alone.text(), but=done)
    alone.run(1, full=True)
    known = _series_of(alone.text(), but=done)
    here = [line for line in real.splitlines() if f'domain="{guest.name}"' in line]
    assert len(here) > 10
    assert _series_of("\n".join(here), but="pmigd_recent_") <= known
    a.abort(iden)
    a.end(iden, "cancelled")
