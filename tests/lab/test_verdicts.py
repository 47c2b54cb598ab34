"""What became of a guest after all kinds of ends: pmigd's word beside what virsh shows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import start
from tests.lab.test_migrate import in_finishing

pytestmark = pytest.mark.hypervisor

ACPI = "<features><acpi/></features>"
ASLEEP = "<features><acpi/></features><pm><suspend-to-mem enabled='yes'/></pm>"


def reason(host, g) -> str:
    """virsh's word for the guest on a host."""
    done = host.run(["virsh", "domstate", "--reason", g.name], check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def end_there(b, g, how: str) -> None:
    match how:
        case "destroyed":
            b.host.virsh("destroy", g.name)
        case "crashed":
            os.kill(g.qemu_pid(b.host), signal.SIGKILL)
        case "shutdown":
            # As its operating system does. To tell QEMU to quit is no such thing: it may be gone
            # before libvirt has heard of it, which then calls it a crash.
            write_acpi(b.host, g, 0x2000)


class TestArrivedAndEndedThere:
    @pytest.mark.parametrize("how", ["destroyed", "shutdown", "crashed"])
    def test_while_pmigd_is_dead(self, a, b, slow, how) -> None:
        g = slow(fill_mib=4, features_xml=ACPI)
        m = a.submit(g, bandwidth_mib_s=2)
        a.wait(m["id"], "precopy")
        a.host.pmigd.kill(signal.SIGKILL)
        until(lambda: g.where() == [b.host], "the guest to arrive", timeout=30)
        end_there(b, g, how)
        until(lambda: "shut off" in reason(b.host, g), "its end there", timeout=30)
        start(a.host)
        m = a.end(m["id"], "succeeded", timeout=30)
        assert m["result"]["afterwards"] == f"It has since ended there: shut off ({how})."
        assert reason(b.host, g) == f"shut off ({how})"
        assert reason(a.host, g) == ""

    def test_while_it_is_asked_about(self, a, b, slow) -> None:
        """pmigd stands still from before it arrives until after it has ended there."""
        g = slow(fill_mib=4)
        m = a.submit(g, bandwidth_mib_s=2)
        a.wait(m["id"], "precopy")
        a.host.pmigd.freeze()
        until(lambda: g.where() == [b.host], "the guest to arrive", timeout=30)
        end_there(b, g, "destroyed")
        a.host.pmigd.thaw()
        m = a.end(m["id"], "succeeded", timeout=30)
        assert "shut off (destroyed)" in m["result"]["afterwards"]

    def test_a_transient_one_that_is_nowhere_any_more(self, a, b, slow) -> None:
        g = slow(fill_mib=4, persistent=False)
        m = a.submit(g, bandwidth_mib_s=2)
        a.wait(m["id"], "precopy")
        a.host.pmigd.freeze()
        until(lambda: g.where() == [b.host], "the guest to arrive", timeout=30)
        end_there(b, g, "destroyed")
        a.host.pmigd.thaw()
        m = a.end(m["id"], "succeeded", timeout=30)
        assert "does not have it any more" in m["result"]["afterwards"]

    def test_and_brought_home_by_another_hand(self, a, b, slow) -> None:
        g = slow(fill_mib=4)
        m = a.submit(g, bandwidth_mib_s=2, undefinesource=False)
        a.wait(m["id"], "precopy")
        a.host.pmigd.kill(signal.SIGKILL)
        until(lambda: g.where() == [b.host], "the guest to arrive", timeout=30)
        g.migrate(a.host, "--live", "--p2p", "--persistent")
        start(a.host)
        m = a.end(m["id"], "succeeded", timeout=30)
        assert "moved back here" in m["result"]["afterwards"]
        assert g.where() == [a.host]

    def test_or_nobody_knows_and_that_is_said(self, a, b, slow) -> None:
        """It left no trace at the destination: what is known is that it is another run."""
        g = slow(fill_mib=4)
        m = a.submit(g, bandwidth_mib_s=2)
        a.wait(m["id"], "precopy")
        a.host.pmigd.kill(signal.SIGKILL)
        until(lambda: g.where() == [b.host], "the guest to arrive", timeout=30)
        g.migrate(a.host, "--live", "--p2p", "--persistent", "--undefinesource")
        start(a.host)
        m = a.end(m["id"], "failed", timeout=30)
        assert m["problem"]["code"] == "another_run"
        assert "moved back here" in m["problem"]["detail"]
        assert not m["problem"]["retryable"]
        assert g.where() == [a.host]


class TestAsleep:
    """QEMU 7.2 sends all of a guest that is suspended to memory, and never switches it over."""

    def sleeping(self, a, guest, **spec):
        g = guest(memory_mib=32, fill_mib=8, features_xml=ASLEEP, **spec)
        fall_asleep(a.host, g)
        until(lambda: "pmsuspended" in reason(a.host, g), "it to fall asleep", timeout=15)
        return g

    def test_is_refused_before_it_is_called(self, a, guest) -> None:
        g = self.sleeping(a, guest)
        found = a.call("POST", "/v1/check", {"domain": g.name, "destination": "hostb"})
        assert "guest_asleep" in {f["code"] for f in found["findings"] if f["level"] == "block"}
        m = a.end(a.submit(g)["id"], "failed", timeout=30)
        assert m["problem"]["code"] == "guest_asleep" or "asleep" in m["problem"]["detail"]
        assert "pmsuspended" in reason(a.host, g)

    @pytest.mark.long
    def test_that_fell_asleep_on_the_way_is_told_and_can_be_got_out_of_it(
        self, a, b, guest
    ) -> None:
        g = guest(memory_mib=64, fill_mib=40, features_xml=ASLEEP)
        m = a.submit(g, bandwidth_mib_s=8)
        a.wait(m["id"], "precopy")
        fall_asleep(a.host, g)
        told = a.wait(
            m["id"],
            "precopy",
            "finishing",
            timeout=60,
            also=lambda m: m["problem"] is not None and m["problem"]["code"] == "standstill",
        )
        assert "asleep (suspended to memory)" in told["problem"]["detail"]
        a.abort(m["id"])
        until(lambda: reason(b.host, g) == "", "the destination's copy to end", timeout=30)
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())
        assert a.get(m["id"])["state"] not in ("cancelled", "succeeded", "failed")
        # libvirt holds on to its job; a suspend gets it out, and the guest runs on after it.
        a.call("POST", f"/v1/migrations/{m['id']}/suspend", status=202)
        a.end(m["id"], "cancelled", timeout=15)
        assert g.where() == [a.host]
        g.heartbeats.wait(5, host="hosta", since=time.monotonic())


