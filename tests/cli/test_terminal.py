"""On a terminal: a bar that redraws itself, a question at Ctrl-C, tables that fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pmigd.cli.cells import ASCII, UNICODE, Glyphs, glyphs
from tests.cli.conftest import Terminal
from tests.cli.stub import RESULT, Stub, event, finding, migration, problem, progress, waits

Open = Callable[..., Terminal]
ONE = migration(1)["id"]
ABORT = f"/v1/migrations/{ONE}/abort"


def sampled(percent: int) -> dict[str, object]:
    return event("progress", migration(1, progress=progress(percent)))


SUCCEEDED = event("state", migration(1, state="succeeded", result=RESULT))
QUESTION = r"\[a\]bort the migration, \[l\]eave it running, \[c\]ontinue watching\? "


def test_the_bar_shows_percent_rate_and_time_left_and_gives_way_to_the_result(
    stub: Stub, terminal: Open
) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for(
        r"web1 precopy [━╾─]{10,}  44% eta 19s 118 MiB/s dirty 12\.0 MiB/s pause 90/300 ms"
    )
    stub.say(sampled(80))
    screen.wait_for(r"[━╾─]{10,}  79%")
    stub.say(SUCCEEDED)
    assert screen.end() == 0
    assert screen.text.rstrip().endswith("5 iterations")
    assert "\x1b[?25h" in screen.raw  # the cursor is back


def test_ctrl_c_asks_and_a_aborts(stub: Stub, terminal: Open) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.press("\x03")
    screen.wait_for(QUESTION)
    screen.press("what?\n")
    screen.wait_for(QUESTION)
    screen.press("a\n")
    stub.sent("POST", ABORT)
    screen.wait_for("abort requested")
    stub.say(event("state", migration(1, state="cancelled", result={"duration_s": 4})))
    assert screen.end() == 4
    assert "web1: cancelled after 4s" in screen.text


def test_ctrl_c_and_l_leaves_it_running(stub: Stub, terminal: Open) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.press("\x03")
    screen.wait_for(QUESTION)
    screen.press("l\n")
    assert screen.end() == 130
    assert "left it running" in screen.text
    assert not [r for r in stub.requests if r.path == ABORT]


@pytest.mark.parametrize("state", ["postcopy", "postcopy_paused"])
def test_in_post_copy_ctrl_c_offers_to_leave_and_not_to_abort(
    stub: Stub, terminal: Open, state: str
) -> None:
    """The guest runs at the destination already; without this migration it is lost."""
    screen = terminal("migrate", "web1", "hostb")
    stub.say(event("state", migration(1, state=state, progress=progress(45))))
    screen.wait_for(rf"web1 {state}")
    screen.press("\x03")
    screen.wait_for("In post-copy it cannot be aborted any more, only left")
    screen.wait_for(r"\[l\]eave it running, \[c\]ontinue watching\? ")
    screen.press("a\n")
    screen.wait_for(r"\[l\]eave it running, \[c\]ontinue watching\? ")
    screen.press("l\n")
    assert screen.end() == 130
    assert "[a]bort" not in screen.text
    assert f"left it running; pmigctl watch {ONE} follows it\n" in screen.text
    assert not [r for r in stub.requests if r.path == ABORT]


def test_a_second_ctrl_c_leaves_from_within_the_question(stub: Stub, terminal: Open) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.press("\x03")
    screen.wait_for(QUESTION)
    screen.press("\x03")
    assert screen.end() == 130
    assert "left it running" in screen.text
    assert "Traceback" not in screen.text


def test_after_continue_it_goes_on_and_the_next_ctrl_c_leaves_without_asking(
    stub: Stub, terminal: Open
) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.press("\x03")
    screen.wait_for(QUESTION)
    screen.press("c\n")
    stub.say(sampled(80))
    screen.wait_for("79%")
    screen.press("\x03")
    assert screen.end() == 130
    assert screen.text.count("ontinue watching") == 1


def test_an_abort_that_comes_too_late_is_told_and_the_result_shown(
    stub: Stub, terminal: Open
) -> None:
    stub.answers["POST", ABORT] = (409, problem(409, "wrong_state", detail="it succeeded"))
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.press("\x03")
    screen.wait_for(QUESTION)
    stub.say(SUCCEEDED)
    screen.press("a\n")
    assert screen.end() == 0
    assert "Wrong state: it succeeded" in screen.text
    assert "web1: succeeded" in screen.text


@pytest.mark.parametrize("columns", [12, 20, 40, 80, 200])
def test_the_bar_is_one_line_at_any_width(stub: Stub, terminal: Open, columns: int) -> None:
    """A line that wraps could not be redrawn, and would fill the screen."""
    screen = terminal("migrate", "web1", "hostb", columns=columns)
    stub.say(sampled(45))
    screen.wait_for("44%")
    stub.say(SUCCEEDED)
    assert screen.end() == 0
    drawn = [line for line in screen.text.replace("\r", "\n").split("\n") if "44%" in line]
    assert drawn
    assert all(len(line.rstrip()) <= columns for line in drawn)


def test_what_is_waited_for_stands_in_the_place_of_the_bar(stub: Stub, terminal: Open) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(event("state", migration(1, state="queued", waiting_for=waits())))
    screen.wait_for(
        r"web1 queued: waits for an outgoing slot of hosta \(1 of 1 in use\), 3rd in line for \d"
    )


def test_findings_are_coloured_by_level(stub: Stub, terminal: Open) -> None:
    stub.findings = [
        finding("block", "a"),
        finding("warn", "b"),
        finding("info", "c", detail="[x]"),
    ]
    screen = terminal("check", "web1", "hostb", columns=20)
    assert screen.end() == 3
    for colour, line in (
        ("1;31", "block  a: About a."),
        ("33", "warn   b: About b."),
        ("36", "info   c: [x]"),
    ):
        assert f"\x1b[{colour}m{line[:7]}" in screen.raw
        assert f"{line}\n" in screen.text
    plain = terminal("check", "web1", "hostb", NO_COLOR="1")
    assert plain.end() == 3
    assert "31m" not in plain.raw


def test_no_color_means_no_colour(stub: Stub, terminal: Open) -> None:
    stub.add(migration(1, progress=progress()), migration(2, state="unresolved"))
    coloured = terminal("list")
    assert coloured.end() == 0
    assert "\x1b[1;31m" in coloured.raw
    plain = terminal("list", NO_COLOR="1")
    assert plain.end() == 0
    assert "31m" not in plain.raw


@pytest.mark.parametrize("columns", [10, 30, 60, 80, 160])
def test_the_table_fits_and_keeps_what_matters(stub: Stub, terminal: Open, columns: int) -> None:
    near = "0199c1d2-7a01-7000-8000-000000000001"
    stub.add(migration(1, progress=progress()), migration(2, id=near, external=True))
    screen = terminal("list", columns=columns)
    assert screen.end() == 0
    lines = screen.text.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= columns for line in lines)
    if columns >= 60:
        assert lines[1].split()[:4] == ["0199c1d2-7a01", "web1", "precopy", "(external)"]


def test_short_ids_in_the_table_still_tell_the_migrations_apart(stub: Stub, terminal: Open) -> None:
    stub.add(migration(0x100), migration(0x200))
    screen = terminal("list", columns=120)
    assert screen.end() == 0
    ids = [line.split()[0] for line in screen.text.splitlines()[1:]]
    assert len(set(ids)) == 2
    assert all(len(i) < 36 for i in ids)


def test_watch_of_one_leaves_at_ctrl_c_without_a_question(stub: Stub, terminal: Open) -> None:
    stub.add(migration(1, progress=progress(10)))
    screen = terminal("watch", "web1")
    screen.wait_for("9%")
    screen.press("\x03")
    assert screen.end() == 130
    assert "left it running" in screen.text
    assert "[a]bort" not in screen.text


def test_ended_by_sigterm_it_gives_the_cursor_back(stub: Stub, terminal: Open) -> None:
    screen = terminal("migrate", "web1", "hostb")
    stub.say(sampled(45))
    screen.wait_for("44%")
    screen.process.terminate()
    assert screen.end() == 143
    assert screen.raw.rfind("\x1b[?25h") > screen.raw.rfind("\x1b[?25l") > -1
    assert not [r for r in stub.requests if r.path == ABORT]


@pytest.mark.parametrize("arguments", [["list"], ["migrate", "web1", "hostb"]])
def test_where_the_locale_is_not_utf_8_all_is_ascii(
    stub: Stub, terminal: Open, arguments: list[str]
) -> None:
    """Python itself would write UTF-8 under the locale C."""
    stub.add(migration(7, domain={"name": "bücher", "uuid": "u7"}, progress=progress(45)))
    screen = terminal(*arguments, LC_ALL="C")
    stub.say(sampled(45), SUCCEEDED)
    assert screen.end() == 0
    assert screen.text.isascii()
    assert "##" in screen.text


@pytest.mark.parametrize(
    ("environ", "encoding", "signs"),
    [
        ({"LANG": "de_DE.UTF-8"}, "utf-8", UNICODE),
        ({"LANG": "C.utf8"}, "utf-8", UNICODE),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, "utf-8", UNICODE),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "de_DE.UTF-8"}, "utf-8", UNICODE),
        ({"LC_CTYPE": "de_DE.UTF-8"}, "utf-8", UNICODE),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", ASCII),  # what Python makes of LANG=C
        ({"LC_CTYPE": "C.UTF-8"}, "utf-8", ASCII),  # and of nothing
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "utf-8", ASCII),
        ({"LANG": "de_DE.UTF-8"}, "iso8859-1", ASCII),  # PYTHONIOENCODING
        ({"LANG": "de_DE.UTF-8", "TERM": "linux"}, "utf-8", ASCII),
        ({}, "utf-8", ASCII),
    ],
)
def test_lines_only_where_they_can_surely_be_shown(
    environ: dict[str, str], encoding: str, signs: Glyphs
) -> None:
    assert glyphs(environ, encoding) is signs


def test_an_empty_list_says_so(terminal: Open) -> None:
    screen = terminal("list")
    assert screen.end() == 0
    assert "no open migrations" in screen.text
