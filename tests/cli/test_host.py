"""``limits``, ``peers`` and ``status``, and what a queued migration waits for, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pmigd.cli import resources
from pmigd.cli.migration import Migration
from pmigd.core.holdings import Resource
from pmigd.core.route import CONNECTION
from tests.cli.conftest import Terminal
from tests.cli.stub import Stub, migration, peer, waits

Run = Callable[..., tuple[int, str, str]]
Open = Callable[..., Terminal]
SINCE = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def resource(name: str, **changes: Any) -> dict[str, Any]:
    """One row of the limits: by libvirt's defaults, idle."""
    base: dict[str, Any] = {
        "resource": name,
        "used": 0,
        "others": 0,
        "usable": 1,
        "limit": 1,
        "reserve": 0,
        "source": "config",
        "daemon": None,
        "age_s": None,
        "note": "",
    }
    return {**base, **changes}


def daemon(name: str, **changes: Any) -> dict[str, Any]:
    """A libvirt daemon that tells how much it has to do."""
    base: dict[str, Any] = {
        "daemon": name,
        "clients": 7,
        "clients_limit": 5000,
        "anonymous_clients": 0,
        "anonymous_clients_limit": 20,
        "workers": 6,
        "workers_free": 4,
        "workers_limit": 20,
        "queued_calls": 0,
        "problem": "",
    }
    return {**base, **changes}


LIVE = {"source": "virt-admin", "daemon": "libvirtd", "age_s": 2.3}
CLIENTS = resource("client", used=1, others=6, usable=4900, limit=5000, reserve=100, **LIVE)
NOTE = "max_workers of libvirtd is only 5: reserve_workers is cut from 5 to 3. Raise it to 7."
ROWS = [
    resource("outgoing_slot", used=1),
    resource("ssh_startup", usable=10, limit=10),
    CLIENTS,
    resource("worker", used=1, usable=2, limit=5, reserve=3, note=NOTE, **LIVE),
    resource("migration_port", usable=64, limit=64, source="conf", daemon="libvirtd", age_s=75.0),
    resource("client_request", usable=4, limit=5, reserve=1, source="default", daemon="libvirtd"),
]


