"""What the request alone decides: names, and what only an administrator may give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pmigd.core.finding import Level, blocking
from pmigd.core.model import Flow, Request
from pmigd.core.problem import Code, Refused
from pmigd.core.request_check import check_request, check_role
from pmigd.core.roles import Role

PLAIN = Request(domain="web1", destination="hostb")


def codes(request: Request) -> dict[str, Level]:
    return {finding.code: finding.level for finding in check_request(request)}


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "\u2003", ".", "..", "/", "a/b", "../x", "a\n", "\x1b[2J", "\x85", "\u202ea"),
        *("x" * 252, "ä" * 126, "\U0001f4a5" * 63),
    ],
    ids=ascii,
)
def test_a_name_of_which_libvirt_can_make_no_file_is_refused(name: str) -> None:
    request = replace(PLAIN, dname=name)
    assert codes(request) == {"bad_dname": Level.BLOCK}
    problem = blocking(check_request(request))
    assert problem is not None
    assert [error.field for error in problem.errors] == ["dname"]


@pytest.mark.parametrize("name", ["web2", "...", "web 1", "x" * 251, "ä" * 125, "-", "a..b", "日"])
def test_an_odd_name_is_a_name(name: str) -> None:
    assert codes(replace(PLAIN, dname=name)) == {}


def test_whose_certificate_is_believed_is_an_administrators_business() -> None:
    request = replace(PLAIN, tls=True, tls_destination="hostb.example.com")
    with pytest.raises(Refused) as refused:
        check_role(request, Role.OPERATOR)
    assert refused.value.problem.code is Code.FORBIDDEN
    assert [error.field for error in refused.value.problem.errors] == ["tls_destination"]
    check_role(request, Role.ADMIN)
    check_role(replace(PLAIN, tls=True), Role.OPERATOR)


def test_what_direct_needs_pmigd_is_said_and_not_refused() -> None:
    request = replace(PLAIN, flow=Flow.DIRECT)
    assert codes(request)["direct_needs_pmigd"] is Level.WARN
    assert blocking(check_request(request)) is None
    assert "direct_needs_pmigd" not in codes(PLAIN)
