"""The header ``traceparent`` of a submission: taken where it is one, never a reason to refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contrib.lab import LabGuest
from tests.api.client import Answer, Api

pytestmark = pytest.mark.hypervisor

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"


def submit(api: Api, guest: LabGuest, *traceparents: str, key: str | None = None) -> Answer:
    """Submit with these headers, one after the other, whatever is in them."""
    body = json.dumps({"domain": guest.name, "destination": "hostb"})
    headers = ["Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    headers += [f"traceparent: {text}" for text in traceparents]
    headers += [f"Idempotency-Key: {key}"] if key else []
    return api.say("\r\n".join(["POST /v1/migrations HTTP/1.1", *headers, "", body]).encode())


@pytest.mark.parametrize(
    ("traceparents", "taken"),
    [
        ([GOOD], True),
        ([f"42-{GOOD[3:]}-of-a-later-version"], True),
        ([], False),
        ([""], False),
        ([GOOD, GOOD], False),
        ([GOOD.upper()], False),
        ([f"ff-{GOOD[3:]}"], False),
        ([f"00-{'0' * 32}-00f067aa0ba902b7-01"], False),
        ([GOOD + "-more"], False),
        (["../../etc/passwd\\n{domain} ${HOME} ü"], False),
        (["a" * 4000], False),
    ],
)
def test_what_is_one_is_kept_and_anything_else_is_as_if_not_given(
    api: Api,
    slow: dict[str, Any],
    heavies: list[LabGuest],
    traceparents: list[str],
    taken: bool,
) -> None:
    answer = submit(api, heavies[1], *traceparents)
    assert answer.status == 202, answer
    migration = answer.json
    assert migration["trace_id"] == (TRACE if taken else None)
    said = [json.loads(line) for line in api.host.pmigd.log().splitlines()]
    ours = [line for line in said if line.get("migration") == migration["id"]]
    assert ours
    assert {line["trace_id"] for line in ours} == {migration["trace_id"]}


def test_a_repeat_stays_in_the_trace_of_the_first(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    first = submit(api, heavies[1], GOOD, key="trace")
    again = submit(api, heavies[1], GOOD.replace("4bf", "5bf"), key="trace")
    assert first.json["id"] == again.json["id"]
    assert again.json["trace_id"] == TRACE