class TestLimits:
    def test_everything_is_said_in_plain_columns(self, stub: Stub, run: Run) -> None:
        counts = {"granted": 1, "waiting": 2}
        stub.limits |= {"resources": ROWS, "daemons": [daemon("libvirtd")], "given": counts}
        stub.limits |= {"queued": 3}
        code, out, err = run("limits")
        assert (code, err) == (0, "")
        assert out == (
            "RESOURCE        USED  OTHERS  FREE  LIMIT  RESERVE  FROM\n"
            "outgoing slot   1     0       0     1      0        max_outgoing\n"
            "ssh login       0     0       10    10     0        ssh_startups\n"
            "libvirt client  1     6       4893  5000   100      libvirtd, 2s ago\n"
            "libvirt worker  1     0       1     5      3        libvirtd, 2s ago\n"
            "migration port  0     0       64    64     0        qemu.conf, 1m15s ago\n"
            "client request  0     0       4     5      1        libvirt's default\n"
            f"note: {NOTE}\n"
            "libvirtd: clients 7/5000, anonymous 0/20, workers 6/20 (4 free), calls waiting 0\n"
            "leases given to peers: 1 (+2 waiting)\n"
            "queued on hosta: 3 (pmigctl list says what each waits for)\n"
        )

    def test_what_cannot_be_read_is_said_with_what_counts_instead(
        self, stub: Stub, run: Run
    ) -> None:
        unknown = dict.fromkeys(("clients", "anonymous_clients", "workers", "workers_free"))
        stub.limits |= {
            "resources": [CLIENTS | {"source": "conf", "daemon": "virtqemud", "age_s": 4.0}],
            "daemons": [daemon("virtqemud", **unknown, queued_calls=None)],
            "problems": ["virt-admin: no answer from virtqemud in 2 s"],
        }
        _, out, _ = run("limits")
        assert "virtqemud.conf, 4s ago" in out
        assert out.splitlines()[-5:] == [
            "problem: virt-admin: no answer from virtqemud in 2 s",
            "Until that is mended, the limits count that FROM names.",
            "virtqemud: says nothing of its use; at most 5000 clients and 20 workers",
            "leases given to peers: 0",
            "queued on hosta: 0",
        ]

    def test_more_in_use_than_migrations_may_have_leaves_nothing_free(
        self, stub: Stub, run: Run
    ) -> None:
        stub.limits |= {"resources": [CLIENTS | {"others": 4950}]}
        _, out, _ = run("limits")
        assert out.splitlines()[1].split()[2:5] == ["1", "4950", "0"]

    def test_json_is_the_answer_itself(self, stub: Stub, run: Run) -> None:
        stub.limits |= {"resources": ROWS}
        code, out, _ = run("limits", "--json")
        assert (code, json.loads(out)) == (0, stub.limits)

    @pytest.mark.parametrize("answer", [{}, {"resources": [{}, 3], "daemons": [{}], "given": []}])
    def test_an_odd_answer_is_no_traceback(self, stub: Stub, run: Run, answer: Any) -> None:
        stub.limits = answer
        assert run("limits")[::2] == (0, "")

    @pytest.mark.parametrize(
        ("taken", "bar"), [(0, ""), (1, "╾"), (816, "╾"), (2450, "━" * 3), (4899, "━" * 5 + "╾")]
    )
    def test_a_bar_shows_how_full_it_is_and_is_full_only_when_nothing_is_left(
        self, stub: Stub, terminal: Open, taken: int, bar: str
    ) -> None:
        full = resource("outgoing_slot", used=1)
        stub.limits |= {"resources": [CLIENTS | {"used": 0, "others": taken}, full]}
        screen = terminal("limits")
        assert screen.end() == 0
        bars = [re.findall("[━╾]+", line) for line in screen.text.splitlines()[1:3]]
        assert bars == [[bar] if bar else [], ["━" * 6]]

    @pytest.mark.parametrize("columns", [30, 60, 80, 120])
    def test_the_table_fits_and_keeps_what_is_free(
        self, stub: Stub, terminal: Open, columns: int
    ) -> None:
        stub.limits |= {"resources": ROWS}
        screen = terminal("limits", columns=columns)
        assert screen.end() == 0
        table = screen.text.splitlines()[: 1 + len(ROWS)]
        assert all(len(line) <= columns for line in table)
        if columns >= 60:
            assert "FREE" in table[0]
            assert "4893" in table[3]


def answers(**changes: Any) -> dict[str, Any]:
    """A pmigd that answers."""
    base = {
        "url": "https://hostb:9717",
        "answers": True,
        "detail": "",
        "version": "0.1.0",
        "clock_offset_s": 0.004,
    }
    return {**base, **changes}


