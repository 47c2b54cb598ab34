"""pmigctl against the real daemon: what people type, and what scripts rely on."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sys
import time

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import start

pytestmark = pytest.mark.hypervisor


class Terminal:
    """pmigctl on a terminal of its own."""

    def __init__(self, host, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        argv = [sys.executable, "-m", "pmigd.cli", *arguments]
        env = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        self.process = host.popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, timeout: float = 15) -> str:
        """Everything so far, once it has `pattern`."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.text!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    assert re.search(pattern, self.text), self.text
        return self.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self, timeout: float = 20) -> int:
        """The exit code."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    break
        code = self.process.wait(timeout=5)
        os.close(self._master)
        return code


def test_migrate_waits_and_says_how_it_went(a, b, guest) -> None:
    g = guest(fill_mib=8)
    run = a.ctl("migrate", g.name, "hostb")
    assert run.returncode == 0, run
    assert re.search(r"succeeded hosta->hostb in \d", run.stdout)
    assert "downtime" in run.stdout
    assert g.where() == [b.host]


def test_json_is_one_object_a_line_with_the_whole_migration(a, guest) -> None:
    run = a.ctl("--json", "migrate", guest(fill_mib=8).name, "hostb")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert events[-1]["migration"]["state"] == "succeeded"
    assert events[-1]["migration"]["result"]["transferred_bytes"] > 0
    states = [e["migration"]["state"] for e in events]
    order = ["queued", "preparing", "precopy", "finishing", "succeeded"]
    assert states == sorted(states, key=order.index)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["migrate"], 2, "usage"),
        (["migrate", "nosuch", "hostb"], 3, "remedy"),
        (["migrate", "nosuch", "hostx"], 3, "Peers: hostb"),
        (["migrate", "x", "qemu+tcp://hostb/system?command=/bin/sh"], 3, "command"),
        (["show", "01a1fc8b"], 3, "remedy"),
        (["--socket", "/run/none", "list"], 6, "/run/none"),
    ],
)
def test_refusals_have_their_exit_code_and_say_what_to_do(a, arguments, code, words) -> None:
    run = a.ctl(*arguments)
    assert run.returncode == code, run
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_a_failure_exits_1_and_a_cancellation_4(a, slow) -> None:
    run = a.ctl("migrate", slow().name, "hostb", "--bandwidth", "1", "--timeout", "1")
    assert run.returncode == 1
    assert "remedy" in run.stderr
    process = a.host.popen(
        [
            sys.executable,
            "-m",
            "pmigd.cli",
            "migrate",
            (g := slow()).name,
            "hostb",
            "--bandwidth",
            "1",
        ]
    )
    until(lambda: a.all(domain=g.name, state="precopy"), "pre-copy", timeout=10)
    assert a.ctl("abort", g.name).returncode == 0
    assert process.wait(timeout=10) == 4


def test_an_unresolved_one_exits_5_and_an_operator_closes_it(a, b, slow) -> None:
    g = slow(fill_mib=8, persistent=False)
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy")
    a.host.pmigd.kill(signal.SIGKILL)
    # It arrives and ends over there before anybody asks: nobody can know what became of it.
    a.host.virsh("migrate-setspeed", g.name, "1000")
    until(lambda: g.where() == [b.host], "the guest to arrive", timeout=20)
    b.host.virsh("destroy", g.name)
    start(a.host)
    m = a.wait(m["id"], "unresolved")
    assert m["problem"]["code"] == "guest_not_found"
    run = a.ctl("watch", m["id"])
    assert run.returncode == 5
    run = a.ctl("resolve", m["id"], "--as", "succeeded")
    assert run.returncode == 0, run
    m = a.get(m["id"])
    assert (m["state"], m["actions"][-1]["by"]) == ("succeeded", "root")
    assert a.ctl("resolve", m["id"], "--as", "failed").returncode == 3


def test_the_daemon_may_be_restarted_while_pmigctl_waits(a, b, slow) -> None:
    g = slow(fill_mib=12)
    process = a.host.popen(
        [sys.executable, "-m", "pmigd.cli", "migrate", g.name, "hostb", "--bandwidth", "3"]
    )
    until(lambda: a.all(domain=g.name, state="precopy"), "pre-copy", timeout=10)
    a.host.pmigd.kill(signal.SIGKILL)
    start(a.host)
    assert process.wait(timeout=30) == 0
    assert g.where() == [b.host]


def test_list_is_made_of_what_runs_and_what_waits(a, slow, guest) -> None:
    a.reload({"limits": {"max_outgoing": 1}})
    first, second = slow(), guest()
    running = a.submit(first, bandwidth_mib_s=1)
    a.wait(running["id"], "precopy", also=lambda m: m["progress"] is not None)
    a.submit(second)
    text = a.ctl("list").stdout
    assert re.search(rf"{first.name} .*precopy.*hosta->hostb.*%", text)
    assert re.search(rf"{second.name} .*queued.*outgoing slot of hosta", text)
    shown = a.ctl("show", first.name)
    assert running["id"] in shown.stdout
    assert a.ctl("abort", second.name).returncode == 0
    a.abort(running["id"])


def test_limits_peers_and_status_agree_with_what_runs_and_waits(a, slow, guest) -> None:
    a.reload({"limits": {"max_outgoing": 1}})
    first, second = slow(), guest()
    running = a.submit(first, bandwidth_mib_s=1)
    a.wait(running["id"], "precopy", also=lambda m: m["progress"] is not None)
    a.submit(second)
    until(lambda: a.all(domain=second.name, state="queued"), "the second to wait", timeout=5)
    limits = a.ctl("limits").stdout
    assert re.search(r"^outgoing slot +1 +0 +0 +1 +0 +max_outgoing$", limits, re.MULTILINE)
    assert re.search(
        r"^libvirt worker +1 +\d+ +\d+ +20 +5 +libvirtd, \ds ago$", limits, re.MULTILINE
    )
    assert re.search(r"^libvirtd: clients \d+/5000, .* workers \d+/20 ", limits, re.MULTILINE)
    assert re.search(r"^hostb +\S.* 1 +1 +0 ", a.ctl("peers").stdout, re.MULTILINE)
    status = a.ctl("status").stdout
    assert status.startswith("hosta: ready; ")
    assert f"queued: 1; the first, {second.name}, waits for an outgoing slot of hosta" in status
    assert a.metric("pmigd_admission_waiting", resource="outgoing_slot") == 1
    assert a.metric("pmigd_reserved_workers") == 1
    assert a.metric("pmigd_libvirtd_workers_limit") == 20
    assert a.metric("pmigd_libvirtd_admin_up") == 1
    assert a.ctl("set", second.name, "--priority", "90").returncode == 0
    assert a.all(domain=second.name)[0]["request"]["priority"] == 90
    assert a.ctl("abort", second.name).returncode == 0
    a.abort(running["id"])


def test_check_says_what_speaks_against_it_and_starts_nothing(a, guest) -> None:
    g = guest()
    assert a.ctl("check", g.name, "hostb").returncode == 0
    run = a.ctl("check", g.name, "hostb", "--tunnelled", "--postcopy", "--tls")
    assert run.returncode == 3
    assert "tunnelled_postcopy" in run.stdout + run.stderr
    assert "tunnelled_tls" in run.stdout + run.stderr
    assert a.all(domain=g.name) == []


def test_settings_and_controls_of_a_running_one(a, b, slow) -> None:
    g = slow(fill_mib=60)
    run = a.ctl("migrate", g.name, "hostb", "--bandwidth", "1", "--postcopy", "--detach")
    assert run.returncode == 0
    a.wait(run.stdout.strip(), "precopy", also=lambda m: m["progress"] is not None)
    assert a.ctl("set", g.name, "--max-downtime", "150", "--bandwidth", "20").returncode == 0
    settings = json.loads(a.ctl("--json", "get", g.name).stdout)
    assert (settings["max_downtime_ms"], settings["bandwidth_mib_s"]) == (150, 20)
    assert a.ctl("postcopy", g.name).returncode == 0
    m = a.end(run.stdout.strip())
    assert m["result"]["mode"] == "postcopy"
    assert g.where() == [b.host]
    assert a.ctl("recover", m["id"]).returncode == 3


class TestOnATerminal:
    def test_a_bar_moves(self, a, guest) -> None:
        terminal = Terminal(a.host, "migrate", guest(fill_mib=16).name, "hostb", "--bandwidth", "8")
        terminal.read_until(r"precopy.*━.*%")
        assert terminal.end() == 0
        assert "succeeded" in terminal.text

    def test_ctrl_c_asks_and_a_aborts(self, a, slow) -> None:
        g = slow()
        terminal = Terminal(a.host, "migrate", g.name, "hostb", "--bandwidth", "1")
        terminal.read_until("precopy")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until(r"\[a\]bort")
        terminal.type("a\n")
        assert terminal.end() == 4
        assert g.where() == [a.host]

    def test_ctrl_c_twice_leaves_it_running(self, a, slow) -> None:
        g = slow()
        terminal = Terminal(a.host, "migrate", g.name, "hostb", "--bandwidth", "1")
        terminal.read_until("precopy")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until(r"\[a\]bort")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        (m,) = a.all(domain=g.name)
        assert m["state"] == "precopy"
        a.abort(m["id"])
