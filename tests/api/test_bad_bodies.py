"""Whatever is wrong with a body is told at once, and harms nobody."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pmigd.core.problem import Code
from tests.api.client import PROMPT_S, UNKNOWN_ID, Api, fields_of

pytestmark = pytest.mark.hypervisor

SUBMIT = ("POST", "/v1/migrations")
WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "domain": (None, 7, True, [], {}, ""),
    "destination": (None, 7, False, ["hostb"], {"name": "hostb"}, ""),
    "transport": (7, "pigeon", True, [], {}),
    "flow": (None, 7, "upwards", [], {}),
    "live": (None, 1, "true", [], {}),
    "persistent": (0, "yes", [], {}),
    "undefinesource": (1, "no", [], {}),
    "bandwidth_mib_s": (-1, 1.5, "7", True, 2**63, 2**4000, []),
    "timeout_s": (-1, "7", True, 1e300, 2**70, {}),
    "on_timeout": (7, "explode", True, []),
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"domain": "web1",}',
        b"{'domain': 'web1'}",
        b'{"domain": NaN}',
        b'{"timeout_s": Infinity}',
        b'{"timeout_s": -1e999}',
        b'{"domain": "web1"} trailing',
        b'{"domain": "web1"}{"domain": "web2"}',
        b'{"domain": "\xff\xfe"}',
        b'{"domain": "\xc3"}',
        b'{"domain": "\xed\xa0\x80"}',
        b'{"domain": "\\ud800"}',
        b'{"domain": "a\x00b"}',
        b"\xef\xbb\xbf{}",
        b"\x00" * 1000,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"<migration/>",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_refused(api: Api, body: bytes) -> None:
    api.refused(Code.BAD_JSON, *SUBMIT, body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"web1"', b"true", b"1e9", b"[{}]"])
def test_json_that_is_not_an_object_is_refused(api: Api, body: bytes) -> None:
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body)
    assert fields_of(problem) == [""]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG_TYPES.items() for value in values],
    ids=lambda x: repr(x)[:20],
)
def test_a_wrong_value_is_refused_and_its_field_named(api: Api, field: str, value: object) -> None:
    body = {"domain": "web1", "destination": "hostb"} | {field: value}
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body)
    assert fields_of(problem) == [field]
    assert "must be" in problem["errors"][0]["message"]


def test_all_faults_are_told_at_once(api: Api) -> None:
    wrong = {field: values[1] for field, values in WRONG_TYPES.items()}
    problem = api.refused(
        Code.INVALID_REQUEST, *SUBMIT, wrong | {"domian": "web1", "x\n\x1b[31m": 1}
    )
    named = fields_of(problem)
    assert set(WRONG_TYPES) < set(named)
    assert "domian" in named
    assert len(named) == len(WRONG_TYPES) + 2
    assert all(name.isprintable() for name in named)
    hint = next(e for e in problem["errors"] if e["field"] == "domian")
    assert "did you mean domain?" in hint["message"]


def test_missing_fields_are_named(api: Api) -> None:
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, {})
    assert fields_of(problem) == ["domain", "destination"]


@pytest.mark.parametrize(
    "value",
    [b"9" * 5000, b"-" + b"9" * 400, b"1e400", b"1e-400", b"0." + b"1" * 10_000],
    ids=["5000 digits", "400 digits", "1e400", "1e-400", "10000 places"],
)
def test_extreme_numbers_are_refused_or_harmless(api: Api, value: bytes) -> None:
    answer = api.ask(*SUBMIT, b'{"domain": "web1", "destination": "hostb", "live": ' + value + b"}")
    code = Code.BAD_JSON if answer.status == 400 else Code.INVALID_REQUEST
    api.is_problem(answer, code)
    assert answer.seconds < PROMPT_S
    api.serves()


def test_a_thousand_unknown_fields_are_answered_by_a_bounded_list(api: Api) -> None:
    body = {f"field{number}": number for number in range(1000)}
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body)
    assert 10 <= len(problem["errors"]) <= 100


def test_deep_nesting_within_json_is_refused(api: Api) -> None:
    body = b'{"domain": ' + b"[" * 500 + b"]" * 500 + b', "destination": "hostb"}'
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body)
    assert fields_of(problem) == ["domain"]


@pytest.mark.parametrize(
    "name",
    [
        "web1\n",
        "\x00web1",
        "web\x1b[2J1",
        "a/../b",
        "web1\x7f",
        "web\u0085",
        "x" * 257,
        "x" * 10_240,
        "\U0001f4a5" * 5000,
    ],
    ids=lambda name: ascii(name[:12]),
)
@pytest.mark.parametrize("field", ["domain", "destination"])
def test_impossible_names_are_refused(api: Api, field: str, name: str) -> None:
    if field == "destination" and name in ("a/../b", "x" * 257):
        problem = api.refuses_migration(Code.UNKNOWN_PEER, domain="web1", destination=name)
        return
    body = {"domain": "web1", "destination": "hostb"} | {field: name}
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body)
    assert fields_of(problem) == [field]


def _chunks(size: int) -> Iterator[bytes]:
    yield b'{"domain": "'
    for _ in range(size // 4096):
        yield b"x" * 4096
    yield b'"}'


def test_a_body_of_two_mebibytes_is_refused(api: Api) -> None:
    api.refused(Code.BODY_TOO_LARGE, *SUBMIT, b'{"domain": "' + b"x" * (2 << 20) + b'"}')


def test_a_body_of_two_mebibytes_without_a_length_is_refused(api: Api) -> None:
    api.refused(Code.BODY_TOO_LARGE, *SUBMIT, _chunks(2 << 20))


def test_a_body_that_claims_to_be_huge_is_refused_before_it_came(api: Api) -> None:
    answer = api.say(
        b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{"
    )
    api.is_problem(answer, Code.BODY_TOO_LARGE)
    assert answer.seconds < PROMPT_S
    api.serves()


def test_a_body_just_under_the_limit_is_read(api: Api) -> None:
    body = json.dumps({"domain": "x", "destination": "y", "z": ""})
    body = body[:-2] + "z" * ((1 << 20) - len(body) - 1) + '"}'
    assert (1 << 20) - 8 < len(body) < 1 << 20
    problem = api.refused(Code.INVALID_REQUEST, *SUBMIT, body.encode())
    assert fields_of(problem) == ["z"]


def test_a_compressed_body_is_not_unfolded(api: Api) -> None:
    body = gzip.compress(b'{"domain": "' + b"x" * (16 << 20) + b'"}')
    assert len(body) < 1 << 20
    headers = {"Content-Encoding": "gzip"}
    api.refused(Code.UNSUPPORTED_MEDIA_TYPE, *SUBMIT, body, headers=headers)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_says_to_be_compressed_is_refused_whatever_it_is(api: Api, coding: str) -> None:
    body = b'{"domain": "web1", "destination": "nowhere", "live": true}'
    head = f"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nContent-Encoding: {coding}\r\n"
    answer = api.say(head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    api.is_problem(answer, Code.UNSUPPORTED_MEDIA_TYPE)
    assert answer.seconds < PROMPT_S
    api.serves()


@pytest.mark.parametrize("chunk", [b"ZZ\r\n{}\r\n", b"-1\r\n{}\r\n", b"2\r\n{}{}{}\r\n0\r\n\r\n"])
def test_damaged_chunks_are_refused(api: Api, chunk: bytes) -> None:
    head = b"POST /v1/migrations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = api.say(head + chunk)
    assert answer.status in (400, 422)
    api.is_problem(answer, Code(answer.json["code"]))
    assert answer.seconds < PROMPT_S
    api.serves()


def test_a_body_that_is_empty_is_that_every_time(api: Api) -> None:
    for _ in range(3):
        api.refused(Code.BAD_JSON, "POST", "/v1/check", b"")


def test_actions_take_no_body_or_an_empty_object_and_nothing_else(
    api: Api, slow: dict[str, Any]
) -> None:
    abort = ("POST", f"/v1/migrations/{slow['id']}/abort")
    problem = api.refused(Code.INVALID_REQUEST, *abort, {"force": True})
    assert fields_of(problem) == ["force"]
    api.refused(Code.BAD_JSON, *abort, b"{")
    api.refused(Code.INVALID_REQUEST, *abort, b"[]")
    assert api.migration(slow["id"])["state"] == "precopy"
    assert api.ask(*abort, {}).status == 202
    assert api.ended(slow["id"])["state"] == "cancelled"


def test_no_body_is_none_however_often_there_is_none(api: Api, slow: dict[str, Any]) -> None:
    for _ in range(3):
        answer = api.ask("POST", f"/v1/migrations/{slow['id']}/abort", b"")
        assert answer.status == 202
    assert api.ended(slow["id"])["state"] == "cancelled"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"as": "lost"}', b'{"verdict": "failed"}', b"[]"])
def test_a_resolution_must_say_as_what(api: Api, slow: dict[str, Any], body: bytes) -> None:
    answer = api.ask("POST", f"/v1/migrations/{slow['id']}/resolve", body)
    api.is_problem(answer, Code.INVALID_REQUEST if body else Code.BAD_JSON)
    api.serves()


def test_an_action_on_nothing_is_not_found_whatever_its_body(api: Api) -> None:
    api.refused(Code.UNKNOWN_MIGRATION, "POST", f"/v1/migrations/{UNKNOWN_ID}/abort", b"{")
