"""Where a migration may go, and whose limits hold there."""

from __future__ import annotations

import pytest

from pmigd.core.destination import find_target
from pmigd.core.model import Target
from pmigd.core.problem import Code, Refused
from pmigd.core.roles import Role
from pmigd.core.uri import parse_uri_pattern

PEERS = {"hostb": Target("hostb", "qemu+tls://hostb.example.com/system", host="hostb.example.com")}
ALLOWED = [parse_uri_pattern("qemu+ssh://*.example.com/system")]


def find(destination: str, role: Role = Role.ADMIN) -> Target:
    return find_target(destination, role, PEERS, ALLOWED)


def test_a_peer_is_found_by_its_name() -> None:
    assert find("hostb", Role.OPERATOR) == PEERS["hostb"]


def test_another_way_to_a_peer_is_still_that_peer() -> None:
    found = find("qemu+ssh://hostb.example.com/system")
    assert (found.name, found.uri) == ("hostb", "qemu+ssh://hostb.example.com/system")


def test_a_host_that_is_no_peer_is_called_by_its_uri() -> None:
    uri = "qemu+ssh://hostc.example.com/system"
    assert find(uri).name == uri


@pytest.mark.parametrize(
    ("destination", "role", "code"),
    [
        ("hostz", Role.ADMIN, Code.UNKNOWN_PEER),
        ("qemu+ssh://hostb.example.com/system", Role.OPERATOR, Code.FORBIDDEN),
        ("qemu+tls://hostb.example.com/system", Role.ADMIN, Code.URI_REFUSED),
        ("qemu+ssh://localhost/system", Role.ADMIN, Code.SAME_HOST),
    ],
)
def test_what_may_not_be_is_refused(destination: str, role: Role, code: Code) -> None:
    with pytest.raises(Refused) as refused:
        find(destination, role)
    assert refused.value.problem.code is code
