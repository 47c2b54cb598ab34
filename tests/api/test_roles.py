"""Who may do what: the kernel says who asks, the configuration what that one may."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from pmigd.core.problem import Code
from tests.api.client import Api
from tests.api.conftest import PMIGD_GID, USERS

pytestmark = pytest.mark.hypervisor

CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pmigd.client import Client, UnreachableError

client = Client("/run/pmigd/pmigd.sock", answer_s=20)
answers = []
for method, path, body in json.load(sys.stdin):
    try:
        reply = client.ask(method, path, body)
        is_json = "json" in reply.headers["content-type"]
        answers.append([reply.status, json.loads(reply.content) if is_json else None])
    except UnreachableError as error:
        answers.append([0, type(error.__cause__).__name__])
print(json.dumps(answers))
"""
ROOT = Path(__file__).parents[2]
READS = ("/v1/status", "/v1/limits", "/v1/peers", "/v1/domains", "/v1/migrations", "/metrics")


def ask_as(
    host: Host, user: str | int, *requests: tuple[str, str, object], gid: int = PMIGD_GID
) -> list[tuple[int, Any]]:
    """What a user of the host is answered; status 0 and the error when it cannot connect."""
    uid = USERS[user] if isinstance(user, str) else user
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]
    done = host.run(
        [*become, sys.executable, "-ISc", CLIENT, str(ROOT)], input=json.dumps(requests)
    )
    return [(status, answer) for status, answer in json.loads(done.stdout)]


def is_forbidden(answer: tuple[int, Any]) -> bool:
    status, problem = answer
    return status == 403 and problem["code"] == Code.FORBIDDEN and bool(problem["remedy"])


def test_a_viewer_reads_everything_and_changes_nothing(
    api: Api, hosta: Host, slow: dict[str, Any]
) -> None:
    path = f"/v1/migrations/{slow['id']}"
    reads = [("GET", read, None) for read in (*READS, path)]
    assert {status for status, _ in ask_as(hosta, "vera", *reads)} == {200}
    changes = ask_as(
        hosta,
        "vera",
        ("POST", "/v1/migrations", {"domain": "heavy2", "destination": "hostb"}),
        ("POST", f"{path}/abort", None),
        ("POST", f"{path}/resolve", {"as": "failed"}),
        # Nobody hands out the whole host who may only look at it.
        ("GET", "/v1/diagnose", None),
    )
    assert all(is_forbidden(answer) for answer in changes), changes
    assert "vera" in changes[0][1]["detail"]
    assert [m["id"] for m in api.open()] == [slow["id"]]
    assert api.migration(slow["id"])["state"] == "precopy"


@pytest.mark.parametrize("user", ["oscar", "mona"])
def test_an_operator_migrates_and_aborts(
    api: Api, hosta: Host, slow: dict[str, Any], heavies: list[LabGuest], user: str
) -> None:
    body = {"domain": heavies[1].name, "destination": "hostb"}
    (status, migration), *_ = ask_as(hosta, user, ("POST", "/v1/migrations", body))
    assert (status, migration["submitted_by"]) == (202, user)
    path = f"/v1/migrations/{migration['id']}/abort"
    ((status, _),) = ask_as(hosta, user, ("POST", path, None))
    assert status in (200, 202)
    ended = api.ended(migration["id"])
    assert ended["state"] == "cancelled"
    assert ended["actions"][-1]["by"] == user


@pytest.mark.parametrize(
    "uri", ["qemu+tcp://hostb/system", "qemu+tcp://hostc/system", "qemu+tcp://localhost/system"]
)
def test_an_operator_may_not_give_a_uri(
    api: Api, hosta: Host, heavies: list[LabGuest], uri: str
) -> None:
    body = {"domain": heavies[1].name, "destination": uri}
    (answer,) = ask_as(hosta, "oscar", ("POST", "/v1/migrations", body))
    assert is_forbidden(answer), answer
    assert "administrator" in answer[1]["detail"]
    assert api.open() == []


def test_an_operator_may_not_give_what_is_as_good_as_root(api: Api, hosta: Host) -> None:
    root = {
        "xml": "<domain/>",
        "persistent_xml": "<domain/>",
        "migrate_uri": "tcp://hostb",
        "disks_uri": "tcp://hostb:1",
        "graphics_uri": "spice://hostb",
        "listen_address": "0.0.0.0",
        "tls_destination": "hostb",
        "unsafe": True,
        "start_anyway": True,
    }
    body = {"domain": "heavy1", "destination": "hostb"}
    requests = [("POST", "/v1/migrations", {**body, name: value}) for name, value in root.items()]
    requests += [("POST", "/v1/check", {**body, name: value}) for name, value in root.items()]
    for answer, name in zip(ask_as(hosta, "oscar", *requests), [*root] * 2, strict=True):
        assert is_forbidden(answer), answer
        assert [error["field"] for error in answer[1]["errors"]] == [name]
    (answer,) = ask_as(hosta, "oscar", ("POST", "/v1/migrations", {**body, **root}))
    assert {error["field"] for error in answer[1]["errors"]} == set(root)
    assert api.open() == []


def test_a_dangerous_uri_is_refused_for_an_operator_too(
    api: Api, hosta: Host, heavies: list[LabGuest]
) -> None:
    uri = "qemu+ssh://hostb/system?command=/bin/sh"
    body = {"domain": heavies[1].name, "destination": uri}
    ((status, problem),) = ask_as(hosta, "oscar", ("POST", "/v1/migrations", body))
    assert (status, problem["code"]) in ((422, Code.URI_REFUSED), (403, Code.FORBIDDEN))


@pytest.mark.parametrize("user", ["nemo", 4711], ids=["without a role", "without a name"])
def test_who_has_no_role_gets_nothing_but_health(api: Api, hosta: Host, user: str | int) -> None:
    body = {"domain": "heavy1", "destination": "hostb"}
    health, ready, *others = ask_as(
        hosta,
        user,
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        *(("GET", path, None) for path in (*READS, "/v1/events")),
        ("POST", "/v1/migrations", body),
    )
    assert (health[0], ready[0]) == (200, 200)
    assert all(is_forbidden(answer) for answer in others), others
    assert api.open() == []


def test_who_may_not_open_the_socket_cannot_connect(api: Api, hosta: Host) -> None:
    (answer,) = ask_as(hosta, "nemo", ("GET", "/healthz", None), gid=100)
    assert answer == (0, "PermissionError")


def test_a_role_is_asked_before_the_body_is_looked_at(api: Api, hosta: Host) -> None:
    (answer,) = ask_as(hosta, "vera", ("POST", "/v1/migrations", {"nonsense": 1}))
    assert is_forbidden(answer)
