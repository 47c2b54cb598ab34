"""The live view in a real terminal, on the stub daemon: what it takes, gives back, and survives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.cli.conftest import PMIGCTL, ROOT
from tests.cli.stub import PROBLEM, RESULT, Stub, event, migration, progress, waits
from tests.support.installed import needs
from tests.support.tmux import Tmux

pytestmark = needs("tmux")

Open = Callable[..., Tmux]
BUSY = progress(70, dirty_bytes_per_second=140 << 20, eta_s=None, outpaced=True)


@pytest.fixture
def screen(stub: Stub) -> Iterator[Open]:
    """Start `watch`, or something else, in a terminal."""
    with ExitStack() as stack:

        def begin(argv: Sequence[str] = (), *, columns: int = 120, **env: str) -> Tmux:
            words = [*(f"{k}={v}" for k, v in env.items()), *(argv or [*PMIGCTL, "watch"])]
            known = {"PMIGD_SOCKET": str(stub.socket), "PYTHONPATH": str(ROOT)}
            return stack.enter_context(Tmux(["env", *words], columns=columns, env=known))

        yield begin


def some(stub: Stub) -> None:
    """One that goes well, one that does not, one that waits, one in trouble."""
    stub.add(
        migration(1, progress=progress(45)),
        migration(2, domain={"name": "db1", "uuid": "u2"}, progress=BUSY),
        migration(3, domain={"name": "bücher", "uuid": "u3"}, state="queued", waiting_for=waits()),
        migration(4, domain={"name": "lost", "uuid": "u4"}, state="unresolved", problem=PROBLEM),
    )


def test_it_moves_and_what_has_ended_stands_below_and_q_leaves(stub: Stub, screen: Open) -> None:
    stub.add(migration(1, progress=progress(10)))
    watch = screen()
    watch.look("hosta  ready  out 1/4", "web1    precopy    ->hostb    9%  ", "──", "19s")
    assert watch.own_screen
    stub.say(event("progress", migration(1, progress=progress(70))))
    watch.look("web1    precopy    ->hostb   69%  ━━━━")
    stub.say(event("state", migration(1, state="succeeded", result=RESULT)))
    text = watch.look("ended  1 succeeded", gone=["precopy"])
    assert "web1    succeeded  ->hostb  in 23s, downtime 85 ms, 4.2 GiB" in text
    watch.press("x", "Enter", "Up", "q")
    assert watch.end() == 0
    assert "web1" not in watch.text()


@pytest.mark.parametrize(("how", "code"), [("C-c", 130), ("TERM", 143)])
def test_the_terminal_is_given_back(stub: Stub, screen: Open, how: str, code: int) -> None:
    stub.add(migration(1))
    watch = screen()
    watch.look("web1")
    if how == "TERM":
        os.kill(watch.pid, signal.SIGTERM)
    else:
        watch.press(how)
    assert watch.end() == code
    assert "web1" not in watch.text()


def test_it_follows_the_size_of_the_terminal(stub: Stub, screen: Open) -> None:
    some(stub)
    watch = screen(columns=160)
    watch.look("DIRTY", "PAUSE", "ELAPSED", "140 MiB/s", "never")
    watch.resize(60)
    watch.look("RATE", "118 MiB/s", "never", "━", gone=["DIRTY", "PAUSE", "ELAPSED"])
    watch.resize(40, 5)
    text = watch.look(" 44%", "19s", "2 more", gone=["RATE", "PEER"])
    assert len(text.splitlines()) == 5
    watch.resize(160)
    watch.look("DIRTY", "PAUSE", "ELAPSED", "bücher")


def test_colours_and_none_of_them(stub: Stub, screen: Open) -> None:
    some(stub)
    coloured = screen().look("never", colours=True)
    assert "\x1b[36mprecopy" in coloured
    assert "\x1b[1m\x1b[31munresolved" in coloured
    assert "\x1b[1m\x1b[31mnever" in coloured
    plain = screen(NO_COLOR="1").look("never", colours=True)
    assert not any(f"\x1b[{n}m" in plain for n in range(30, 38))


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LANG": "C"}, {"LANG": ""}, {"TERM": "linux"}])
def test_where_lines_may_not_be_shown_all_is_ascii(
    stub: Stub, screen: Open, env: dict[str, str]
) -> None:
    some(stub)
    assert screen(**env).look("never", "##", "b\\xfccher").isascii()


def test_a_terminal_that_nobody_has_described_here_works_all_the_same(
    stub: Stub, screen: Open
) -> None:
    some(stub)
    watch = screen(TERM="xterm-of-tomorrow")
    watch.look("never", "━")
    watch.press("q")
    assert watch.end() == 0


def test_a_dumb_terminal_gets_plain_lines(stub: Stub, screen: Open) -> None:
    some(stub)
    watch = screen(TERM="dumb")
    watch.look("db1 hosta->hostb precopy")
    assert not watch.own_screen
    watch.press("C-c")
    assert watch.end() == 130


def test_stopped_it_gives_the_terminal_back_and_takes_it_again(stub: Stub, screen: Open) -> None:
    some(stub)
    shell = screen(["bash", "--norc"])
    shell.press(f"{' '.join(PMIGCTL)} watch", "Enter")
    shell.look("never")
    assert shell.own_screen
    shell.press("C-z")
    shell.look("Stopped", gone=["never"])
    assert not shell.own_screen
    shell.press("fg", "Enter")
    shell.look("never", gone=["Stopped"])
    shell.press("q")
    shell.look("Stopped", gone=["never"])
    shell.press("exit", "Enter")
    assert shell.end() == 0


def test_it_says_that_the_daemon_is_away_and_goes_on_by_itself(stub: Stub, screen: Open) -> None:
    some(stub)
    watch = screen()
    watch.look("hosta  ready", "never")
    for outcome in ("succeeded", "failed"):
        stub.stop()
        watch.look("hosta  AWAY", "no news from pmigd for", "never")
        stub.add(migration(1, state=outcome, result=RESULT))
        stub.start()
        watch.look("hosta  ready", "ended  1 succeeded", gone=["AWAY"])
    watch.press("q")
    assert watch.end() == 0


def test_the_queue_moves_up_although_no_event_says_so(stub: Stub, screen: Open) -> None:
    some(stub)
    watch = screen()
    watch.look("bücher  queued", "3rd in line")
    stub.add({**stub.migrations[migration(3)["id"]], "waiting_for": waits(position=1)})
    watch.look("next in line")


def test_without_anybody_to_type_it_shows_until_it_is_ended(stub: Stub, screen: Open) -> None:
    some(stub)
    watch = screen(["sh", "-c", f"exec {' '.join(PMIGCTL)} watch </dev/null"])
    watch.look("never")
    os.kill(watch.pid, signal.SIGINT)
    assert watch.end() == 130
