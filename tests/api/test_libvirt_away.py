"""libvirtd hangs or dies: pmigd answers on, says so, and finds back by itself."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from contrib.lab import Host, LabGuest
from contrib.lab.deadlines import until
from pmigd.core.problem import Code
from tests.api.client import PROMPT_S, Api

pytestmark = pytest.mark.hypervisor

NOTICED_WITHIN_S = 20.0


@pytest.fixture
def frozen(hosta: Host, api: Api, heavies: list[LabGuest]) -> Iterator[None]:
    hosta.libvirtd.freeze()
    yield
    hosta.libvirtd.thaw()
    _connected(api)


def _connected(api: Api) -> None:
    until(
        lambda: api.ask("GET", "/readyz").status == 200 and api.get("/v1/domains")["items"],
        "libvirt again",
        timeout=30,
        evidence=api.host.pmigd.log_tail,
    )


def _scrape_tcp(host: Host) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", 9718)
    began = time.monotonic()
    with closing(connection):
        connection.sock = host.connect(9718)
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert b"pmigd_" in response.read()
        assert response.status == 200
    return time.monotonic() - began


def test_a_frozen_libvirt_delays_neither_metrics_nor_health(
    api: Api, hosta: Host, frozen: None
) -> None:
    assert statistics.median(_scrape_tcp(hosta) for _ in range(5)) < PROMPT_S
    on_socket = [api.ask("GET", "/metrics") for _ in range(5)]
    assert {answer.status for answer in on_socket} == {200}
    assert statistics.median(answer.seconds for answer in on_socket) < PROMPT_S
    for path in ("/healthz", "/v1/status", "/v1/migrations", "/v1/peers"):
        answer = api.ask("GET", path)
        assert (answer.status, answer.seconds < PROMPT_S) == (200, True), path


def test_a_submission_to_a_frozen_libvirt_is_refused_and_accepted_afterwards(
    api: Api, hosta: Host, hostb: Host, mover: Callable[[str], LabGuest]
) -> None:
    guest = mover("patient")
    body = {"domain": guest.name, "destination": "hostb"}
    hosta.libvirtd.freeze()
    try:
        problem = api.refused(
            Code.LIBVIRT_UNAVAILABLE, "POST", "/v1/migrations", body, within_s=NOTICED_WITHIN_S
        )
        assert problem["retryable"] is True
        # From then on it is known, said, and nobody waits for it any more.
        until(
            lambda: api.ask("GET", "/readyz").status == 503,
            "the hang noticed",
            timeout=NOTICED_WITHIN_S,
        )
        assert api.get("/v1/status")["libvirt"]["connected"] is False
        api.refused(Code.LIBVIRT_UNAVAILABLE, "GET", "/v1/domains")
    finally:
        hosta.libvirtd.thaw()
    _connected(api)
    assert api.ended(api.submit(guest.name)["id"])["state"] == "succeeded"
    assert guest.where() == [hostb]


def test_after_libvirt_was_killed_and_started_pmigd_is_connected_and_hears_its_events(
    api: Api, hosta: Host, hostb: Host, mover: Callable[[str], LabGuest]
) -> None:
    guest = mover("survivor")
    before = api.get("/v1/status")["libvirt"]["reconnects"]
    hosta.libvirtd.kill()
    try:
        until(
            lambda: api.ask("GET", "/readyz").status == 503,
            "the loss noticed",
            timeout=NOTICED_WITHIN_S,
        )
        assert api.ask("GET", "/readyz").json["libvirt"]
        for method, path, sent in (
            ("POST", "/v1/migrations", {"domain": guest.name, "destination": "hostb"}),
            ("GET", "/v1/domains", None),
        ):
            api.refused(Code.LIBVIRT_UNAVAILABLE, method, path, sent)
    finally:
        hosta.libvirtd.start()
    _connected(api)
    assert api.get("/v1/status")["libvirt"]["reconnects"] == before + 1
    # Without libvirt's events nobody would notice a migration that pmigd did not start so soon,
    # and its own would have no iterations.
    migration = api.submit(guest.name)
    ended = api.ended(migration["id"])
    assert ended["state"] == "succeeded"
    assert ended["result"]["iterations"] >= 1
    assert ended["result"]["downtime_ms"] is not None
    assert guest.where() == [hostb]
    guest.migrate(hosta)
    until(
        lambda: [
            m
            for m in api.get(f"/v1/migrations?domain={guest.uuid}")["items"]
            if m["external"] and m["direction"] == "incoming" and m["state"] == "succeeded"
        ],
        "the way back, which others started",
        timeout=20,
    )
