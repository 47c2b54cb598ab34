"""Two hosts that tell each other who may come: waits, pushes, crashes of either side, storms."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from contrib.lab.deadlines import until
from tests.lab.conftest import Pmig, start
from tests.leases.conftest import WITHOUT_LEASES, nothing_held


def waits_for(pmig: Pmig, iden: str, resource: str, host: str) -> dict:
    """What a queued migration waits for, once that is `resource` of `host`."""

    def found() -> dict | None:
        waiting = pmig.get(iden)["waiting_for"]
        if waiting is None or (waiting["resource"], waiting["host"]) != (resource, host):
            return None
        return waiting

    return until(
        found,
        f"waiting for {resource} of {host}",
        timeout=10,
        evidence=lambda: f"{pmig.get(iden)}\n{pmig.host.pmigd.log_tail()}",
    )


def given(pmig: Pmig) -> tuple[int, int]:
    """Leases that a host has given: granted, waiting."""
    leases = pmig.call("GET", "/v1/limits")["given"]
    return leases["granted"], leases["waiting"]


def test_a_destination_knows_from_the_lease_who_sends_and_how(a, b, slow) -> None:
    g = slow()
    m = a.submit(g, bandwidth_mib_s=1, transport="tunnelled")
    a.wait(m["id"], "precopy", also=lambda m: m["progress"] is not None)
    sent = {"direction": "incoming", "peer": "hosta", "transport": "tunnelled"}
    until(
        lambda: b.metric("pmigd_migration_info", domain=g.name, **sent),
        "the guest seen to come",
        timeout=10,
    )
    into = b.all(domain=g.name)[0]
    assert (into["source"], into["destination"], into["external"]) == ("hosta", "hostb", True)
    a.abort(m["id"])
    a.end(m["id"], "cancelled")
    until(
        lambda: b.metric("pmigd_recent_migration_info", domain=g.name, **sent),
        "its end at the destination",
        timeout=10,
    )
    for pmig in (a, b):
        name = "pmigd_tls_certificate_not_after_timestamp_seconds"
        assert pmig.metric(name, usage="peer") > time.time()


class TestWaiting:
    def test_is_for_the_destinations_slot_and_ends_when_that_is_free(self, a, b, guest, slow):
        b.reload({"limits": {"max_incoming": 1}})
        first = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        second = a.submit(guest())
        waiting = waits_for(a, second["id"], "incoming_slot", "hostb")
        assert (waiting["used"], waiting["limit"], waiting["position"]) == (1, 1, 1)
        assert given(b) == (1, 1)
        a.abort(first["id"])
        a.end(second["id"])

    def test_does_not_hold_up_those_who_go_elsewhere(self, a, b, guest, slow):
        b.reload({"limits": {"max_incoming": 1}})
        a.reload({"limits": {"max_outgoing": 2}})
        first = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        second = a.submit(guest())
        waits_for(a, second["id"], "incoming_slot", "hostb")
        a.end(a.submit(guest(), to=WITHOUT_LEASES)["id"])
        a.abort(first["id"])
        a.end(second["id"])

    def test_ends_when_the_destinations_limit_is_raised(self, a, b, guest, slow):
        b.reload({"limits": {"max_incoming": 1}})
        first = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        second = a.submit(guest())
        waits_for(a, second["id"], "incoming_slot", "hostb")
        b.reload({"limits": {"max_incoming": 2}})
        a.end(second["id"])
        assert a.get(first["id"])["state"] == "precopy"
        a.abort(first["id"])

    def test_outlives_a_change_of_the_way_to_the_peers_pmigd(self, a, b, guest, slow):
        b.reload({"limits": {"max_incoming": 1}})
        first = a.submit(slow(), to=WITHOUT_LEASES, bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        second = a.submit(guest())
        waits_for(a, second["id"], "incoming_slot", "hostb")
        a.reload({"peers": {"hostb": {"pmigd": f"https://{b.host.address}:9717"}}})
        waits_for(a, second["id"], "incoming_slot", "hostb")
        a.abort(first["id"])
        a.end(second["id"])

    def test_follows_the_priority(self, a, b, guest, slow):
        b.reload({"limits": {"max_incoming": 1}})
        a.reload({"limits": {"max_outgoing": 1}})
        first = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        late, early = a.submit(guest(), priority=10), a.submit(guest(), priority=60)
        assert a.get(early["id"])["waiting_for"]["position"] == 1
        a.call("PATCH", f"/v1/migrations/{late['id']}", {"priority": 90})
        assert a.get(late["id"])["waiting_for"]["position"] == 1
        a.abort(first["id"])
        done = [a.end(m["id"])["finished_at"] for m in (late, early)]
        assert done == sorted(done)


def test_a_destination_that_has_the_guest_refuses_and_says_so(a, b, guest):
    g = guest()
    b.host.write_file("/run/twin.xml", g.xml)
    b.host.virsh("create", "/run/twin.xml")
    m = a.end(a.submit(g)["id"], "failed")
    assert m["problem"]["code"] == "destination_has_domain"
    assert "hostb has" in m["problem"]["detail"]
    b.host.virsh("destroy", g.name)


def test_a_destination_that_cannot_write_its_journal_grants_nothing_until_it_can(a, b, guest):
    g = guest()
    b.host.pmigd.stop()
    b.host.state_dir_read_only(True)
    start(b.host, wait_ready=False)
    try:
        m = a.submit(g)
        waits_for(a, m["id"], "journal", "hostb")
        assert given(b)[0] == 0
    finally:
        b.host.state_dir_read_only(False)
    a.end(m["id"])


class TestAPeerThatIsAway:
    def test_is_waited_for_with_that_reason(self, a, b, guest):
        b.host.pmigd.stop()
        m = a.submit(guest())
        waiting = waits_for(a, m["id"], "peer", "hostb")
        assert "hostb" in waiting["detail"]
        (peer,) = a.call("GET", "/v1/peers")["items"]
        assert peer["pmigd"]["answers"] is False
        start(b.host)
        a.end(m["id"])
        (peer,) = a.call("GET", "/v1/peers")["items"]
        assert peer["pmigd"]["answers"] is True

    def test_is_not_waited_for_without_end(self, a, b, guest):
        a.reload({"peer": {"patience_s": 1}})
        b.host.pmigd.stop()
        g = guest()
        m = a.end(a.submit(g)["id"], "failed")
        assert m["problem"]["code"] == "peer_unavailable"
        assert g.where() == [a.host]

    def test_does_not_end_what_runs(self, a, b, slow):
        m = a.submit(slow(), bandwidth_mib_s=10)
        a.wait(m["id"], "precopy")
        b.host.pmigd.stop()
        assert a.end(m["id"])["problem"] is None


class TestCrashes:
    """No lease outlives its migration, whoever is killed at whatever step."""

    @pytest.fixture(params=["source", "destination"])
    def victim(self, request, a, b) -> Pmig:
        return a if request.param == "source" else b

    @staticmethod
    def crash(victim: Pmig) -> None:
        victim.host.pmigd.kill()
        start(victim.host)
        victim.host.pmigd.wait_ready()

    def test_while_one_waits(self, a, b, guest, slow, victim):
        b.reload({"limits": {"max_incoming": 1}})
        first = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(first["id"], "precopy")
        second = a.submit(guest())
        waits_for(a, second["id"], "incoming_slot", "hostb")
        self.crash(victim)
        waits_for(a, second["id"], "incoming_slot", "hostb")
        until(lambda: given(b) == (1, 1), "both leases again", timeout=10)
        a.abort(first["id"])
        a.end(second["id"])
        nothing_held(b)

    def test_while_one_is_transferred(self, a, b, slow, victim):
        m = a.submit(slow(), bandwidth_mib_s=4)
        a.wait(m["id"], "precopy")
        self.crash(victim)
        until(lambda: given(b) == (1, 0), "the lease again", timeout=10)
        assert a.end(m["id"])["adopted"] is (victim is a)
        nothing_held(b)

    def test_while_one_is_transferred_and_the_source_never_returns(self, a, b, slow):
        m = a.submit(slow(), bandwidth_mib_s=1)
        a.wait(m["id"], "precopy")
        a.host.pmigd.kill()
        assert given(b) == (1, 0)
        a.host.virsh("domjobabort", m["domain"]["name"])
        nothing_held(b, timeout=40)
        start(a.host)


@pytest.mark.timeout(300)  # twelve guests are started, moved and ended beside all else
class TestStorm:
    @pytest.fixture
    def five_workers(self, a, b) -> Iterator[None]:
        def workers(number: int) -> None:
            for pmig in (a, b):
                set_workers = ["virt-admin", "server-threadpool-set", "libvirtd", "--max-workers"]
                pmig.host.run([*set_workers, str(number)])
            for pmig in (a, b):
                until(
                    lambda pmig=pmig: number == limit_of(pmig, "worker"),
                    f"{number} workers seen",
                    timeout=12,
                )

        workers(5)
        yield
        workers(20)

    def test_two_hosts_that_send_each_other_everything(self, a, b, guest, five_workers):
        def reconnects() -> list[int]:
            return [p.call("GET", "/v1/status")["libvirt"]["reconnects"] for p in (a, b)]

        before = reconnects()
        there = [guest() for _ in range(6)]
        back = [guest(on=b.host) for _ in range(6)]
        moves = [(a, b.host, g, a.submit(g)) for g in there]
        moves += [(b, a.host, g, b.submit(g, to="hosta")) for g in back]
        for source, _, _, m in moves:
            source.end(m["id"], timeout=100)
        assert all(g.where() == [to] for _, to, g, _ in moves)
        assert reconnects() == before


def limit_of(pmig: Pmig, resource: str) -> int:
    """The whole limit of a resource, as pmigd sees it."""
    rows = pmig.call("GET", "/v1/limits")["resources"]
    return next(row["limit"] for row in rows if row["resource"] == resource)
