"""The live view's lines, without a terminal: what is shown where, at any size."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pmigd.cli.board import Board
from pmigd.cli.cells import ASCII, UNICODE, Glyphs
from pmigd.cli.migration import ShownMigration
from pmigd.cli.tables import Line
from pmigd.client.migration import STATES
from tests.cli.stub import PROBLEM, RESULT, STATUS, migration, progress, waits
from tests.support.examples import examples

BOARDS = Path(__file__).with_name("boards")
NOW = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
BUSY = {
    "dirty_bytes_per_second": 140 << 20,
    "outpaced": True,
    "memory_processed_bytes": 9 << 30,
    "eta_s": None,
    "iteration": 17,
    "throttle_percent": 40,
    "expected_downtime_ms": 12_400,
}
DISKS = {
    "memory_total_bytes": 0,
    "disk_total_bytes": 20 << 30,
    "disk_processed_bytes": 5 << 30,
    "disk_remaining_bytes": 15 << 30,
    "dirty_bytes_per_second": None,
    "eta_s": 130.0,
}
BROKEN = {**PROBLEM, "title": "Post-copy is interrupted", "remedy": "Touch neither copy."}
UNKNOWN = {**PROBLEM, "title": "The destination does not say", "remedy": "Reach it."}
STARTED = {"started_at": "2026-11-21T10:04:30Z"}


def named(name: str) -> dict[str, Any]:
    return {"domain": {"name": name, "uuid": name}}


def evacuation() -> Board:
    """A host on a bad day."""
    board = Board()
    board.status = STATUS
    for raw in (
        migration(1, **named("web1"), **STARTED, progress=progress(45)),
        migration(2, **named("db1"), **STARTED, progress=progress(70, **BUSY)),
        migration(3, **named("instance-0000004b"), **STARTED, progress=progress(0, **DISKS)),
        migration(4, **named("日本語ゲスト"), **STARTED, state="postcopy", progress=progress(80)),
        migration(5, **named("split"), state="postcopy_paused", problem=BROKEN),
        migration(6, **named("lost"), state="unresolved", problem=UNKNOWN),
        migration(7, **named("in1"), state="preparing", direction="incoming", external=True)
        | {"source": None, "destination": "hosta"},
        migration(8, **named("q1"), state="queued", waiting_for=waits(position=2)),
        migration(9, **named("q2"), state="queued", waiting_for=waits(position=1, eta_s=40)),
        migration(10, **named("ok"), state="succeeded", result=RESULT)
        | {"finished_at": "2026-11-21T10:04:00Z"},
        migration(11, **named("bad"), state="failed", result={"duration_s": 3.1}, problem=PROBLEM),
    ):
        board.put(ShownMigration(raw))
    return board


def text(lines: list[Line]) -> list[str]:
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40])
def test_a_bad_day(width: int) -> None:
    """As it was looked at and found good: tests/cli/boards has what is expected."""
    expected = (BOARDS / f"{width}.txt").read_text().splitlines()
    assert text(evacuation().lines(NOW, width, 40, UNICODE)) == expected


def test_columns_go_in_the_order_of_their_worth() -> None:
    """What is shown at some width is shown at every greater one."""
    board = evacuation()
    gone: list[str] = []
    before: set[str] = set()
    for width in range(200, 39, -1):
        shown = set(text(board.lines(NOW, width, 40, UNICODE))[1].split())
        assert shown <= before or not before, width
        gone += sorted(before - shown)
        before = shown
    order = ["PASS", "ELAPSED", "SLOWED", "DISKS", "SENT", "PAUSE", "PEER", "DIRTY", "RATE"]
    assert gone == order


def test_without_utf_8_all_is_ascii() -> None:
    board = evacuation()
    lines = text(board.lines(NOW, 100, 40, ASCII))
    assert all(line.isascii() for line in lines)
    assert any("  44%  ##" in line for line in lines)
    assert any(line.startswith("\\u65e5\\u") for line in lines)
    assert all(len(line) <= 100 for line in lines)


def roles(board: Board, name: str) -> dict[str, str]:
    """The roles of the pieces in a guest's line."""
    lines = board.lines(NOW, 200, 40, UNICODE)
    (line,) = [line for line in lines if "".join(t for t, _ in line).startswith(f"{name} ")]
    return {piece.strip(): role for piece, role in line if piece.strip()}


def test_colours_tell_the_state_and_what_does_not_converge() -> None:
    board = evacuation()
    assert roles(board, "web1") | {"precopy": "precopy", "12.0 MiB/s": "", "19s": ""} == roles(
        board, "web1"
    )
    busy = roles(board, "db1")
    assert (busy["140 MiB/s"], busy["never"], busy["118 MiB/s"]) == ("trouble", "trouble", "")
    assert "unresolved" in roles(board, "lost").values()
    assert "succeeded" in roles(board, "ok").values()
    assert "queued" in roles(board, "q1").values()


def crowd(count: int) -> Board:
    board = Board()
    board.put(ShownMigration(migration(1, **named("web1"), progress=progress(45))))
    for n in range(2, count + 2):
        kind = "outgoing_slot" if n % 3 else "peer"
        what = waits(position=n - 1, resource=kind)
        board.put(ShownMigration(migration(n, **named(f"q{n}"), state="queued", waiting_for=what)))
    return board