def fall_asleep(host, g) -> None:
    """Suspend to memory."""
    write_acpi(host, g, 0x2400)


def write_acpi(host, g, value: int) -> None:
    """Write the guest's ACPI control register, as its operating system would."""
    host.virsh("qemu-monitor-command", "--hmp", g.name, f"o/h 0x604 {value:#x}")


def in_postcopy(a, b, guest, *, idle: bool = False, **fields):
    """A guest and its migration with most of its memory still to come."""
    busy = {} if idle else {"dirty_pages_per_tick": 8, "working_set_mib": 8}
    g = guest(memory_mib=96, fill_mib=40, **({"dirty_pages_per_tick": 1} | busy))
    limits = {"bandwidth_mib_s": 3, "postcopy_bandwidth_mib_s": 3}
    m = a.submit(g, postcopy="allowed", **limits, **fields)
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    a.call("POST", f"/v1/migrations/{m['id']}/postcopy", status=202)
    a.wait(m["id"], "postcopy")
    until(
        lambda: "post-copy" in reason(b.host, g),
        "the destination's libvirt to know of the switch",
        timeout=5,
    )
    return g, m


@contextlib.contextmanager
def deaf(host):
    """The host's QEMU hears nothing of what others send it about migrations, nor they of it."""
    rules = [
        [chain, "-p", "tcp", f"--{port}", "49152:49215", "-j", "DROP"]
        for chain in ("INPUT", "OUTPUT")
        for port in ("dport", "sport")
    ]
    for rule in rules:
        host.run(["iptables", "-A", *rule])
    try:
        yield
    finally:
        for rule in rules:
            host.run(["iptables", "-D", *rule])


