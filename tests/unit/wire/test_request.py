"""From bodies to requests and changes, and from a request to what clients see of it."""

from __future__ import annotations

import msgspec
import pytest

from pmigd.core.problem import Refused
from pmigd.core.request import AutoConverge, Compression, Postcopy, Request, Settings, Transport
from pmigd.wire.migration import settings_view
from pmigd.wire.request import asked, parse_change, parse_request, request_view

ROUTE = {"domain": "web1", "destination": "hostb"}
MUCH = {
    "domain": "a",
    "destination": "b",
    "tls": True,
    "flow": "direct",
    "timeout_s": 60,
    "bandwidth_mib_s": 5,
    "compression": {"methods": ["mt"], "mt_level": 0},
    "auto_converge": {"initial": 20},
    "copy_storage": "all",
    "migrate_disks": ["vda"],
    "postcopy": "allowed",
    "on_timeout": "suspend",
    "priority": 50,
    "persistent": True,
    "autostart": "leave",
}


def test_null_is_as_good_as_nothing_said() -> None:
    said = {"transport": None, "bandwidth_mib_s": None, "priority": None, "compression": None}
    request = parse_request({**ROUTE, **said}, {})
    assert request == Request(**ROUTE)
    configured = {"transport": Transport.TUNNELLED}
    assert parse_request({**ROUTE, **said}, configured).transport is Transport.TUNNELLED


def test_objects_become_those_of_the_core() -> None:
    request = parse_request(MUCH, {})
    assert request.compression == Compression(("mt",), mt_level=0)
    assert request.auto_converge == AutoConverge(initial=20)
    assert request.postcopy is Postcopy.ALLOWED


def test_all_that_is_wrong_is_told_by_its_path() -> None:
    wrong = {"compression": {"mt_level": 10, "level": 1}, "migrate_disks": ["vda", "/dev/b"]}
    with pytest.raises(Refused) as refused:
        parse_request({**ROUTE, **wrong, "priority": 101}, {})
    fields = [error.field for error in refused.value.problem.errors]
    assert sorted(fields) == [
        *("compression.level", "compression.mt_level", "migrate_disks[1]", "priority")
    ]


def test_a_request_keeps_the_fingerprint_that_it_had_in_releases_before() -> None:
    """Of a repeat with an idempotency key: the journal has the first one's."""
    assert asked(MUCH) == "c9d9c9ecc619a5cd77b6afd5963dd8db15a96d755d6801eb763ad7f289b6ecbd"
    assert asked(MUCH | {"priority": None}) == asked(MUCH)
    assert asked(MUCH | {"priority": 51}) != asked(MUCH)


def test_xml_is_not_shown_and_everything_else_as_it_was_sent() -> None:
    view = request_view(parse_request({**MUCH, "xml": "<secret/>"}, {}))
    seen = msgspec.json.decode(msgspec.json.encode(view))
    assert seen["xml"] == "(given)"
    assert seen["persistent_xml"] is None
    assert {name: seen[name] for name in MUCH} == {
        **MUCH,
        "compression": dict.fromkeys(seen["compression"]) | {"methods": ["mt"], "mt_level": 0},
        "auto_converge": {"initial": 20, "increment": None},
    }


def test_a_change_is_libvirts_or_pmigds_own() -> None:
    settings, ours = parse_change({"bandwidth_mib_s": 0, "timeout_s": 3, "max_downtime_ms": None})
    assert settings == Settings(bandwidth_mib_s=0)
    assert ours == {"timeout_s": 3}
    for nothing in ({}, {"priority": None}):
        with pytest.raises(Refused, match="at least one setting"):
            parse_change(nothing)
    with pytest.raises(Refused, match="transport is not known"):
        parse_change({"transport": "native"})


def test_settings_in_force_are_libvirts_and_the_deadline() -> None:
    found = Settings(max_downtime_ms=300, bandwidth_mib_s=0)
    assert msgspec.to_builtins(settings_view(found, parse_request(MUCH, {}))) == {
        "max_downtime_ms": 300,
        "bandwidth_mib_s": 0,
        "postcopy_bandwidth_mib_s": None,
        "compression_cache_bytes": None,
        "timeout_s": 60,
        "on_timeout": "suspend",
    }
