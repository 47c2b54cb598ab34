"""The journal's disk is full or read-only: no new work, and what runs is not let down."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from pmigd.client import UnreachableError
from pmigd.core.problem import Code
from tests.api.client import Api

pytestmark = pytest.mark.hypervisor


@pytest.fixture
def full(hosta: Host, api: Api) -> Iterator[None]:
    hosta.fill_state_dir()
    yield
    hosta.free_state_dir()
    _ready(api)


@pytest.fixture
def read_only(hosta: Host, api: Api, slow: dict[str, Any]) -> Iterator[None]:
    """pmigd is started, while a migration runs, where it cannot write."""
    hosta.pmigd.stop()
    hosta.state_dir_read_only(True)
    hosta.pmigd.start(wait_ready=False)
    until(lambda: _answers(api), "an answer", timeout=10, evidence=hosta.pmigd.log_tail)
    yield
    hosta.state_dir_read_only(False)
    _ready(api)


def _answers(api: Api) -> bool:
    try:
        return api.ask("GET", "/healthz").status == 200
    except UnreachableError:
        return False


def _ready(api: Api) -> None:
    until(
        lambda: api.ask("GET", "/readyz").status == 200,
        "readiness",
        timeout=10,
        evidence=api.host.pmigd.log_tail,
    )


def _refuses_new_work(api: Api, guest: LabGuest) -> None:
    """Refused sooner or later: SQLite may have a little room in its files."""
    body = {"domain": guest.name, "destination": "hostb"}

    def refused() -> bool:
        answer = api.ask("POST", "/v1/migrations", body)
        if answer.status == 202:
            api.ask("POST", f"/v1/migrations/{answer.json['id']}/abort")
            return False
        assert api.is_problem(answer, Code.JOURNAL_UNAVAILABLE)["retryable"] is True
        return True

    until(refused, "refusal", timeout=20)
    api.refused(Code.JOURNAL_UNAVAILABLE, "POST", "/v1/migrations", body)


def _says_journal(api: Api) -> None:
    readyz = api.ask("GET", "/readyz")
    assert (readyz.status, readyz.json["ready"]) == (503, False)
    assert "journal.sqlite" in readyz.json["journal"]
    assert b"\npmigd_journal_writable 0.0\n" in api.ask("GET", "/metrics").raw
    status = api.get("/v1/status")
    assert status["ready"] is False
    assert status["journal"]["writable"] is False
    assert status["missing"].keys() == {"journal"}
    assert api.ask("GET", "/healthz").status == 200


def _is_logged(host: Host, event: str, since: int) -> None:
    until(
        lambda: f'"event": "{event}"' in host.pmigd.log()[since:],
        f"a line that says: {event}",
        timeout=5,
        evidence=host.pmigd.log_tail,
    )


def _is_watched(api: Api, iden: str) -> None:
    first = api.migration(iden)
    assert first["state"] == "precopy"
    before = first["progress"]["sampled_at"] if first["progress"] else ""
    until(
        lambda: (api.migration(iden)["progress"] or {}).get("sampled_at", "") > before,
        "another sample",
        timeout=5,
    )


@pytest.mark.parametrize("trouble", ["full", "read_only"])
def test_without_a_journal_new_work_is_refused_and_running_work_goes_on(
    request: pytest.FixtureRequest,
    api: Api,
    hosta: Host,
    slow: dict[str, Any],
    heavies: list[LabGuest],
    trouble: str,
) -> None:
    request.getfixturevalue(trouble)
    _refuses_new_work(api, heavies[1])
    _says_journal(api)
    _is_watched(api, slow["id"])
    assert api.migration(slow["id"])["adopted"] is (trouble == "read_only")
    api.abort(slow["id"])
    assert heavies[0].where() == [hosta]
    _says_journal(api)


@pytest.mark.parametrize("trouble", ["full", "read_only"])
def test_new_work_is_taken_again_without_a_restart_and_the_end_was_not_forgotten(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest], trouble: str
) -> None:
    logged = len(hosta.pmigd.log())
    if trouble == "full":
        hosta.fill_state_dir()
    else:
        hosta.pmigd.stop()
        hosta.state_dir_read_only(True)
        hosta.pmigd.start(wait_ready=False)
        until(lambda: _answers(api), "an answer", timeout=10, evidence=hosta.pmigd.log_tail)
    try:
        _refuses_new_work(api, heavies[1])
        _is_logged(hosta, "journal cannot be written", logged)
        pid = hosta.pmigd.pid
        api.abort(slow["id"])
    finally:
        if trouble == "full":
            hosta.free_state_dir()
        else:
            hosta.state_dir_read_only(False)
    _ready(api)
    _is_logged(hosta, "journal can be written again", logged)
    assert hosta.pmigd.pid == pid
    migration = api.submit(heavies[1].name, bandwidth_mib_s=1)
    api.reaches(migration["id"], "precopy")
    api.abort(migration["id"])
    hosta.pmigd.restart()
    assert api.migration(slow["id"])["state"] == "cancelled"
    assert api.migration(migration["id"])["state"] == "cancelled"


def _killed_and_started(api: Api, hosta: Host) -> None:
    hosta.pmigd.start(wait_ready=False)
    until(lambda: _answers(api), "an answer", timeout=15, evidence=hosta.pmigd.log_tail)


def test_after_a_crash_where_nothing_can_be_written_what_had_ended_is_not_begun_again(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    """What ended last is only in the journal's newest part, which a crash leaves beside it."""
    waiting = api.submit(heavies[1].name, bandwidth_mib_s=1)
    api.abort(waiting["id"])
    api.abort(slow["id"])
    hosta.pmigd.kill()
    hosta.state_dir_read_only(True)
    try:
        _killed_and_started(api, hosta)
        for iden in (waiting["id"], slow["id"]):
            assert api.migration(iden)["state"] == "cancelled"
        _says_journal(api)
    finally:
        hosta.state_dir_read_only(False)
    _ready(api)
    assert api.open() == []
    for guest in heavies[:2]:
        assert "None" in hosta.virsh("domjobinfo", guest.name)
        assert guest.where() == [hosta]


