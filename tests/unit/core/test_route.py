"""What a start waits for that shows nothing, and when that is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pmigd.core import events as ev
from pmigd.core.model import Call, Direction, Migration, State
from pmigd.core.route import SLOW, slow_start
from tests.support.build import PREPARED, T0, TARGET, migration, play


def preparing() -> Migration:
    """One whose call is out and of which nothing is seen yet."""
    return play(migration(), ev.Admitted(), PREPARED).migration


def test_it_is_said_once_it_has_taken_longer_than_a_start_takes() -> None:
    m = preparing()
    since = m.state_since
    assert since is not None
    assert m.call is Call.MADE
    assert slow_start(m, since + SLOW - timedelta(seconds=1)) is None
    waiting = slow_start(m, since + SLOW)
    assert waiting is not None
    assert (waiting.resource, waiting.host, waiting.position) == ("connection", "hostb", 0)
    assert waiting.since == since
    assert "TCP from this host to hostb: 49152-49215 (memory), 16514 (libvirt)" in waiting.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.PRECOPY},
        {"direction": Direction.INCOMING},
        {"commands": ()},
        {"target": None},
        {"state_since": None},
    ],
    ids=str,
)
def test_nothing_is_said_of_others(changes: dict[str, object]) -> None:
    late = T0 + timedelta(hours=1)
    assert slow_start(preparing(), late) is not None
    assert slow_start(replace(preparing(), **changes), late) is None


def test_where_no_port_is_needed_none_is_named() -> None:
    m = replace(preparing(), target=replace(TARGET, uri="qemu+unix:///system?socket=/x"))
    m = replace(m, request=replace(m.request, migrate_uri="unix:///m"))
    waiting = slow_start(m, T0 + timedelta(hours=1))
    assert waiting is not None
    assert "firewall" not in waiting.detail
