"""`pmigctl watch` as an operator sees it: real migrations, in a real terminal."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab.conftest import ROOT, Pmig, start
from tests.support.tmux import Tmux

pytestmark = pytest.mark.hypervisor

Open = Callable[..., Tmux]


@pytest.fixture
def terminal(a: Pmig) -> Iterator[Open]:
    """pmigctl of hosta in a terminal of so many columns."""
    with ExitStack() as stack:

        def begin(*arguments: str, columns: int = 160, **env: str) -> Tmux:
            argv = [sys.executable, "-m", "pmigd.cli", *arguments]
            known = {"PYTHONPATH": ROOT, "PMIGD_SOCKET": a.host.pmigd.socket, **env}
            return stack.enter_context(Tmux(argv, columns=columns, env=known))

        yield begin


def line(text: str, guest: str) -> str:
    """The guest's line on the screen."""
    return next(found for found in text.splitlines() if found.startswith(f"{guest} "))


def test_an_evacuation_at_a_glance(a: Pmig, slow, guest, terminal: Open) -> None:
    """One that gets on, one that writes as fast as it is sent, one that waits; what has ended."""
    a.reload({"limits": {"max_outgoing": 2}})
    calm = slow(fill_mib=30)
    busy = guest(working_set_mib=8, dirty_pages_per_tick=40)  # 8 MiB/s
    waiting = guest()
    first = a.submit(calm, bandwidth_mib_s=1)
    second = a.submit(busy, bandwidth_mib_s=4)
    a.wait(first["id"], "precopy")
    a.wait(second["id"], "precopy")
    third = a.submit(waiting)
    watch = terminal("watch")
    text = watch.look("never", "/300 ms", "in line")
    assert re.match(r"hosta +ready +out 2/2 +in 0/\d+ +queued 1 +\d.* MiB/s +libvirt \d", text)
    assert re.search(
        r" precopy +->hostb +\d+% +━*╾?─+ .* [KM]iB/s .*/300 ms .* \S*\ds +\d+s$",
        line(text, calm.name),
    )
    assert re.search(
        r" \d+%  .* \d\.\d MiB/s +\d\.\d MiB/s .*/300 ms .* never ", line(text, busy.name)
    )
    assert "outgoing slot of hosta (2 of 2 in use), next in line" in line(text, waiting.name)

    watch.resize(60)
    text = watch.look("RATE", "never", gone=["PAUSE", "DIRTY"])
    assert all(len(found) <= 60 for found in text.splitlines())
    watch.resize(40)
    text = watch.look("ETA", "never", gone=["RATE"])
    assert all(len(found) <= 40 for found in text.splitlines())
    watch.resize(160)
    coloured = watch.look("ELAPSED", "never", colours=True)
    assert "\x1b[36mprecopy" in coloured
    assert "\x1b[1m\x1b[31mnever" in coloured

    a.abort(third["id"])
    a.abort(second["id"])
    assert a.ctl("set", calm.name, "--bandwidth", "1000").returncode == 0
    text = watch.look("ended  2 cancelled  1 succeeded")
    assert re.search(
        r" succeeded +->hostb +in \d.*, downtime \d+ ms, .* \d+s ago$", line(text, calm.name)
    )
    watch.press("q")
    assert watch.end() == 0
    assert a.get(first["id"])["state"] == "succeeded"


def test_it_outlives_pmigd_and_says_when_libvirt_is_away(a: Pmig, slow, terminal: Open) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    watch = terminal("watch", columns=100, NO_COLOR="1")
    watch.look("hosta  ready", " precopy ", "─")
    a.host.pmigd.kill(signal.SIGKILL)
    watch.look("hosta  AWAY", "no news from pmigd for", g.name)
    start(a.host)
    text = watch.look("hosta  ready", " precopy ", gone=["AWAY"], colours=True)
    assert not any(f"\x1b[{n}m" in text for n in range(30, 38))
    a.host.libvirtd.freeze()
    watch.look("hosta  NOT READY", "libvirt: ")
    a.host.libvirtd.thaw()
    watch.look("hosta  ready", gone=["NOT"])
    watch.press("C-c")
    assert watch.end() == 130
    assert a.get(m["id"])["state"] == "precopy"


def test_list_and_the_bar_of_one_in_the_same_terminal(a: Pmig, slow, terminal: Open) -> None:
    g = slow(fill_mib=12)
    m = a.submit(g, bandwidth_mib_s=4)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    text = terminal("list", columns=80).look(g.name, "[ended with 0]")
    assert re.search(rf"^{m['id'][:8]}\S* +{g.name} +precopy +->hostb +\d+% ", text, re.MULTILINE)
    watch = terminal("watch", g.name, columns=80)
    watch.look(f"{g.name} precopy ━", "eta ")
    watch.look(f"{g.name}: succeeded hosta->hostb in ")
    assert watch.end() == 0
