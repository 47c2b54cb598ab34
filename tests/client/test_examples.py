"""The three examples of docs/client.md, against the stub; tests/lab runs them on real hosts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from contrib.lab.deadlines import until
from tests.cli.conftest import ROOT, environment
from tests.cli.stub import DEADLINE_S, PROBLEM, RESULT, Stub, event, migration, problem


def example(name: str, stub: Stub, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"contrib.examples.{name}", *arguments],
        cwd=ROOT,
        env=environment(PMIGD_SOCKET=str(stub.socket)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ({"state": "succeeded", "result": RESULT}, (0, "web1: at hostb in 23.4 s\n", "")),
        (
            {"state": "failed", "problem": PROBLEM},
            (1, "", "web1: failed: hostb does not answer\n"),
        ),
    ],
)
def test_migrate_and_wait(stub: Stub, last: dict[str, Any], told: tuple[int, str, str]) -> None:
    process = example("migrate_and_wait", stub, "web1", "hostb")
    stub.sent("POST", "/v1/migrations")
    stub.say(event("state", migration(1, **last)))
    assert end(process) == told


def test_migrate_and_wait_says_what_is_wrong_with_a_request(stub: Stub) -> None:
    errors = [{"field": "destination", "message": "is no peer"}]
    stub.answers["POST", "/v1/migrations"] = (422, problem(422, "unknown_peer", errors=errors))
    code, out, err = end(example("migrate_and_wait", stub, "web1", "nowhere"))
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        "Unknown peer: something is wrong [unknown_peer]",
        "  destination: is no peer",
        "  Do something about it.",
    ]


def test_migrate_and_wait_without_a_daemon(stub: Stub) -> None:
    stub.stop()
    code, _, err = end(example("migrate_and_wait", stub, "web1", "hostb"))
    assert code == 6
    assert "no such socket; is the daemon running?" in err


def test_watch_everything_goes_on_after_a_restart(stub: Stub) -> None:
    stub.add(migration(1))
    process = example("watch_everything", stub)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().endswith(" web1 precopy\n")
    stub.stop()
    assert process.stderr.readline() == "connected\n"
    assert "no such socket" in process.stderr.readline()
    stub.migrations[migration(1)["id"]] = migration(1, state="succeeded")
    stub.start()
    assert process.stdout.readline().endswith(" web1 succeeded\n")
    process.kill()
    process.communicate()


def test_move_all_counts_what_did_not_arrive(stub: Stub) -> None:
    process = example("move_all", stub, "hostb", "web1", "web2", "web3")
    until(lambda: len(stub.migrations) == 3, "three submissions", timeout=DEADLINE_S)
    ids = {m["domain"]["name"]: i for i, m in list(stub.migrations.items())}
    for name, state in (("web1", "succeeded"), ("web2", "failed"), ("web3", "succeeded")):
        stub.migrations[ids[name]] |= {"state": state}
    # Whoever follows already is told by the next connection.
    stub.stop()
    stub.start()
    code, out, err = end(process)
    assert (code, err) == (1, "")
    assert sorted(out.splitlines()) == ["web1: succeeded", "web2: failed", "web3: succeeded"]
