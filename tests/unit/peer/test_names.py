"""The names of a certificate, and which of them let its owner in."""

from __future__ import annotations

from typing import Any

import pytest

from pmigd.adapters.peer.names import AllowedNames, certificate_names, covers


def certificate(*alternatives: tuple[str, str], common: tuple[str, ...] = ()) -> dict[str, Any]:
    """As Python's library tells of one."""
    subject = ((("organizationName", "x"),), *((("commonName", name),) for name in common))
    told: dict[str, Any] = {"subject": subject}
    return told | ({"subjectAltName": alternatives} if alternatives else {})


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (
            certificate(("DNS", "HostA.Example.com"), ("DNS", "hosta")),
            ("hosta.example.com", "hosta"),
        ),
        (certificate(("IP Address", "10.0.0.1")), ("10.0.0.1",)),
        (certificate(("IP Address", "FE80:0:0:0:0:0:0:1")), ("fe80::1",)),
        (certificate(("email", "a@hosta")), ()),
        (certificate(("URI", "https://hosta")), ()),
        (certificate(("DNS", "*.example.com")), ()),
        (certificate(("DNS", "hosta\n"), ("DNS", "host a"), ("DNS", "")), ()),
        (certificate(("DNS", "hosta"), common=("hostb",)), ("hosta",)),
        (certificate(("email", "a@x"), common=("hostb",)), ()),
        (certificate(common=("hostb",)), ("hostb",)),
        (certificate(common=("first", "last")), ("last",)),
        (certificate(common=("Migration hosts of x",)), ()),
        (certificate(), ()),
        ({}, ()),
    ],
)
def test_names_are_hosts_that_are_spelled_out(
    shown: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert certificate_names(shown) == names


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("hosta", True),
        ("hostb", False),
        ("hosta.example.net", False),
        ("a.example.com", True),
        ("example.com", False),
        ("a.b.example.com", False),
        ("a.b.example.net", True),
        ("aexample.com", False),
        ("10.0.0.1", True),
        ("11.0.0.1", False),
    ],
)
def test_a_star_is_one_label_and_everything_else_is_itself(name: str, passes: bool) -> None:
    allowed = AllowedNames(["HostA", "*.example.com", "*.b.example.net", "10.0.0.1"])
    assert allowed.proven([name]) == (name if passes else None)


def test_who_is_proven_is_the_first_name_that_is_allowed() -> None:
    allowed = AllowedNames(["b", "c"])
    assert allowed.proven(["a", "c", "b"]) == "c"
    assert allowed.proven([]) is None
    assert AllowedNames().proven(["a"]) is None


@pytest.mark.parametrize(
    ("claimed", "passes"),
    [
        ("hosta.example.com", True),
        ("HOSTA", True),
        ("other.net", True),
        ("other", True),
        ("example", False),
        ("hosta.example", False),
        ("10.0.0.1", True),
        ("10", False),
        ("fe80::1", True),
        ("fe80", False),
        ("", False),
    ],
)
def test_a_host_is_called_by_a_name_of_its_certificate_or_by_its_first_label(
    claimed: str, passes: bool
) -> None:
    names = ("hosta.example.com", "other.net", "10.0.0.1", "fe80::1")
    assert covers(names, claimed) is passes
