"""hosta asks hostb: what is said, by whom, and over how many connections."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import msgspec
import pytest

from pmigd.adapters.peer.client import PeerAway, PeerRefused
from pmigd.core.model import Power
from pmigd.core.problem import Code, Problem
from pmigd.wire.peer import ASK, MAX_LEASES, LeaseEvent, LeaseReport, LookQuestion
from tests.peer.conftest import ASKED, DOMAIN, ENTRY, GRANTED, IDEN, Serving

ANY_ASK = replace(ASK, takes=dict)
"""What this version would not say."""


async def test_everything_that_is_asked_is_answered_and_counted(hostb: Serving) -> None:
    channel = hostb.channel()
    report = LeaseReport(source="HostA", seq=2, leases=(ENTRY,))
    question = LookQuestion(domain=DOMAIN)
    assert (await channel.hello()).name == "hostb"
    assert await channel.ask(ASKED) == GRANTED
    assert (await channel.report(report)).leases == {IDEN: GRANTED}
    assert (await channel.look(question)).view.power is Power.RUNNING
    proven = "hosta.example.com"
    assert hostb.behind.asked == [(proven, ASKED), (proven, report), (proven, question)]
    requests = ["hello", "ask", "report", "look"]
    assert hostb.behind.observed == [(proven, name, False) for name in requests]
    assert not hostb.behind.intruders


async def test_one_connection_serves_all_calls(hostb: Serving) -> None:
    channel = hostb.channel()
    for _ in range(20):
        await channel.ask(ASKED)
    assert hostb.guard._inside == {"127.0.0.1": 1}
    assert [request for _, request, _ in hostb.behind.observed] == ["hello"] + ["ask"] * 20


async def test_events_come_as_they_happen_from_when_the_stream_is_entered(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.exchange.HEARTBEAT_S", 0.05)
    channel = hostb.channel()
    told = [LeaseEvent(id=f"{IDEN[:-1]}{n}", answer=GRANTED) for n in range(3)]
    async with channel.events() as events:
        assert hostb.behind.listening == 1
        for event in told:
            hostb.behind.happened.put_nowait(event)
        async with asyncio.timeout(5):
            assert [await anext(events) for _ in told] == told
    async with asyncio.timeout(5):
        while hostb.behind.listening:
            await asyncio.sleep(0.01)


async def test_a_silent_stream_has_signs_of_life(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.api.exchange.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("pmigd.adapters.peer.client.SILENCE_S", 1.0)
    told = LeaseEvent(id=IDEN, answer=GRANTED)
    async with hostb.channel().events() as events:
        asyncio.get_running_loop().call_later(1.5, hostb.behind.happened.put_nowait, told)
        assert await anext(events) == told


async def test_a_stream_that_is_silent_too_long_is_lost(
    hostb: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmigd.adapters.peer.client.SILENCE_S", 0.3)
    channel = hostb.channel()
    async with channel.events() as events:
        with pytest.raises(PeerAway, match=r"silent for 0\.3 s"):
            await anext(events)
    assert channel.known is None


async def test_a_refusal_of_the_daemon_comes_as_its_problem(hostb: Serving) -> None:
    hostb.behind.refusing = Problem(Code.JOURNAL_UNAVAILABLE, "The disk is full.")
    channel = hostb.channel()
    with pytest.raises(PeerRefused) as refused:
        await channel.ask(ASKED)
    assert refused.value.problem == hostb.behind.refusing
    assert hostb.behind.observed[-1] == ("hosta.example.com", "ask", True)
    assert channel.known is not None
    assert not hostb.behind.intruders


async def test_every_wrong_field_is_told(hostb: Serving) -> None:
    wrong = replace_json(ASKED, seq=-1, lease={"id": "1", "phase": "soon"})
    with pytest.raises(PeerRefused) as refused:
        await hostb.channel().call(ANY_ASK, wrong)
    assert refused.value.problem.code is Code.INVALID_REQUEST
    told = {error.field for error in refused.value.problem.errors}
    assert told == {"seq", "lease.id", "lease.domain", "lease.phase"}


async def test_fields_of_a_later_version_are_ignored(hostb: Serving) -> None:
    later = replace_json(ASKED, colour="blue")
    later["lease"]["colour"] = "red"
    assert await hostb.channel().call(ANY_ASK, later) == GRANTED
    assert hostb.behind.asked[-1][1] == ASKED


async def test_the_largest_report_is_taken(hostb: Serving) -> None:
    traceparent = f"00-{'1' * 32}-{'2' * 16}-01"
    leases = tuple(
        msgspec.structs.replace(
            ENTRY, id=f"0192e4a0-0000-7000-8000-{n:012x}", traceparent=traceparent
        )
        for n in range(MAX_LEASES)
    )
    report = LeaseReport(source="hosta", seq=1, leases=leases)
    assert len((await hostb.channel().report(report)).leases) == MAX_LEASES


def replace_json(message: object, **changes: object) -> dict:  # type: ignore[type-arg]
    return {**json.loads(msgspec.json.encode(message)), **changes}
