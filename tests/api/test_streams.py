"""Event streams and waiting: in order, complete, and over when there is nothing more to come."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from tests.api.client import PROMPT_S, Api

pytestmark = pytest.mark.hypervisor

ORDER = ["queued", "preparing", "precopy", "postcopy", "finishing", "succeeded"]


@contextmanager
def stream(api: Api, path: str) -> Iterator[http.client.HTTPResponse]:
    with api.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = http.client.HTTPResponse(sock)
        try:
            response.begin()
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/x-ndjson"
            yield response
        finally:
            response.close()


def events_of(response: http.client.HTTPResponse) -> list[dict[str, Any]]:
    """Everything until the stream ends."""
    return [json.loads(line) for line in response if line.strip()]


def test_the_stream_of_a_migration_has_its_states_in_order_and_ends_with_it(
    api: Api, mover: Callable[[str], LabGuest]
) -> None:
    migration = api.submit(mover("streamed").name)
    with stream(api, f"/v1/migrations/{migration['id']}/events") as response:
        events = events_of(response)
    assert {event["migration"]["id"] for event in events} == {migration["id"]}
    states = [event["migration"]["state"] for event in events]
    assert states == sorted(states, key=ORDER.index)
    assert states[-1] == "succeeded"
    assert states.count("succeeded") == 1
    times = [event["at"] for event in events]
    assert times == sorted(times)
    assert events[-1]["migration"] == api.migration(migration["id"])


def test_the_stream_of_a_finished_migration_is_its_end(api: Api, slow: dict[str, Any]) -> None:
    api.abort(slow["id"])
    began = time.monotonic()
    with stream(api, f"/v1/migrations/{slow['id']}/events") as response:
        (event,) = events_of(response)
    assert time.monotonic() - began < PROMPT_S
    assert event["migration"]["state"] == "cancelled"


def test_a_running_migration_is_sampled_in_its_stream(api: Api, slow: dict[str, Any]) -> None:
    with stream(api, f"/v1/migrations/{slow['id']}/events") as response:
        seen = []
        for line in response:
            if line.strip():
                seen.append(json.loads(line))
            if [event["event"] for event in seen].count("progress") == 3:
                break
        sent = [e["migration"]["progress"] for e in seen if e["event"] == "progress"]
        assert [s["sampled_at"] for s in sent] == sorted({s["sampled_at"] for s in sent})
        processed = [s["memory_processed_bytes"] for s in sent]
        assert processed == sorted(processed)
        assert processed[-1] > 0
        api.abort(slow["id"])
        rest = events_of(response)
    assert rest[-1]["migration"]["state"] == "cancelled"
    assert "action" in {event["event"] for event in rest}


def test_the_stream_of_all_has_every_change_of_every_migration_from_now_on(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    with stream(api, "/v1/events") as response:
        done = [api.submit(heavies[number].name)["id"] for number in (1, 2)]
        for iden in done:
            api.abort(iden)
        seen: dict[str, list[str]] = {iden: [] for iden in done}
        for line in response:
            event = json.loads(line) if line.strip() else None
            if event is not None and event["event"] == "state" and event["migration"]["id"] in seen:
                seen[event["migration"]["id"]].append(event["migration"]["state"])
            if all(states[-1:] == ["cancelled"] for states in seen.values()):
                break
    assert seen == {iden: ["queued", "cancelled"] for iden in done}


def test_a_silent_stream_shows_signs_of_life(api: Api) -> None:
    with stream(api, "/v1/events") as response:
        assert response.readline() == b"\n"


def test_streams_end_when_the_daemon_stops(api: Api, hosta: Host, slow: dict[str, Any]) -> None:
    with (
        stream(api, "/v1/events") as all_,
        stream(api, f"/v1/migrations/{slow['id']}/events") as one,
    ):
        began = time.monotonic()
        hosta.pmigd.stop()
        stopped_s = time.monotonic() - began
        hosta.pmigd.start()
        assert stopped_s < 5
        assert all(e["migration"]["id"] == slow["id"] for e in events_of(all_))
        assert events_of(one)[-1]["migration"]["state"] == "precopy"


def test_wait_answers_when_the_migration_ends(api: Api, slow: dict[str, Any]) -> None:
    answers: list[dict[str, Any]] = []
    path = f"/v1/migrations/{slow['id']}?wait=60"
    waiting = threading.Thread(target=lambda: answers.append(api.get(path)))
    waiting.start()
    api.abort(slow["id"])
    waiting.join(5)
    assert not waiting.is_alive()
    assert answers[0]["state"] == "cancelled"
    assert answers[0] == api.migration(slow["id"])


def test_wait_answers_with_the_present_state_when_the_time_is_over(
    api: Api, slow: dict[str, Any]
) -> None:
    answer = api.ask("GET", f"/v1/migrations/{slow['id']}?wait=0.5")
    assert (answer.status, answer.json["state"]) == (200, "precopy")
    assert 0.5 <= answer.seconds < 0.5 + PROMPT_S


def test_pages_have_everything_once_and_newest_first(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    made = [slow["id"]]
    for _ in range(5):
        made.append(api.submit(heavies[1].name)["id"])
        api.abort(made[-1])
    every = [m["id"] for m in api.get("/v1/migrations?limit=200")["items"]]
    assert every == sorted(every, reverse=True)
    assert every[: len(made)] == made[::-1]
    found: list[str] = []
    cursor = ""
    while len(found) < 6:
        page = api.get(f"/v1/migrations?limit=2{cursor}")
        assert len(page["items"]) == 2
        found += [m["id"] for m in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == made[::-1]
    queue = api.get(f"/v1/migrations?state=cancelled&domain={heavies[1].uuid}&limit=5")
    assert [m["id"] for m in queue["items"]] == made[:0:-1]
    both = api.get("/v1/migrations?state=precopy&state=queued")["items"]
    assert [m["id"] for m in both] == [slow["id"]]


def test_all_readers_see_the_same(api: Api, slow: dict[str, Any]) -> None:
    path = f"/v1/migrations/{slow['id']}/events"
    collected: list[list[dict[str, Any]]] = []

    def collect() -> None:
        with stream(api, path) as response:
            connected.release()
            collected.append(events_of(response))

    connected = threading.Semaphore(0)
    threads = [threading.Thread(target=collect) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert connected.acquire(timeout=5)
    api.abort(slow["id"])
    for thread in threads:
        thread.join(10)
    until(lambda: len(collected) == 5, "five ends", timeout=1)
    assert len({json.dumps(events[-3:]) for events in collected}) == 1
