"""What a message may hold, and which start of a source it is of."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pmigd.adapters.peer.client import PeerRefused
from pmigd.core.problem import Code, Problem
from pmigd.wire.peer import MAX_LEASES
from tests.peer.conftest import ASKED, DOMAIN, IDEN, Pki, Serving, request

ENTRY: dict[str, Any] = msgspec.to_builtins(ASKED.lease)


async def _answer(hostb: Serving, pki: Pki, method: str, path: str, body: object) -> Any:
    words = request(path, json.dumps(body).encode(), method)
    head, _, content = (await hostb.say(words, pki.hosta)).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY | {"domain": {"name": "x" * 900_000, "uuid": DOMAIN.uuid}},
        ENTRY | {"domain": {"name": "x", "uuid": "u" * 900_000}},
        ENTRY | {"domain": {"name": "x" * 257, "uuid": DOMAIN.uuid}},
        ENTRY | {"traceparent": "t" * 900_000},
        ENTRY | {"id": "i" * 900_000},
        ENTRY | {"login": "l" * 900_000},
    ],
    ids=["name", "uuid", "a name too long", "traceparent", "id", "login"],
)
async def test_a_lease_with_a_text_out_of_bounds_is_refused(
    hostb: Serving, pki: Pki, entry: dict[str, Any]
) -> None:
    for method, body in (("POST", {"lease": entry}), ("PUT", {"leases": [entry]})):
        said = {"source": "hosta", "seq": 1, **body}
        status, problem = await _answer(hostb, pki, method, "/peer/v1/leases", said)
        assert (status, problem["code"]) == (422, Code.INVALID_REQUEST)
    assert hostb.behind.asked == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "s" * 900_000},
        {"epoch": "e" * 65},
        {"seq": 2**63},
        {"leases": [ENTRY] * (MAX_LEASES + 1)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_report_out_of_bounds_is_refused(
    hostb: Serving, pki: Pki, wrong: dict[str, Any]
) -> None:
    said = {"source": "hosta", "seq": 1, "leases": []} | wrong
    status, problem = await _answer(hostb, pki, "PUT", "/peer/v1/leases", said)
    assert (status, problem["code"]) == (422, Code.INVALID_REQUEST)


async def test_questions_out_of_bounds_are_refused(hostb: Serving, pki: Pki) -> None:
    domain = {"name": "x" * 900_000, "uuid": DOMAIN.uuid}
    many = {"domain": msgspec.to_builtins(DOMAIN), "ports": list(range(2000))}
    for path, body in (
        ("/peer/v1/look", {"domain": domain}),
        ("/peer/v1/examine", {"question": {"domain": domain}}),
        ("/peer/v1/examine", {"question": many}),
    ):
        status, problem = await _answer(hostb, pki, "POST", path, body)
        assert (status, problem["code"]) == (422, Code.INVALID_REQUEST)


async def test_a_channel_greets_before_it_says_anything_and_always_in_the_same_words(
    hostb: Serving,
) -> None:
    channel = hostb.channel()
    await channel.ask(ASKED)
    await channel.hello()
    ((_, first), (_, second)) = hostb.behind.greeted
    assert first == second != ""
    assert hostb.behind.epochs == [first]
    other = hostb.channel()
    await other.ask(ASKED)
    assert hostb.behind.greeted[-1][1] != first


async def test_a_channel_in_whose_name_another_greeted_greets_anew_and_asks_again(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = hostb.channel()
    await channel.ask(ASKED)
    before = hostb.behind.greeted[-1][1]
    hostb.behind.refusing = Problem(Code.PEER_UNGREETED, "superseded")
    with pytest.raises(PeerRefused):
        await channel.ask(ASKED)  # twice in a row: it does not go on for ever
    hostb.behind.refusing = None
    await channel.ask(ASKED)
    epochs = hostb.behind.epochs
    assert epochs[0] == epochs[1] == before
    assert epochs[2] == epochs[3] == hostb.behind.greeted[-1][1] != before


async def test_a_release_without_epochs_is_understood(hostb: Serving, pki: Pki) -> None:
    said = {"source": "hosta", "seq": 5, "lease": ENTRY}
    assert (await _answer(hostb, pki, "POST", "/peer/v1/leases", said))[0] == 200
    assert hostb.behind.epochs == [""]
    await hostb.say(request("/peer/hello", method="GET"), pki.hosta)
    assert hostb.behind.greeted[-1][1] == ""
    # And it ignores what it does not know: a message of this release is one of its own.
    old = msgspec.defstruct("Old", [("source", str), ("seq", int), ("lease", Any)])
    now = msgspec.structs.replace(ASKED, epoch="e1")
    assert msgspec.json.decode(msgspec.json.encode(now), type=old).seq == ASKED.seq
    assert ENTRY["id"] == IDEN


@pytest.mark.parametrize("epoch", ["e" * 65, "%00", "a%20b", "%0a"])
async def test_an_epoch_that_is_none_is_refused(hostb: Serving, pki: Pki, epoch: str) -> None:
    answer = await hostb.say(request(f"/peer/hello?epoch={epoch}", method="GET"), pki.hosta)
    assert answer.startswith(b"HTTP/1.1 422 ")