class TestBrokenPostcopy:
    @pytest.mark.long
    def test_that_only_the_source_has_noticed_says_what_it_waits_for(
        self, lab, a, b, guest
    ) -> None:
        g, m = in_postcopy(a, b, guest, idle=True, recover_attempts=0)
        path = f"/v1/migrations/{m['id']}/recover"
        with deaf(b.host):
            assert lab.link(a.host).reset_connections() > 0
            told = a.wait(
                m["id"],
                "postcopy_paused",
                also=lambda m: "Only the source" in m["problem"]["detail"],
            )
            assert "post-copy failed" in reason(a.host, g)
            assert reason(b.host, g) == "running (post-copy)"
            answer = a.call("POST", path, status=202)
            asked = [x for x in answer["actions"] if x["action"] == "recover"]
            assert [x["outcome"] for x in asked] == ["pending"], told
            # libvirt itself lets nobody go on, as long as one end does not know.
            resume = ["virsh", "migrate", "--live", "--p2p", "--postcopy", "--postcopy-resume"]
            tried = a.host.run([*resume, g.name, b.host.uri_from_peer], check=False)
            assert "being actively monitored" in tried.stderr
        lab.link(b.host).reset_connections()
        m = a.end(m["id"], timeout=60)
        assert g.where() == [b.host]
        g.heartbeats.wait(5, host="hostb", since=time.monotonic())
        assert g.heartbeats.memory_ok
        (asked,) = [x for x in m["actions"] if x["action"] == "recover"]
        assert asked["outcome"] == "done", json.dumps(m, indent=1)

    @pytest.mark.long
    def test_that_qemu_at_the_source_has_not_noticed_goes_on_when_asked(
        self, lab, a, b, guest
    ) -> None:
        """libvirt knows it from the destination; its QEMU would wait for TCP's time-outs."""
        g, m = in_postcopy(a, b, guest, recover_attempts=0)
        with deaf(a.host):
            assert lab.link(b.host).reset_connections() > 0
            a.wait(m["id"], "postcopy_paused", timeout=30)
            resume = ["virsh", "migrate", "--live", "--p2p", "--postcopy", "--postcopy-resume"]
            tried = a.host.run([*resume, g.name, b.host.uri_from_peer], check=False)
            assert "QEMU reports migration is still running" in tried.stderr
            time.sleep(3)  # QEMU's next try to send is then seconds away
        a.call("POST", f"/v1/migrations/{m['id']}/recover", status=202)
        m = a.end(m["id"], timeout=60)
        (asked,) = [x for x in m["actions"] if x["action"] == "recover"]
        assert asked["outcome"] == "done", json.dumps(m, indent=1)
        assert g.where() == [b.host]
        assert g.heartbeats.memory_ok

    def test_whose_source_half_is_gone_is_lost(self, a, b, guest) -> None:
        g, m = in_postcopy(a, b, guest, idle=True)
        os.kill(g.qemu_pid(a.host), signal.SIGKILL)
        m = a.end(m["id"], "failed", timeout=15)
        assert m["problem"]["code"] == "postcopy_lost"
        assert "crashed" in m["problem"]["detail"]
        assert reason(b.host, g) == "running (post-copy failed)"
        # The half there may still answer: it is nobody's but the operator's to end.
        g.heartbeats.wait(5, host="hostb", since=time.monotonic())
        # libvirt here holds on to its job, and would not let the test forget the guest.
        a.host.libvirtd.restart()

    @pytest.mark.parametrize("how", ["crashed", "destroyed"])
    def test_whose_destination_half_is_gone_is_lost(self, a, b, guest, how) -> None:
        g, m = in_postcopy(a, b, guest)
        end_there(b, g, how)
        m = a.end(m["id"], "failed", timeout=15)
        assert m["problem"]["code"] == "postcopy_lost"
        assert f"shut off ({how})" in m["problem"]["detail"]
        assert reason(a.host, g) == "paused (post-copy failed)"
        # What is left here is not taken for a migration that others began.
        listed = a.all(domain=g.name)
        assert [x["id"] for x in listed] == [m["id"]], json.dumps(listed, indent=1)


@pytest.mark.long
def test_one_whose_destination_falls_silent_at_the_finish_ends_when_that_answers(
    a, b, slow
) -> None:
    g = slow(fill_mib=8)
    m = in_finishing(a, b, g)
    time.sleep(3)  # silent for longer than a look at both ends takes
    m = a.get(m["id"])
    assert (m["state"], m["problem"]) == ("finishing", None), "no verdict without its word"
    b.host.libvirtd.thaw()
    m = a.end(m["id"])
    assert m["problem"] is None
    assert g.where() == [b.host]
    g.heartbeats.wait(5, host="hostb", since=time.monotonic())
