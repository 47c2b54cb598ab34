"""Admission: a full queue, a domain twice, and repeats of the same request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from pmigd.core.problem import Code
from tests.api.client import Answer, Api

pytestmark = pytest.mark.hypervisor

Reconfigured = Callable[[dict[str, Any]], Any]


def _submit(api: Api, key: str, **body: Any) -> Answer:
    return api.ask("POST", "/v1/migrations", body, headers={"Idempotency-Key": key})


def test_a_full_queue_refuses_and_says_so(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest], reconfigured: Reconfigured
) -> None:
    with reconfigured({"limits": {"queue_max": 1}}):
        waiting = api.submit(heavies[1].name)
        assert waiting["state"] == "queued"
        body = {"domain": heavies[2].name, "destination": "hostb"}
        problem = api.refused(Code.QUEUE_FULL, "POST", "/v1/migrations", body)
        assert problem["retryable"] is True
        api.abort(waiting["id"])
        assert api.submit(heavies[2].name)["state"] == "queued"


def test_what_waits_says_for_what(api: Api, slow: dict[str, Any], heavies: list[LabGuest]) -> None:
    first, second = api.submit(heavies[1].name), api.submit(heavies[2].name)
    for position, migration in enumerate((first, second), start=1):
        waiting = migration["waiting_for"]
        assert waiting.pop("since")
        waiting.pop("eta_s")  # it depends on how far the running one is
        assert waiting == {
            "resource": "outgoing_slot",
            "host": "hosta",
            "used": 1,
            "limit": 1,
            "position": position,
            "detail": "",
        }
    api.abort(first["id"])
    assert api.migration(second["id"])["waiting_for"]["position"] == 1


def test_a_domain_is_not_migrated_twice_at_once(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    for name in (heavies[0].name, heavies[0].uuid):
        problem = api.refuses_migration(Code.DOMAIN_BUSY, domain=name, destination="hostb")
        assert slow["id"] in problem["detail"]
    queued = api.submit(heavies[1].name)
    problem = api.refuses_migration(Code.DOMAIN_BUSY, domain=heavies[1].name, destination="hostb")
    assert queued["id"] in problem["detail"]


def test_of_many_at_the_same_moment_one_is_accepted(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", "/v1/migrations", body), range(8)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7
    assert len([m for m in api.open() if m["domain"]["name"] == heavies[1].name]) == 1


def test_a_repeat_with_the_same_key_gives_the_first_migration_again(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb", "timeout_s": 77}
    first = _submit(api, "repeat-1", **body)
    again = _submit(api, "repeat-1", **body)
    assert first.status == again.status == 202
    assert first.headers["location"] == again.headers["location"]
    assert first.json["id"] == again.json["id"]
    assert len(api.open()) == 2
    # The order of fields and defaults spelled out are no other request.
    spelled = {"live": True, "timeout_s": 77, "destination": "hostb", "domain": heavies[1].name}
    assert _submit(api, "repeat-1", **spelled).json["id"] == first.json["id"]


def test_a_repeat_after_the_end_still_gives_the_first_migration(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb"}
    first = _submit(api, "repeat-2", **body).json
    api.abort(first["id"])
    again = _submit(api, "repeat-2", **body)
    assert (again.status, again.json["id"], again.json["state"]) == (202, first["id"], "cancelled")


def test_repeats_at_the_same_moment_start_one_migration(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    body = {"domain": heavies[2].name, "destination": "hostb"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _submit(api, "repeat-3", **body), range(6)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(api.open()) == 2


@pytest.mark.parametrize("other", [{"live": False}, {"timeout_s": 5}, {"domain": "heavy3"}])
def test_a_key_with_another_body_is_refused(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest], other: dict[str, Any]
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb"}
    key = f"other-{next(iter(other))}"
    first = _submit(api, key, **body).json
    problem = api.refused(
        Code.IDEMPOTENCY_CONFLICT,
        "POST",
        "/v1/migrations",
        body | other,
        headers={"Idempotency-Key": key},
    )
    assert first["id"] in problem["detail"]
    assert len(api.open()) == 2


def test_a_key_is_remembered_over_a_restart(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb"}
    first = _submit(api, "restart", **body).json
    hosta.pmigd.restart()
    again = _submit(api, "restart", **body)
    assert (again.status, again.json["id"]) == (202, first["id"])
    assert {m["id"] for m in api.open()} == {first["id"], slow["id"]}


def test_an_abort_is_idempotent_and_a_finished_one_stays_as_it_is(
    api: Api, slow: dict[str, Any], mover: Callable[[str], LabGuest]
) -> None:
    path = f"/v1/migrations/{slow['id']}/abort"
    assert api.ask("POST", path).status in (200, 202)
    assert api.ended(slow["id"])["state"] == "cancelled"
    again = api.ask("POST", path)
    assert (again.status, again.json["state"]) == (200, "cancelled")
    done = api.submit(mover("arrives").name)
    assert api.ended(done["id"])["state"] == "succeeded"
    problem = api.refused(Code.WRONG_STATE, "POST", f"/v1/migrations/{done['id']}/abort")
    assert "succeeded" in problem["detail"]


def test_what_is_not_unresolved_cannot_be_resolved(api: Api, slow: dict[str, Any]) -> None:
    path = f"/v1/migrations/{slow['id']}/resolve"
    problem = api.refused(Code.WRONG_STATE, "POST", path, {"as": "succeeded"})
    assert "precopy" in problem["detail"]
    assert api.migration(slow["id"])["state"] == "precopy"
