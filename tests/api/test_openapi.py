"""The OpenAPI document is valid, is what docs/ has, and what the daemon really answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from contrib.docs import problems
from contrib.lab import LabGuest
from pmigd.api.openapi import document, text
from pmigd.core.problem import Code
from tests.api.client import UNKNOWN_ID, Answer, Api
from tests.api.test_streams import events_of, stream

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads(text())


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_docs_have_the_document_as_it_is_generated() -> None:
    assert (ROOT / "docs" / "openapi.json").read_text() == text()


def test_docs_have_every_problem_as_it_is_generated() -> None:
    written = (ROOT / "docs" / "problems.md").read_text()
    assert written == problems.text()
    for code in Code:
        assert f"`{code}`" in written
        assert code.kind.remedy in written


def _strict(schema: Any) -> Any:
    """The same schema, in which an object has no properties but those described."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed["additionalProperties"] = False
    return closed


def matches(method: str, path: str, status: int, content_type: str, value: object) -> None:
    """`value` is what the document says about this answer."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    response = responses.get(str(status), responses["default"])
    assert content_type in response["content"], (method, path, status, content_type)
    schema = {
        **_strict(response["content"][content_type]["schema"]),
        "components": _strict(DOCUMENT["components"]),
    }
    errors = [
        f"{e.json_path}: {e.message}" for e in Draft202012Validator(schema).iter_errors(value)
    ]
    assert not errors, (method, path, status, errors, value)


def _answer_matches(method: str, path: str, answer: Answer) -> None:
    content_type = answer.headers["content-type"].partition(";")[0]
    value = answer.raw.decode() if content_type == "text/plain" else answer.json
    matches(method, path, answer.status, content_type, value)


@pytest.mark.hypervisor
def test_the_daemon_gives_the_document(api: Api) -> None:
    assert api.get("/v1/openapi.json") == json.loads(json.dumps(document()))


@pytest.mark.hypervisor
def test_every_answer_of_a_walk_through_all_resources_is_as_described(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest], mover: Callable[[str], LabGuest]
) -> None:
    walked: set[tuple[str, str]] = set()

    def walk(method: str, path: str, body: object = None, **values: str) -> Answer:
        answer = api.ask(method, path.format(**values), body)
        _answer_matches(method, path.partition("?")[0], answer)
        walked.add((method, path.partition("?")[0]))
        return answer

    one, running = "/v1/migrations/{id}", slow["id"]
    queued = walk("POST", "/v1/migrations", {"domain": heavies[1].name, "destination": "hostb"})
    waiting = queued.json["id"]
    walk("GET", one, id=waiting)
    walk("GET", "/v1/migrations?limit=3")
    walk("GET", one, id=running)
    assert walk("GET", f"{one}/settings", id=running).status == 200
    assert walk("PATCH", one, {"timeout_s": 600}, id=waiting).status == 200
    assert walk("PATCH", one, {}, id=waiting).status == 422
    assert walk("POST", f"{one}/suspend", id=waiting).status == 409
    assert walk("POST", f"{one}/postcopy", id=running).status == 409
    assert walk("POST", f"{one}/recover", id=running).status == 409
    body = {"domain": heavies[1].name, "destination": "hostb", "zerocopy": True}
    assert walk("POST", "/v1/check", body).json["ready"] is False
    abort = f"{one}/abort"
    assert walk("POST", abort, id=waiting).status in (200, 202)
    assert walk("POST", abort, id=waiting).status == 200
    assert walk("POST", abort, id=running).status == 202
    api.ended(running)
    walk("GET", one, id=running)
    assert walk("POST", f"{one}/resolve", {"as": "failed"}, id=running).status == 409
    done = api.submit(mover("walked").name)["id"]
    with stream(api, f"/v1/migrations/{done}/events") as response:
        for event in events_of(response):
            matches("GET", f"{one}/events", 200, "application/x-ndjson", event)
    walked.add(("GET", f"{one}/events"))
    walk("GET", one, id=done)
    with stream(api, "/v1/events") as response:
        api.abort(api.submit(heavies[1].name, bandwidth_mib_s=1)["id"])
        line = next(line for line in response if line.strip())
        matches("GET", "/v1/events", 200, "application/x-ndjson", json.loads(line))
    walked.add(("GET", "/v1/events"))
    for path in ("diagnose", "domains", "limits", "peers", "status", "openapi.json"):
        walk("GET", f"/v1/{path}")
    for path in ("/healthz", "/readyz", "/metrics"):
        walk("GET", path)
    assert walk("POST", "/v1/migrations", {"x": 1}).status == 422
    assert walk("POST", "/v1/migrations", b"{").status == 400
    assert walk("GET", one, id=UNKNOWN_ID).status == 404
    assert walk("GET", "/v1/migrations?limit=0").status == 422
    described = {(m.upper(), p) for p, methods in DOCUMENT["paths"].items() for m in methods}
    assert walked == described