def test_of_a_long_queue_the_head_is_shown_and_the_rest_is_counted() -> None:
    lines = text(crowd(300).lines(NOW, 100, 10, UNICODE))
    assert len(lines) == 10
    assert [line.split()[0] for line in lines[2:9]] == ["web1", *(f"q{n}" for n in range(2, 8))]
    assert lines[9] == (
        "294 more: 196 for an outgoing slot of hosta, 98 for pmigd of hosta, which does not answer"
    )


def test_what_has_ended_has_its_place_under_a_crowd_and_is_counted() -> None:
    board = crowd(300)
    for n in range(401, 421):
        board.put(ShownMigration(migration(n, **named(f"e{n}"), state="succeeded")))
    lines = text(board.lines(NOW, 100, 24, UNICODE))
    assert len(lines) == 24
    assert lines[20] == "ended  20 succeeded"
    assert [line.split()[0] for line in lines[21:]] == ["e420", "e419", "e418"]


def test_what_has_ended_stays_ended_whatever_comes_later() -> None:
    """An answer to an older question may come after the event."""
    board = Board()
    board.put(ShownMigration(migration(1, state="failed")))
    board.put(ShownMigration(migration(1, state="precopy")))
    board.waits([ShownMigration(migration(1, state="queued", waiting_for=waits()))])
    assert text(board.lines(NOW, 80, 24, UNICODE))[2:] == [
        "ended  1 failed",
        "web1    failed     ->hostb",
    ]


def test_places_in_the_queue_move_up_and_nothing_else_is_taken_from_that_answer() -> None:
    board = crowd(2)
    place = migration(3, **named("q3"), state="queued", waiting_for=waits(position=1))
    late = migration(1, **named("web1"), state="queued", waiting_for=waits(position=1))
    board.put(ShownMigration(migration(2, **named("q2"), progress=progress(1))))
    board.waits(
        [ShownMigration(place), ShownMigration(late), ShownMigration(migration(9, state="queued"))]
    )
    lines = text(board.lines(NOW, 120, 24, UNICODE))
    assert [line.split()[:2] for line in lines[2:]] == [
        ["web1", "precopy"],
        ["q2", "precopy"],
        ["q3", "queued"],
    ]
    assert "next in line" in lines[4]


def test_a_daemon_that_is_away_or_not_ready_is_the_first_thing_said() -> None:
    board = Board()
    board.status = {**STATUS, "ready": False, "missing": {"libvirt": "Connection refused"}}
    assert text(board.lines(NOW, 80, 24, UNICODE)) == [
        "hosta  NOT READY  out 0/4  in 0/2  queued 0  libvirt 9.0.0",
        "libvirt: Connection refused",
        "no open migrations",
    ]
    board.away = "for 5s (no such socket)"
    assert text(board.lines(NOW, 80, 24, UNICODE))[:2] == [
        "hosta  AWAY  out 0/4  in 0/2  queued 0  libvirt 9.0.0",
        "no news from pmigd for 5s (no such socket); migrations go on, trying again",
    ]


def test_a_few_lines_have_no_room_for_what_has_ended() -> None:
    board = Board()
    board.put(ShownMigration(migration(1, state="failed")))
    assert text(board.lines(NOW, 80, 6, UNICODE))[1:] == ["no open migrations"]
    board.put(ShownMigration(migration(2)))
    assert [line.split()[0] for line in text(board.lines(NOW, 80, 6, UNICODE))] == [
        "pmigd",
        "DOMAIN",
        "web1",
    ]


def test_nothing_known_yet_is_no_fault() -> None:
    board = Board()
    assert text(board.lines(NOW, 80, 24, UNICODE)) == [
        "pmigd  out 0  in 0  queued 0",
        "no open migrations",
    ]


ANYTHING = st.text(max_size=40)
NUMBERS = st.none() | st.integers(0, 1 << 62)


@st.composite
def migrations(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """Anything that the daemon may say, and some things that it should not."""
    problem = {"title": draw(ANYTHING), "detail": draw(ANYTHING), "remedy": draw(ANYTHING)}
    return migration(
        number,
        domain={"name": draw(ANYTHING), "uuid": "u"},
        state=draw(st.sampled_from(STATES) | ANYTHING),
        source=draw(ANYTHING),
        destination=draw(ANYTHING),
        direction=draw(st.sampled_from(["outgoing", "incoming"])),
        external=draw(st.booleans()),
        progress=draw(st.none() | st.fixed_dictionaries(dict.fromkeys(progress(), NUMBERS))),
        waiting_for=draw(st.none() | st.builds(waits, resource=ANYTHING, detail=ANYTHING)),
        problem=draw(st.none() | st.just(problem)),
        finished_at=draw(st.none() | ANYTHING),
        result=draw(st.none() | st.just({**RESULT, "mode": draw(ANYTHING)})),
    )


@examples(150)
@given(
    st.integers(0, 8).flatmap(lambda count: st.tuples(*(migrations(n) for n in range(count)))),
    st.integers(1, 220),
    st.integers(1, 60),
    st.sampled_from([UNICODE, ASCII]),
    ANYTHING,
)
def test_it_fits_and_harms_no_terminal(
    found: tuple[dict[str, Any], ...], width: int, height: int, glyphs: Glyphs, said: str
) -> None:
    board = Board()
    board.status = {**STATUS, "name": said, "missing": {said: said}, "ready": False}
    for raw in found:
        board.put(ShownMigration(raw))
    lines = board.lines(NOW, width, height, glyphs)
    assert len(lines) <= height
    for line in ("".join(piece for piece, _ in line) for line in lines):
        assert line.isprintable(), line
        assert cell_len(line) <= width, line
        assert line.isascii() or not glyphs.ascii
