"""Known defects by version: told where they are, and only for requests that they can hurt."""

from __future__ import annotations

from typing import Any

import pytest

from pmigd.core.defects import DEFECTS, Side, Software, cannot_recover, hurting, present
from pmigd.core.facts import HostFacts
from pmigd.core.finding import Level, blocking
from pmigd.core.model import CopyStorage, Postcopy, Request
from pmigd.core.problem import Code
from pmigd.core.versions import text

FINE = ("12.5.0", "11.0.0")
POSTCOPY = {"postcopy": Postcopy.ALLOWED}
DISKS_BY_TLS = {"tls": True, "copy_storage": CopyStorage.ALL, "parallel_connections": 2}


def host(libvirt: str, qemu: str) -> HostFacts:
    return HostFacts("x", "x", libvirt, "QEMU", qemu)


def found(source: tuple[str, str], destination: tuple[str, str], **fields: Any) -> dict[str, Level]:
    request = Request("a", "b", **fields)
    return {f.code: f.level for f in hurting(request, host(*source), host(*destination))}


@pytest.mark.parametrize(
    ("code", "level", "source", "destination", "fields"),
    [
        ("postcopy_cannot_recover", "warn", FINE, ("11.2.0", "11.0.0"), POSTCOPY),
        ("postcopy_cannot_recover", "warn", FINE, ("11.3.0", "11.0.0"), POSTCOPY),
        ("postcopy_cannot_recover", None, FINE, ("11.1.0", "11.0.0"), POSTCOPY),
        ("postcopy_cannot_recover", None, FINE, ("11.4.0", "11.0.0"), POSTCOPY),
        ("postcopy_cannot_recover", None, ("11.3.0", "11.0.0"), FINE, POSTCOPY),
        ("postcopy_cannot_recover", None, FINE, ("11.3.0", "11.0.0"), {}),
        ("postcopy_recovery_told_failed", "warn", ("10.10.0", "11.0.0"), FINE, POSTCOPY),
        ("postcopy_recovery_told_failed", None, ("11.0.0", "11.0.0"), FINE, POSTCOPY),
        ("postcopy_recovery_told_failed", None, ("10.10.0", "11.0.0"), FINE, {}),
        ("postcopy_first_moment", "warn", ("12.5.0", "10.1.3"), FINE, POSTCOPY),
        ("postcopy_first_moment", "warn", FINE, ("12.5.0", "7.2.22"), POSTCOPY),
        ("postcopy_first_moment", None, ("12.5.0", "10.2.0"), ("12.5.0", "10.2.0"), POSTCOPY),
        ("postcopy_first_moment", None, FINE, ("12.5.0", "7.2.22"), {}),
        ("tls_long_transfer", "warn", ("11.5.0", "11.0.0"), FINE, {"tls": True}),
        ("tls_long_transfer", None, ("11.6.0", "11.0.0"), FINE, {"tls": True}),
        ("tls_long_transfer", None, ("11.5.0", "11.0.0"), FINE, {}),
        ("tls_name_of_disks", "warn", ("10.2.0", "11.0.0"), FINE, DISKS_BY_TLS),
        ("tls_name_of_disks", None, ("10.3.0", "11.0.0"), FINE, DISKS_BY_TLS),
        (
            "tls_name_of_disks",
            None,
            ("10.2.0", "11.0.0"),
            FINE,
            DISKS_BY_TLS | {"parallel_connections": 0},
        ),
        (
            "parallel_old_to_new",
            "block",
            ("12.5.0", "7.1.0"),
            ("12.5.0", "9.2.0"),
            {"parallel_connections": 2},
        ),
        (
            "parallel_old_to_new",
            None,
            ("12.5.0", "7.1.0"),
            ("12.5.0", "9.1.2"),
            {"parallel_connections": 2},
        ),
        (
            "parallel_old_to_new",
            None,
            ("12.5.0", "9.2.0"),
            ("12.5.0", "9.2.0"),
            {"parallel_connections": 2},
        ),
        ("parallel_old_to_new", None, ("12.5.0", "7.1.0"), ("12.5.0", "9.2.0"), {}),
        ("disks_port_kept", "warn", FINE, ("10.0.0", "11.0.0"), {"disks_port": 4000}),
        ("disks_port_kept", None, FINE, ("10.1.0", "11.0.0"), {"disks_port": 4000}),
        ("disks_port_kept", None, FINE, ("10.0.0", "11.0.0"), {}),
        ("shutdown_crashes_libvirt", "info", ("10.4.0", "11.0.0"), FINE, {}),
        ("shutdown_crashes_libvirt", "info", FINE, ("9.0.0", "11.0.0"), {}),
        ("shutdown_crashes_libvirt", None, ("10.5.0", "11.0.0"), FINE, {}),
        ("shutdown_crashes_libvirt", None, ("10.4.0", "11.0.0"), FINE, {"offline": True}),
        ("arriving_xml_hangs", "info", FINE, ("11.0.0", "11.0.0"), {}),
        ("arriving_xml_hangs", "info", FINE, ("11.4.0", "11.0.0"), {}),
        ("arriving_xml_hangs", None, FINE, ("10.10.0", "11.0.0"), {}),
        ("arriving_xml_hangs", None, FINE, ("11.5.0", "11.0.0"), {}),
        ("arriving_xml_hangs", None, ("11.3.0", "11.0.0"), FINE, {}),
    ],
)
def test_it_is_told_where_it_is(code, level, source, destination, fields) -> None:
    assert found(source, destination, **fields).get(code) == level


def test_between_hosts_without_any_nothing_is_told() -> None:
    everything = POSTCOPY | DISKS_BY_TLS | {"disks_port": 4000}
    assert found(FINE, FINE, **everything) == {}
    assert found(("", ""), ("what", ""), **everything) == {}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.kind.code)
def test_each_says_where_it_is_and_which_version_has_it_no_more(defect) -> None:
    first, _ = defect.only_from or (defect.since, None)
    both = {Software.LIBVIRT: ("9.9.9", "11.0.0"), Software.QEMU: ("12.5.0", "9.9.9")}
    here, there = list(both[defect.software]), list(both[defect.software])
    at = 0 if defect.software is Software.LIBVIRT else 1
    there[at] = text(max(defect.since, (0, 9, 0)))
    here[at] = text(max(first, (0, 9, 0)))
    (one,) = [p for p in present(host(*here), host(*there)) if p.defect is defect]
    sides = {"source", "destination"} if defect.side is Side.BOTH else {str(defect.side)}
    assert {str(side) for side, _ in one.where} == sides
    detail = one.finding.detail
    assert detail.startswith(defect.kind.title)
    assert all(
        f"{defect.software} {version} on the {side}" in detail for side, version in one.where
    )
    assert "{" not in one.finding.remedy


def test_what_surely_breaks_is_refused_with_what_is_too_old() -> None:
    request = Request("a", "b", parallel_connections=2)
    problem = blocking(hurting(request, host("9.0.0", "7.2.22"), host("11.0.0", "9.2.0")))
    assert problem is not None
    assert problem.code is Code.UNSUPPORTED_BY_LIBVIRT
    assert "QEMU 9.2.0 on the destination" in problem.detail


@pytest.mark.parametrize(
    ("version", "crashes"),
    [("11.1.0", False), ("11.2.0", True), ("11.3.0", True), ("11.4.0", False), ("", False)],
)
def test_a_broken_postcopy_is_not_gone_on_with_where_that_crashes(version, crashes) -> None:
    problem = cannot_recover(host(version, "10.1.0"))
    assert (problem is not None) is crashes
    assert problem is None or "needs libvirt >= 11.4.0 on destination" in problem.detail