class TestPeers:
    def test_each_pmigd_is_up_away_or_none(self, stub: Stub, run: Run) -> None:
        away = answers(answers=False, detail="connection refused", version=None)
        stub.peers = [
            peer("hostb", pmigd=answers(), running=1, given={"granted": 1, "waiting": 2}),
            peer("hostc", pmigd=away | {"clock_offset_s": None}, queued=4),
            peer("hostd", migrate_uri="tcp://10.0.0.4"),
        ]
        code, out, err = run("peers")
        assert (code, err) == (0, "")
        header, hostb, hostc, hostd, advice = out.splitlines()
        assert header.split() == [
            *("NAME", "PMIGD", "QUEUED", "RUNNING", "GIVEN", "CLOCK", "LIBVIRT", "QEMU", "URI"),
            "MIGRATE_URI",
        ]
        assert re.split(" {2,}", hostb) == [
            *("hostb", "up 0.1.0", "0", "1", "1 (+2 waiting)", "+0.00s", "12.5.0", "11.0.0"),
            *("qemu+tls://hostb/system", "-"),
        ]
        assert re.split(" {2,}", hostc)[:6] == [
            *("hostc", "away: connection refused", "4", "0", "0", "-"),
        ]
        assert re.split(" {2,}", hostd)[1] == "none: only this host's own limits"
        assert hostd.endswith("qemu+tls://hostd/system  tcp://10.0.0.4")
        assert advice.startswith("hostc: what is queued for it waits for its pmigd at https://")

    @pytest.mark.parametrize(
        ("offset_s", "cell", "said"),
        [
            (0.9, "+0.90s", None),
            (-1.0, "-1.00s", None),
            (3.44, "+3.44s (!)", "its clock is 3.4 s ahead of this host's"),
            (-61.0, "-61.00s (!)", "its clock is 61.0 s behind this host's"),
        ],
    )
    def test_a_clock_that_is_more_than_a_second_off_is_marked(
        self, stub: Stub, run: Run, offset_s: float, cell: str, said: str | None
    ) -> None:
        stub.peers = [peer("hostb", pmigd=answers(clock_offset_s=offset_s))]
        _, out, _ = run("peers")
        lines = out.splitlines()
        assert cell in re.split(" {2,}", lines[1])
        assert [line.startswith(f"hostb: {said}") for line in lines[2:]] == [True] * bool(said)

    def test_known_defects_are_told_once_with_the_peers_they_are_there_for(
        self, stub: Stub, run: Run
    ) -> None:
        tls = {
            "code": "tls_long_transfer",
            "level": "warn",
            "sides": ["source"],
            "detail": "It may crash.",
            "remedy": "Send without 'tls'.",
            "field": "tls",
        }
        there = {**tls, "code": "arriving_xml_hangs", "level": "info", "field": None}
        unknown = {"libvirt_version": None, "hypervisor_version": None}
        stub.peers = [
            peer("hostb", defects=[tls]),
            peer("hostc", defects=[tls, there]),
            peer("hostd", **unknown),
        ]
        code, out, err = run("peers")
        assert (code, err) == (0, "")
        _, _, _, hostd, *told = out.splitlines()
        assert re.split(" {2,}", hostd)[6:8] == ["-", "-"]
        assert told == [
            "to hostb, hostc: warn tls_long_transfer with --tls: It may crash.",
            "  remedy: Send without --tls.",
            "to hostc: info arriving_xml_hangs: It may crash.",
            "  remedy: Send without --tls.",
        ]

    def test_json_is_the_answer_itself(self, stub: Stub, run: Run) -> None:
        code, out, _ = run("peers", "--json")
        assert (code, json.loads(out)) == (0, {"items": stub.peers})

    @pytest.mark.parametrize("columns", [30, 60, 80, 140])
    def test_the_table_fits_and_keeps_whether_it_answers(
        self, stub: Stub, terminal: Open, columns: int
    ) -> None:
        away = answers(answers=False, detail="no route to host", clock_offset_s=None)
        stub.peers = [peer("hostb", pmigd=answers()), peer("hostc", pmigd=away)]
        screen = terminal("peers", columns=columns)
        assert screen.end() == 0
        table = screen.text.splitlines()[:3]
        assert all(len(line) <= columns for line in table)
        if columns >= 60:
            assert "up 0.1.0" in table[1]
            assert "away: no route" in table[2]


STATUS = {
    "name": "hosta",
    "version": "0.1.0",
    "ready": True,
    "missing": {},
    "libvirt": {"connected": True, "uri": "qemu:///system", "version": "9.0.0"},
    "limits": {"max_outgoing": 2, "held_outgoing": 1, "max_incoming": 3, "held_incoming": 0},
    "migrations": {"queued": 0, "precopy": 1, "unresolved": 0},
    "something_new": {"deep": [{"a_ms": 20, "b": None}, "c"]},
}


def status_of(stub: Stub, run: Run, **changes: Any) -> list[str]:
    """The lines above the details."""
    stub.answers["GET", "/v1/status"] = (200, {**STATUS, **changes})
    code, out, err = run("status")
    assert (code, err) == (0, "")
    return out.partition("\n\n")[0].splitlines()


