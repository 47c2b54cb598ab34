"""What later releases bring is refused by name; what asks for nothing special is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contrib.lab import LabGuest
from pmigd.core.problem import Code
from pmigd.core.request import FIELDS
from pmigd.wire.request import LATER_FIELDS
from tests.api.client import Api, fields_of

pytestmark = pytest.mark.hypervisor

SOMETHING: dict[str, Any] = {"policy": "gentle"}

NOTHING: dict[str, Any] = {
    "transport": None,
    "flow": "p2p",
    "live": True,
    "offline": False,
    "persistent": None,
    "undefinesource": None,
    "autostart": None,
    "suspend": False,
    "unsafe": False,
    "start_anyway": False,
    "abort_on_error": False,
    "change_protection": False,
    "copy_storage": "none",
    "copy_storage_synchronous_writes": False,
    "migrate_disks": [],
    "migrate_disks_detect_zeroes": [],
    "migrate_disks_target_zero": [],
    "disks_port": None,
    "disks_uri": None,
    "migrate_uri": None,
    "graphics_uri": None,
    "listen_address": None,
    "tls": False,
    "tls_destination": None,
    "dname": None,
    "xml": None,
    "persistent_xml": None,
    "bandwidth_mib_s": 0,
    "postcopy_bandwidth_mib_s": None,
    "available_switchover_bandwidth_mib_s": 0,
    "parallel_connections": 0,
    "compression": None,
    "auto_converge": None,
    "postcopy": "never",
    "rdma_pin_all": False,
    "zerocopy": False,
    "policy": None,
    "max_downtime_ms": None,
    "timeout_s": 0,
    "on_timeout": None,
    "recover_attempts": None,
    "priority": None,
}
"""Every field of the contract with a value that means nothing special."""


def test_every_later_field_is_known_here() -> None:
    assert SOMETHING.keys() == LATER_FIELDS.keys()


def test_every_field_is_known_here() -> None:
    names = {row.name for row in FIELDS if not row.required}
    assert NOTHING.keys() == names | LATER_FIELDS.keys()


@pytest.mark.parametrize(("field", "value"), SOMETHING.items())
def test_a_field_of_a_later_release_is_refused_and_named(
    api: Api, heavies: list[LabGuest], field: str, value: object
) -> None:
    body = {"domain": heavies[0].name, "destination": "hostb", field: value}
    problem = api.refused(Code.NOT_SUPPORTED, "POST", "/v1/migrations", body)
    assert fields_of(problem) == [field]
    assert field in problem["detail"]
    assert api.open() == []


def test_all_of_them_are_named_at_once(api: Api) -> None:
    body = {"domain": "web1", "destination": "hostb", **SOMETHING}
    problem = api.refused(Code.NOT_SUPPORTED, "POST", "/v1/migrations", body)
    assert fields_of(problem) == list(LATER_FIELDS)


def test_a_client_that_sends_every_field_is_served_as_long_as_it_asks_for_nothing(
    api: Api, mover: Callable[[str], LabGuest]
) -> None:
    migration = api.submit(mover("everything").name, "hostb", **NOTHING)
    assert api.ended(migration["id"])["state"] == "succeeded"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offline", "yes"),
        ("copy_storage", "some"),
        ("migrate_disks", ["/dev/sda"]),
        ("migrate_disks", "vda"),
        ("disks_port", 0),
        ("disks_port", 70000),
        ("compression", {"methods": ["lzma"]}),
        ("compression", {"level": 1}),
        ("compression", {"methods": ["mt"], "mt_level": 10}),
        ("auto_converge", {"initial": 100}),
        ("auto_converge", True),
        ("postcopy", True),
        ("parallel_connections", 256),
        ("max_downtime_ms", 0),
        ("dname", "a/b"),
        ("dname", "two\nlines"),
        ("migrate_uri", "tcp://host name"),
        ("tls", "yes"),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_and_its_field_named(api: Api, field: str, value: object) -> None:
    body = {"domain": "web1", "destination": "hostb", field: value}
    problem = api.refused(Code.INVALID_REQUEST, "POST", "/v1/migrations", body)
    assert fields_of(problem)[0].split(".")[0].split("[")[0] == field
