"""What later releases bring is refused by name, and accepted where it asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contrib.lab import LabGuest
from pmigd.core.problem import Code
from pmigd.wire.request import LATER_FIELDS
from tests.api.client import Api, fields_of

pytestmark = pytest.mark.hypervisor

SOMETHING: dict[str, Any] = {
    "offline": True,
    "suspend": True,
    "unsafe": True,
    "abort_on_error": True,
    "change_protection": True,
    "copy_storage": "all",
    "copy_storage_synchronous_writes": True,
    "migrate_disks": ["vda"],
    "migrate_disks_detect_zeroes": ["vda"],
    "disks_port": 49300,
    "disks_uri": "tcp://evil",
    "migrate_uri": "tcp://evil",
    "graphics_uri": "spice://evil",
    "listen_address": "0.0.0.0",
    "tls": True,
    "tls_destination": "other",
    "dname": "renamed",
    "xml": "<domain/>",
    "persistent_xml": "<domain/>",
    "postcopy_bandwidth_mib_s": 100,
    "available_switchover_bandwidth_mib_s": 100,
    "parallel_connections": 4,
    "compression": {"methods": ["zstd"]},
    "auto_converge": {"initial": 20},
    "postcopy": "allowed",
    "rdma_pin_all": True,
    "zerocopy": True,
    "policy": "gentle",
    "max_downtime_ms": 300,
    "priority": 50,
}


def test_every_field_of_the_contract_is_known_here() -> None:
    assert SOMETHING.keys() == LATER_FIELDS.keys()


@pytest.mark.parametrize(
    ("field", "value"), [*SOMETHING.items(), ("flow", "direct"), ("on_timeout", "postcopy")]
)
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


@pytest.mark.parametrize("field", SOMETHING)
def test_a_value_that_is_nothing_only_by_resemblance_is_refused(api: Api, field: str) -> None:
    resembling: tuple[Any, ...] = (0, False, "", [])
    for value in resembling:
        accepted = [n for n in LATER_FIELDS[field] if type(n) is type(value) and n == value]
        if not accepted:
            body = {"domain": "web1", "destination": "hostb", field: value}
            api.refused(Code.NOT_SUPPORTED, "POST", "/v1/migrations", body)


def test_a_client_that_sends_every_field_is_served_as_long_as_it_asks_for_nothing(
    api: Api, mover: Callable[[str], LabGuest]
) -> None:
    nothing = {name: (values or (None,))[0] for name, values in LATER_FIELDS.items()}
    migration = api.submit(mover("everything").name, "hostb", **nothing)
    assert api.ended(migration["id"])["state"] == "succeeded"


def test_null_asks_for_nothing_in_every_later_field(
    api: Api, slow: dict[str, Any], heavies: list[LabGuest]
) -> None:
    migration = api.submit(heavies[1].name, "hostb", **dict.fromkeys(LATER_FIELDS))
    assert migration["state"] == "queued"