class TestStatus:
    def test_a_summary_comes_first_and_then_every_key_known_or_not(
        self, stub: Stub, run: Run
    ) -> None:
        stub.answers["GET", "/v1/status"] = (200, STATUS)
        _, out, _ = run("status")
        assert out == (
            "hosta: ready; pmigd 0.1.0\n"
            "running: 1 of 2 out, 0 of 3 in\n"
            "queued: none\n"
            "\n"
            "name:    hosta\n"
            "version: 0.1.0\n"
            "ready:   yes\n"
            "missing: none\n"
            "\n"
            "libvirt:\n"
            "  connected: yes\n"
            "  uri:       qemu:///system\n"
            "  version:   9.0.0\n"
            "\n"
            "limits:\n"
            "  max_outgoing:  2\n"
            "  held_outgoing: 1\n"
            "  max_incoming:  3\n"
            "  held_incoming: 0\n"
            "\n"
            "migrations:\n"
            "  queued:     0\n"
            "  precopy:    1\n"
            "  unresolved: 0\n"
            "\n"
            "something_new:\n"
            "  deep:\n"
            "    - a_ms: 20 ms\n"
            "      b:    -\n"
            "    - c\n"
        )
        assert [r.path for r in stub.requests] == ["/v1/status"]

    def test_what_the_first_in_the_queue_waits_for_is_said(self, stub: Stub, run: Run) -> None:
        for number, place in ((1, 2), (2, 1), (3, 3)):
            queued = {"state": "queued", "waiting_for": waits(position=place)}
            stub.add(migration(number, domain={"name": f"web{number}"}, **queued))
        queue = status_of(stub, run, migrations={"queued": 3})[2]
        assert queue.startswith(
            "queued: 3; the first, web2, waits for an outgoing slot of hosta (1 of 1 in use),"
            " next in line for "
        )

    def test_a_queue_too_long_to_look_through_is_only_counted(self, stub: Stub, run: Run) -> None:
        assert status_of(stub, run, migrations={"queued": 201})[2] == "queued: 201"
        assert [r.path for r in stub.requests] == ["/v1/status"]

    def test_what_is_missing_or_needs_a_person_is_said(self, stub: Stub, run: Run) -> None:
        missing = {"libvirt": "connection\nrefused", "journal": "disk full"}
        lines = status_of(stub, run, ready=False, missing=missing, migrations={"unresolved": 2})
        assert lines[0].startswith(
            "hosta: NOT READY (libvirt: connection refused; journal: disk full); pmigd"
        )
        assert lines[-1] == ("UNRESOLVED: 2; look at both hosts: pmigctl list --state unresolved")

    def test_json_is_the_answer_itself(self, stub: Stub, run: Run) -> None:
        stub.answers["GET", "/v1/status"] = (200, STATUS | {"migrations": {"queued": 1}})
        _, out, _ = run("status", "--json")
        assert json.loads(out) == STATUS | {"migrations": {"queued": 1}}
        assert [r.path for r in stub.requests] == ["/v1/status"]


class TestWaiting:
    """One phrase in all views."""

    def test_every_resource_of_the_daemon_has_words(self) -> None:
        assert set(resources.COUNTED) == set(Resource)
        assert set(resources.MISSING) == {"libvirt", "journal", "peer", CONNECTION}

    @pytest.mark.parametrize(
        ("waiting", "phrase"),
        [
            (waits(position=1), "an outgoing slot of hosta (1 of 1 in use), next in line"),
            (
                waits(resource="incoming_slot", host="hostb", used=2, limit=2, eta_s=125.4),
                "an incoming slot of hostb (2 of 2 in use), 3rd in line, about 2m05s to go",
            ),
            (
                waits(resource="peer", host="hostb", used=0, limit=0, detail="connection refused"),
                "pmigd of hostb, which does not answer (connection refused), 3rd in line",
            ),
            (
                waits(resource="libvirt", position=12),
                "libvirt of hosta, which is away, 12th in line",
            ),
            (
                waits(resource="new_thing", position=22, detail="x\x1b[2J"),
                "new thing of hosta (1 of 1 in use; x\\x1b[2J), 22nd in line",
            ),
            ({}, None),
            ({"resource": 3}, "3 of ?"),
        ],
    )
    def test_it_names_resource_host_use_and_place(
        self, waiting: dict[str, Any], phrase: str | None
    ) -> None:
        assert Migration({"waiting_for": waiting}).waiting() == phrase

    def test_with_a_clock_it_says_for_how_long(self) -> None:
        queued = Migration({"waiting_for": waits(eta_s=60)})
        assert queued.waiting(SINCE + timedelta(seconds=40)) == (
            "an outgoing slot of hosta (1 of 1 in use), 3rd in line for 40s, about 1m00s to go"
        )

    def test_show_and_watch_say_it(self, stub: Stub, run: Run, start: Callable[..., Any]) -> None:
        queued = migration(1, state="queued", waiting_for=waits())
        stub.add(queued)
        _, out, _ = run("show", queued["id"])
        phrase = "an outgoing slot of hosta (1 of 1 in use), 3rd in line"
        assert f"\nwaits for:\n  {phrase} for " in out
        watching = start("watch")
        assert watching.line().endswith(f" web1 hosta->hostb queued waits for {phrase}")
        assert start("watch", queued["id"]).line() == f"web1: queued, waits for {phrase}"