_LEVITATE = """
import sqlite3, sys
with sqlite3.connect("/var/lib/pmigd/journal.sqlite") as db:
    sql = "UPDATE migrations SET document = replace(CAST(document AS TEXT), ?, ?) WHERE id = ?"
    words = ('"state":"precopy"', '"state":"levitating"')
    assert db.execute(sql, (*words, sys.argv[1])).rowcount == 1
"""


def test_a_row_that_cannot_be_read_is_for_an_operator_and_all_others_are_as_they_were(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    waiting = api.submit(heavies[1].name, bandwidth_mib_s=1)
    hosta.pmigd.kill()
    hosta.run([sys.executable, "-c", _LEVITATE, slow["id"]])
    _killed_and_started(api, hosta)
    _ready(api)
    bad = api.migration(slow["id"])
    assert (bad["state"], bad["problem"]["code"]) == ("unresolved", Code.JOURNAL_ROW_UNREADABLE)
    assert bad["domain"]["name"] == heavies[0].name
    assert "levitating" in bad["problem"]["detail"]
    assert api.migration(waiting["id"])["state"] in ("queued", "preparing", "precopy")
    api.refuses_migration(Code.DOMAIN_BUSY, domain=heavies[0].name, destination="hostb")
    api.abort(waiting["id"])
    hosta.virsh("domjobabort", heavies[0].name)
    answer = api.ask("POST", f"/v1/migrations/{slow['id']}/resolve", {"as": "failed"})
    assert (answer.status, answer.json["state"]) == (200, "failed")
    hosta.pmigd.restart()
    assert api.migration(slow["id"])["state"] == "failed"


def test_a_disk_that_is_mounted_after_the_start_brings_what_runs_and_what_waits(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    waiting = api.submit(heavies[1].name, bandwidth_mib_s=1)
    hosta.pmigd.kill()
    hosta.run(["mkdir", "-p", "/run/the-disk"])
    hosta.run(["mount", "--bind", "/var/lib/pmigd", "/run/the-disk"])
    hosta.run(["umount", "/var/lib/pmigd"])
    try:
        _killed_and_started(api, hosta)
        until(lambda: len(api.open()) == 1, "what seems to be others'", timeout=15)
        assert api.open()[0]["external"] is True
    finally:
        hosta.run(["mount", "--bind", "/run/the-disk", "/var/lib/pmigd"])
        hosta.run(["umount", "/run/the-disk"])
    until(
        lambda: (
            {m["id"]: m["state"] for m in api.open()}
            == {slow["id"]: "precopy", waiting["id"]: "queued"}
        ),
        "what the disk has",
        timeout=10,
        evidence=hosta.pmigd.log_tail,
    )
    _ready(api)
    assert api.migration(slow["id"])["adopted"] is True
    api.abort(waiting["id"])
    api.abort(slow["id"])
    assert heavies[0].where() == [hosta]
