"""Which host starts a guest at its next boot, before, while and after it moves: one, never two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig, dead, dies_before, start

pytestmark = pytest.mark.hypervisor


def flag(host: Host, g: LabGuest) -> bool | None:
    """Whether the guest starts with `host`; None: the host does not know it."""
    done = host.run(["virsh", "dominfo", g.uuid], check=False)
    if done.returncode != 0:
        return None
    words = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return {"enable": True, "disable": False}[words["Autostart"].strip()]


def boot(host: Host) -> None:
    """What libvirt does for guests when its host is booted; those that run are not ended by it."""
    host.libvirtd.stop()
    host.path("/run/libvirt/qemu/autostarted").unlink()
    host.libvirtd.start()
    # It starts the guests in a thread of its own; whoever asks for a domain's state waits for that.
    until(host.path("/run/libvirt/qemu/autostarted").exists, "the boot's end", timeout=20)


def told(m: dict[str, Any]) -> list[tuple[str, str]]:
    """What the record says of the flag."""
    return [(x["reason"], x["outcome"]) for x in m["actions"] if x["action"] == "autostart"]


@pytest.fixture
def starts(a: Pmig, guest: Callable[..., LabGuest]) -> Callable[..., LabGuest]:
    """A guest that starts with hosta."""

    def make(**spec: Any) -> LabGuest:
        g = guest(**spec)
        a.host.virsh("autostart", g.name)
        return g

    return make


def test_it_starts_with_its_new_host_and_with_that_alone(a, b, starts) -> None:
    g = starts()
    m = a.end(a.submit(g)["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (None, True)
    assert told(m) == [
        ("off at hosta, which must not start a second copy once it moves", "done"),
        ("on at hostb, as it was at hosta", "done"),
    ]
    boot(a.host)
    assert g.where() == [b.host]
    b.host.virsh("destroy", g.name)
    boot(b.host)
    until(lambda: g.where() == [b.host], "hostb to start it", timeout=20)


def test_a_definition_that_stays_starts_nothing(a, b, starts) -> None:
    g = starts()
    a.end(a.submit(g, undefinesource=False)["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (False, True)
    boot(a.host)
    assert g.where() == [b.host]


def test_as_libvirt_leaves_it(a, b, starts) -> None:
    g = starts()
    checked = a.call(
        "POST",
        "/v1/check",
        {"domain": g.name, "destination": "hostb", "undefinesource": False, "autostart": "leave"},
    )
    assert "autostart_second_copy" in {found["code"] for found in checked["findings"]}
    m = a.end(a.submit(g, undefinesource=False, autostart="leave")["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (True, False)
    assert told(m) == []
    # The fault that the default mends: the boot of a host that the guest has left.
    boot(a.host)
    until(lambda: g.where() == [a.host, b.host], "a second copy", timeout=20)


def test_it_is_as_asked_for_in_either_direction(a, b, guest) -> None:
    g = guest()
    there = a.submit(g, autostart=True, undefinesource=False)
    a.end(there["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (False, True)
    a.host.virsh("autostart", g.name)  # an old definition that must not start it
    b.end(b.submit(g, "hosta", autostart=False, undefinesource=False)["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (False, False)


def test_one_that_stays_starts_with_its_host_again(a, b, starts) -> None:
    g = starts(fill_mib=40)
    m = a.submit(g, bandwidth_mib_s=1)
    a.wait(m["id"], "precopy")
    assert flag(a.host, g) is False
    a.abort(m["id"])
    m = a.end(m["id"], "cancelled")
    assert flag(a.host, g) is True
    assert told(m)[-1] == ("on again at hosta, where the guest is", "done")
    assert g.where() == [a.host]


def test_a_definition_that_moves_takes_it_along(a, b, starts) -> None:
    g = starts()
    a.host.virsh("destroy", g.name)
    a.end(a.submit(g, offline=True)["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (None, True)


def test_a_copy_of_a_definition_does_not(a, b, starts) -> None:
    g = starts()
    a.end(a.submit(g, offline=True)["id"])
    assert (flag(a.host, g), flag(b.host, g)) == (True, False)
    boot(b.host)
    assert g.where() == [a.host]


class TestKilled:
    @pytest.mark.long
    def test_before_it_is_switched_off(self, a, b, starts) -> None:
        g = starts()
        dies_before(a, "autostart_here")
        m = a.submit(g)
        dead(a)
        start(a.host)
        # It may have been switched off: on again, back to the queue, and begun anew.
        m = a.end(m["id"])
        assert [outcome for _, outcome in told(m)] == ["overtaken", "done", "done", "done"]
        assert (flag(a.host, g), flag(b.host, g)) == (None, True)
        assert g.where() == [b.host]

    @pytest.mark.long
    def test_before_libvirt_is_called(self, a, b, starts) -> None:
        g = starts()
        dies_before(a, "perform")
        m = a.submit(g)
        dead(a)
        assert flag(a.host, g) is False
        start(a.host)
        # For all that pmigd knows the call was made: not a second time.
        m = a.end(m["id"], "failed")
        assert m["problem"]["code"] == "interrupted"
        assert flag(a.host, g) is True
        assert g.where() == [a.host]

    def test_after_the_arrival(self, a, b, starts) -> None:
        g = starts()
        dies_before(a, "autostart_there")
        m = a.submit(g, undefinesource=False)
        dead(a)
        assert (flag(a.host, g), flag(b.host, g)) == (False, False)
        boot(a.host)
        assert g.where() == [b.host]
        # And the destination is away when pmigd is back: it is owed until it answers.
        b.host.libvirtd.stop()
        start(a.host)
        waits = a.wait(m["id"], "finishing", also=lambda m: m["actions"][-1]["waits"])
        assert waits["actions"][-1]["outcome"] == "pending"
        b.host.libvirtd.start()
        m = a.end(m["id"])
        assert m["adopted"]
        assert (flag(a.host, g), flag(b.host, g)) == (False, True)

    def test_before_it_is_taken_back(self, a, b, starts) -> None:
        g = starts(fill_mib=40)
        dies_before(a, "autostart_here on")
        m = a.submit(g, bandwidth_mib_s=1)
        a.wait(m["id"], "precopy")
        a.abort(m["id"])
        dead(a)
        assert flag(a.host, g) is False
        start(a.host)
        a.end(m["id"], "cancelled")
        assert flag(a.host, g) is True
        assert g.where() == [a.host]
