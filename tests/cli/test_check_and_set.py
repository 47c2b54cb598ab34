"""``check`` shows what stands in the way; ``set`` changes a running one and ``get`` shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.stub import SETTINGS, Stub, finding, migration, problem

Run = Callable[..., tuple[int, str, str]]
ONE = migration(1)["id"]
PATH = f"/v1/migrations/{ONE}"

BLOCKS = finding(
    "block", "zerocopy_needs_parallel", detail="Zero-copy needs\nseveral.", field="zerocopy"
)
WARNS = finding("warn", "mt_slow", remedy="", field="compression.methods")
INFORMS = finding("info", "tls_off", field="brand_new")


def test_check_shows_each_finding_the_gravest_first(stub: Stub, run: Run) -> None:
    stub.findings = [INFORMS, WARNS, BLOCKS]
    code, out, err = run("check", "web1", "hostb", "--zerocopy")
    assert (code, err) == (3, "")
    assert out == (
        "block  zerocopy_needs_parallel: Zero-copy needs several.\n"
        "       option: --zerocopy\n"
        "       remedy: Do something about it.\n"
        "warn   mt_slow: About mt_slow.\n"
        "       option: --comp-methods\n"
        "info   tls_off: About tls_off.\n"
        "       remedy: Do something about it.\n"
        "web1->hostb: not ready, 1 to mend\n"
    )


@pytest.mark.parametrize("findings", [[], [WARNS], [INFORMS, WARNS]])
def test_check_is_exit_0_when_nothing_blocks(
    stub: Stub, run: Run, findings: list[dict[str, Any]]
) -> None:
    stub.findings = findings
    code, out, err = run("check", "web1", "hostb")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "web1->hostb: ready"
    assert run("check", "web1", "hostb", "--json")[0] == 0


@pytest.mark.parametrize(("found", "code"), [([BLOCKS, WARNS], 3), ([WARNS], 0)])
def test_check_json_is_the_answer_itself(
    stub: Stub, run: Run, found: list[dict[str, Any]], code: int
) -> None:
    stub.findings = found
    got, out, err = run("--json", "check", "web1", "hostb")
    assert (got, err) == (code, "")
    assert json.loads(out) == {"findings": found, "ready": code == 0, "prediction": None}


def test_check_shows_a_prediction_where_there_is_one(stub: Stub, run: Run) -> None:
    said = {"duration_s": 42, "downtime_ms": 90, "new": {"deep_bytes": 1024}}
    stub.answers["POST", "/v1/check"] = (
        200,
        {"findings": [], "ready": True, "prediction": said},
    )
    _, out, _ = run("check", "web1", "hostb")
    assert out == (
        "prediction:\n"
        "  duration_s:  42s\n"
        "  downtime_ms: 90 ms\n"
        "\n"
        "  new:\n"
        "    deep_bytes: 1.0 KiB\n"
        "web1->hostb: ready\n"
    )


def test_check_of_what_the_daemon_refuses_is_exit_3(stub: Stub, run: Run) -> None:
    stub.answers["POST", "/v1/check"] = (404, problem(404, "unknown_domain"))
    code, out, err = run("check", "web9", "hostb")
    assert (code, out) == (3, "")
    assert err.startswith("pmigctl: Unknown domain")


def test_check_of_an_odd_answer_is_no_traceback(stub: Stub, run: Run) -> None:
    odd = [{"level": ["x"]}, {"level": "grave", "code": "a\x1b[2J"}, "text", None]
    stub.answers["POST", "/v1/check"] = (200, {"findings": odd, "ready": True})
    code, out, err = run("check", "web1", "hostb")
    assert (code, err) == (0, "")
    assert "grave  a\\x1b[2J:" in out
    stub.answers["POST", "/v1/check"] = (200, {"findings": None, "ready": False})
    assert run("check", "web1", "hostb") == (3, "web1->hostb: not ready\n", "")


SETS = [
    ("--max-downtime 500", {"max_downtime_ms": 500}, "max downtime 500 ms"),
    ("--bandwidth 200", {"bandwidth_mib_s": 200}, "bandwidth 200 MiB/s"),
    ("--bandwidth 0", {"bandwidth_mib_s": 0}, "bandwidth unlimited"),
    (
        "--postcopy-bandwidth 100",
        {"postcopy_bandwidth_mib_s": 100},
        "post-copy bandwidth 100 MiB/s",
    ),
    (
        "--compression-cache 67108864",
        {"compression_cache_bytes": 67108864},
        "compression cache 64.0 MiB",
    ),
    ("--timeout 600", {"timeout_s": 600}, "timeout 10m00s"),
    ("--priority 80", {"priority": 80}, "priority 80"),
    (
        "--bandwidth 1GiB/s --timeout 5m --compression-cache 64M",
        {"bandwidth_mib_s": 1024, "timeout_s": 300, "compression_cache_bytes": 64 << 20},
        "bandwidth 1024 MiB/s, compression cache 64.0 MiB, timeout 5m00s",
    ),
    (
        "--timeout 0 --max-downtime 500",
        {"max_downtime_ms": 500, "timeout_s": 0},
        "max downtime 500 ms, timeout none",
    ),
]


@pytest.mark.parametrize(("text", "body", "told"), SETS, ids=[s[0] for s in SETS])
def test_set_sends_what_is_given_and_says_it(
    stub: Stub, run: Run, text: str, body: dict[str, Any], told: str
) -> None:
    stub.add(migration(1))
    code, out, err = run("set", "web1", *text.split())
    assert (code, err) == (0, "")
    assert out == f"web1: {told} requested (precopy); pmigctl show {ONE}\n"
    assert stub.sent("PATCH", PATH).body == body


def test_set_json_is_the_migration(stub: Stub, run: Run) -> None:
    stub.add(migration(1))
    code, out, _ = run("set", ONE, "--bandwidth", "1", "--json")
    assert (code, json.loads(out)) == (0, migration(1))


@pytest.mark.parametrize(
    "words",
    [[ONE], [ONE, "--bandwidth", "fast"], ["--bandwidth", "1"], [ONE, "--priority", "high"]],
)
def test_set_of_nothing_or_of_nonsense_is_exit_2(stub: Stub, run: Run, words: list[str]) -> None:
    code, out, err = run("set", *words)
    assert (code, out) == (2, "")
    assert err.startswith("usage: pmigctl ")
    assert stub.requests == []
    if words == [ONE]:
        assert "at least one of --max-downtime, --bandwidth," in err


@pytest.mark.parametrize("status", [409, 422, 503])
def test_a_change_that_is_refused_is_exit_3(stub: Stub, run: Run, status: int) -> None:
    said = problem(status, "wrong_state")
    stub.answers["PATCH", PATH] = (status, said)
    code, out, err = run("set", ONE, "--bandwidth", "1")
    assert (code, out) == (3, "")
    assert "Wrong state" in err
    code, out, err = run("set", ONE, "--bandwidth", "1", "--json")
    assert (code, json.loads(out), err) == (3, said, "")


def test_get_shows_the_settings_in_force(stub: Stub, run: Run) -> None:
    stub.add(migration(1))
    code, out, err = run("get", "web1")
    assert (code, err) == (0, "")
    assert out == (
        "max_downtime_ms:          300 ms\n"
        "bandwidth_mib_s:          unlimited\n"
        "postcopy_bandwidth_mib_s: 100 MiB/s\n"
        "compression_cache_bytes:  not set, or not supported by the hypervisor\n"
        "timeout_s:                none\n"
        "on_timeout:               abort\n"
    )
    code, out, _ = run("get", "web1", "--json")
    assert (code, json.loads(out)) == (0, SETTINGS)


def test_get_of_a_finished_one_is_exit_3(stub: Stub, run: Run) -> None:
    stub.answers["GET", f"{PATH}/settings"] = (409, problem(409, "wrong_state"))
    code, out, err = run("get", ONE)
    assert (code, out) == (3, "")
    assert "Wrong state" in err
