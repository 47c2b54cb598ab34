"""How much is said of those who are refused, and what is remembered of them."""

from __future__ import annotations

from collections import Counter

import pytest
from structlog.testing import capture_logs

from pmigd.api import guard as guards
from pmigd.api.guard import MAX_REMEMBERED, QUIET_S, Guard


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(guards, "monotonic", lambda: now[0])
    return now


def test_a_refusal_is_counted_each_time_and_logged_once_a_minute_for_its_kind(
    clock: list[float],
) -> None:
    counted: Counter[str] = Counter()
    guard = Guard(lambda why: counted.update([why]))
    with capture_logs() as logs:
        for at in (0.0, 1.0, QUIET_S - 1, QUIET_S + 1):
            clock[0] = 1000.0 + at
            guard.refused("expired", "10.0.0.1", "x")
            guard.refused("expired", "10.0.0.2", "x")
            guard.refused("untrusted", "10.0.0.1", "x")
    assert counted == {"expired": 8, "untrusted": 4}
    assert len(logs) == 2 * 3


def test_addresses_without_number_cost_neither_memory_nor_log(clock: list[float]) -> None:
    guard = Guard(lambda _why: None)
    with capture_logs() as logs:
        for number in range(3 * MAX_REMEMBERED):
            guard.refused("bad_tls", f"2001:db8::{number:x}", "x")
        assert len(logs) == MAX_REMEMBERED
        assert len(guard._quiet_until) == MAX_REMEMBERED
        clock[0] += QUIET_S + 1
        guard.refused("bad_tls", "10.0.0.1", "x")
    assert logs[-1]["address"] == "10.0.0.1"
    assert len(guard._quiet_until) == 1
