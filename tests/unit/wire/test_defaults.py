"""Where a request says nothing the configuration does, as far as that makes sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pmigd.core.conflicts import find_conflicts
from pmigd.core.model import OnTimeout, Request, Transport
from pmigd.wire.request import parse_request

ENCRYPTED = {"tls": True}


def request(configured: Mapping[str, Any], **fields: Any) -> Request:
    return parse_request({"domain": "web1", "destination": "hostb", **fields}, configured)


def conflicts(wanted: Request) -> list[str]:
    return [finding.code for finding in find_conflicts(wanted)]


def test_a_request_that_says_nothing_gets_what_is_configured() -> None:
    defaults = {
        "transport": Transport.TUNNELLED,
        "timeout_s": 60,
        "on_timeout": OnTimeout.CONTINUE,
    }
    wanted = request(defaults)
    assert wanted.transport is Transport.TUNNELLED
    assert (wanted.timeout_s, wanted.on_timeout) == (60, OnTimeout.CONTINUE)
    wanted = request(defaults, transport="native", timeout_s=0, on_timeout="abort")
    assert wanted.transport is Transport.NATIVE
    assert (wanted.timeout_s, wanted.on_timeout) == (0, OnTimeout.ABORT)


@pytest.mark.parametrize(
    ("configured", "fields", "taken"),
    [
        ("postcopy", {"postcopy": "allowed"}, OnTimeout.POSTCOPY),
        ("postcopy", {"postcopy": "allowed", "on_timeout": "abort"}, OnTimeout.ABORT),
        ("postcopy", {}, OnTimeout.ABORT),
        ("postcopy", {"offline": True}, OnTimeout.ABORT),
        ("suspend", {}, OnTimeout.SUSPEND),
        ("suspend", {"offline": True}, OnTimeout.ABORT),
    ],
)
def test_what_to_do_in_the_end_is_configured_for_those_it_can_help(
    configured: str, fields: dict[str, Any], taken: OnTimeout
) -> None:
    wanted = request({"on_timeout": OnTimeout(configured), "timeout_s": 60}, **fields)
    assert wanted.on_timeout is taken
    assert not {"timeout_postcopy_not_allowed", "offline_timeout"} & set(conflicts(wanted))


class TestTls:
    def test_is_used_where_the_request_leaves_it_open(self) -> None:
        assert request(ENCRYPTED).tls
        assert request(ENCRYPTED, tls=None).tls
        assert not request({}).tls

    def test_is_what_a_request_says_exactly(self) -> None:
        assert not request(ENCRYPTED, tls=False).tls
        assert request({}, tls=True).tls

    @pytest.mark.parametrize("fields", [{"transport": "tunnelled"}, {"offline": True}], ids=str)
    def test_is_not_for_what_qemu_does_not_send_itself(self, fields: dict[str, Any]) -> None:
        wanted = request(ENCRYPTED, **fields)
        assert not wanted.tls
        assert conflicts(wanted) == []

    def test_that_is_asked_for_in_a_tunnel_stays_a_conflict(self) -> None:
        wanted = request(ENCRYPTED, transport="tunnelled", tls=True)
        assert conflicts(wanted) == ["tunnelled_tls"]

    def test_is_not_given_up_in_silence_for_an_option_that_it_excludes(self) -> None:
        fast = {"zerocopy": True, "parallel_connections": 2}
        assert conflicts(request(ENCRYPTED, **fast)) == ["zerocopy_tls"]
        assert conflicts(request(ENCRYPTED, **fast, tls=False)) == []
