"""libvirt's errors as problems, as libvirt 9.0 was seen to raise them."""

from __future__ import annotations

import errno
from dataclasses import replace

import libvirt
import pytest

from pmigd.adapters.libvirt.failures import migrate_problem_of
from pmigd.core.model import CopyStorage, Plan, Transport
from pmigd.core.problem import Code, Problem
from tests.support.build import PLAN


def raised(code: int, domain: int, words: str, number: int = -1) -> libvirt.libvirtError:
    error = libvirt.libvirtError(words)
    error.err = (code, domain, words, 2, "%s", words, None, number, -1)
    return error


def problem(code: int, domain: int, words: str, number: int = -1, plan: Plan = PLAN) -> Problem:
    return migrate_problem_of(raised(code, domain, words, number), plan)


SYSTEM, INTERNAL = libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR
QEMU, RPC = libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_RPC
SECURITY, STORAGE = libvirt.VIR_FROM_SECURITY, libvirt.VIR_FROM_STORAGE
NO_FILE = "unable to stat: /x: No such file or directory"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            (libvirt.VIR_ERR_NO_SECRET, libvirt.VIR_FROM_SECRET, "Secret not found"),
            "secret_missing",
        ),
        (
            (INTERNAL, libvirt.VIR_FROM_NWFILTER, "referenced filter 'x' is missing"),
            "filter_missing",
        ),
        ((libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_FROM_NWFILTER, "no"), "filter_missing"),
        ((libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_FROM_NETWORK, "no"), "network_missing"),
        ((libvirt.VIR_ERR_NO_STORAGE_POOL, STORAGE, "no"), "pool_missing"),
        ((libvirt.VIR_ERR_NO_STORAGE_VOL, STORAGE, "no"), "volume_missing"),
        ((libvirt.VIR_ERR_NO_NODE_DEVICE, libvirt.VIR_FROM_NODEDEV, "no"), "device_missing"),
        ((libvirt.VIR_ERR_DEVICE_MISSING, QEMU, "no"), "device_missing"),
        (
            (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_FROM_NETWORK, "network is not active"),
            "network_missing",
        ),
        ((libvirt.VIR_ERR_OPERATION_INVALID, STORAGE, "pool is not active"), "pool_missing"),
        (
            (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_FROM_DOMAIN, "pool is not active"),
            "refused_by_libvirt",
        ),
        ((libvirt.VIR_ERR_OPERATION_INVALID, QEMU, "blocked"), "refused_by_libvirt"),
        ((libvirt.VIR_ERR_HOOK_SCRIPT_FAILED, QEMU, "no"), "refused_by_destination"),
        ((libvirt.VIR_ERR_XML_ERROR, QEMU, "no"), "refused_by_libvirt"),
        ((SYSTEM, SECURITY, NO_FILE, errno.ENOENT), "file_missing"),
        ((SYSTEM, STORAGE, "Cannot access backing file", errno.ENOENT), "file_missing"),
        ((SYSTEM, QEMU, "Unable to bind", errno.EADDRINUSE), "port_in_use"),
        ((SYSTEM, RPC, "unable to connect: refused", errno.ECONNREFUSED), "ports_shut"),
        ((SYSTEM, RPC, "unable to connect: timed out", errno.ETIMEDOUT), "ports_shut"),
        ((SYSTEM, RPC, "unable to connect: no route", errno.EHOSTUNREACH), "ports_shut"),
    ],
)
def test_what_is_missing_is_named_and_not_tried_again(error, code: str) -> None:
    found = problem(*error)
    assert found.code == code
    assert found.detail.startswith(error[2])
    assert not found.retryable


OF_NO_GUEST = ("XEN", "DOMAIN", "CONNECT", "MEMORY", "SUPPORT", "CLIENT", "SERVER", "HOSTNAME")
"""What a guest's XML does not name."""


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in vars(libvirt)
        if name.startswith(("VIR_ERR_NO_", "VIR_ERR_INVALID_"))
        and not name.split("_", 3)[3].startswith((*OF_NO_GUEST, "CONN", "STREAM", "ARG"))
    ),
)
def test_every_code_that_names_something_is_a_problem_that_no_retry_helps(name: str) -> None:
    found = problem(getattr(libvirt, name), QEMU, "no such thing")
    assert found.code is not Code.MIGRATION_FAILED
    assert not found.retryable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ((SYSTEM, RPC, "Cannot recv data", errno.ECONNRESET), "connection_broke"),
        ((INTERNAL, RPC, "client socket is closed"), "connection_broke"),
        ((INTERNAL, QEMU, "process exited while connecting to monitor"), "migration_failed"),
        ((SYSTEM, QEMU, "Unable to write to socket", errno.EPIPE), "migration_failed"),
    ],
)
def test_what_may_go_well_next_time_is_as_before(error, code: str) -> None:
    found = problem(*error)
    assert (found.code, found.detail) == (code, error[2])
    assert found.retryable


def test_a_shut_port_is_told_with_all_that_must_be_open_and_from_where() -> None:
    error = (SYSTEM, RPC, "unable to connect to server at 'hostb:49152'", errno.ECONNREFUSED)
    found = problem(*error)
    assert found.detail.endswith(
        "It needs TCP from this host to hostb: 49152-49215 (memory), 16514 (libvirt)."
    )


def test_where_qemu_connects_itself_the_ports_are_named_with_its_words() -> None:
    words = "operation failed: job 'migration out' failed: Failed to connect to 'hostb:49152'"
    found = problem(libvirt.VIR_ERR_OPERATION_FAILED, QEMU, words)
    assert found.code is Code.MIGRATION_FAILED
    assert found.detail.startswith(words)
    assert "49152-49215 (memory)" in found.detail


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"migrate_uri": "tcp://10.0.0.2:49300"}, "49300 (memory), 16514 (libvirt)"),
        ({"migrate_uri": "unix:///m"}, "hostb: 16514 (libvirt)"),
        ({"transport": Transport.TUNNELLED}, "hostb: 16514 (libvirt)"),
        ({"copy_storage": CopyStorage.ALL}, "49152-49215 (memory and disks), 16514"),
        ({"copy_storage": CopyStorage.ALL, "disks_port": 49301}, "(memory), 49301 (disks), 16514"),
        ({"copy_storage": CopyStorage.ALL, "disks_uri": "tcp://b:5"}, "(memory), 5 (disks)"),
    ],
)
def test_the_ports_are_those_of_the_request(fields, said: str) -> None:
    plan = replace(PLAN, request=replace(PLAN.request, **fields))
    found = problem(SYSTEM, RPC, "unable to connect", errno.ECONNREFUSED, plan)
    assert said in found.detail
