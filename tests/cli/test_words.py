"""pmigd's advice in the words of pmigctl: its options, not the request's fields."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pmigd.cli import options
from pmigd.cli.words import in_options
from pmigd.core.findings import FINDINGS
from tests.cli.stub import Stub, finding, problem

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("Add 'tls'.", "Add --tls."),
        ("Add 'copy_storage': 'all'.", "Add --copy-storage-all."),
        ("Copy with 'copy_storage'.", "Copy with --copy-storage-all or --copy-storage-inc."),
        ("Use 'on_timeout': 'abort'.", "Use --on-timeout abort."),
        ("Leave 'persistent': false out.", "Leave --no-persistent out."),
        ("Give 'autostart': true, or not.", "Give --autostart, or not."),
        ("Leave 'autostart': 'leave' out.", "Leave --leave-autostart out."),
        ("Add 'parallel_connections'.", "Add --parallel-connections."),
        ("Name zstd in 'compression.methods'.", "Name zstd in --comp-methods."),
        ("Give 'migrate_uri': 'rdma://host', or not.", "Give --migrateuri rdma://host, or not."),
        ("'virsh net-start n' there; 'web' is it.", "'virsh net-start n' there; 'web' is it."),
        ("Use 'transport': 'native'.", "Use 'transport': 'native'."),
    ],
)
def test_fields_are_said_as_options(said: str, understood: str) -> None:
    assert in_options(said) == understood


@pytest.mark.parametrize("kind", FINDINGS.values(), ids=lambda kind: kind.code)
def test_no_remedy_leaves_a_field_unsaid(kind) -> None:
    fields = {option.field for option in options.arguments(options.CHECK)}
    assert not fields & set(re.findall(r"'([a-z_.]+)'", in_options(kind.remedy)))


def test_a_check_and_a_refusal_say_options(stub: Stub, run: Run) -> None:
    said = {"detail": "'disks_port' is taken.", "remedy": "Leave 'disks_port' out."}
    stub.findings = [finding("block", "port_in_use") | said]
    _, out, _ = run("check", "web1", "hostb")
    assert "port_in_use: --disks-port is taken." in out
    assert "remedy: Leave --disks-port out." in out
    errors = [{"field": "disks_port", "message": "Leave 'disks_port' out."}]
    refused = problem(422, "conflict", errors=errors)
    stub.answers["POST", "/v1/migrations"] = (422, refused)
    _, _, err = run("migrate", "web1", "hostb")
    assert "  disks_port: Leave --disks-port out." in err
