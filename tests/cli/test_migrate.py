"""``pmigctl migrate`` submits, follows to the end and says by exit code how it ended."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pmigd.cli import feed
from pmigd.cli.main import main
from pmigd.client import calls
from tests.cli.conftest import Running
from tests.cli.stub import CUT, PROBLEM, RESULT, Stub, event, migration, problem, progress, waits

Run = Callable[..., tuple[int, str, str]]
Start = Callable[..., Running]
ONE = migration(1)["id"]
EVENTS = f"/v1/migrations/{ONE}/events"


def story(state: str, **changes: Any) -> list[dict[str, Any]]:
    """A migration from preparing to ``state``."""
    return [
        event("state", migration(1, state="preparing")),
        event("state", migration(1, state="precopy")),
        event("progress", migration(1, state="precopy", progress=progress())),
        event("state", migration(1, state=state, **changes)),
    ]


ENDS = [
    ("succeeded", 0, {"result": RESULT}),
    ("failed", 1, {"result": {"duration_s": 3}, "problem": PROBLEM}),
    ("cancelled", 4, {"result": {"duration_s": 3}}),
    ("unresolved", 5, {"problem": {**PROBLEM, "code": "destination_silent"}}),
]


@pytest.mark.parametrize(("state", "code", "changes"), ENDS)
def test_each_end_has_its_exit_code_in_a_pipe(
    stub: Stub, run: Run, state: str, code: int, changes: dict[str, Any]
) -> None:
    """One line a state, and a sample in between."""
    stub.say(*story(state, **changes))
    got, out, err = run("migrate", "web1", "hostb")
    assert got == code
    lines = out.splitlines()
    assert lines[:5] == [
        f"web1: migration {ONE} hosta->hostb",
        "web1: queued",
        "web1: preparing",
        "web1: precopy",
        "web1: 44%, 2.2 GiB left, 118 MiB/s, dirty 12.0 MiB/s, iteration 3, eta 19s",
    ]
    assert lines[5].startswith(f"web1: {state}")
    assert len(lines) == 6
    if "problem" in changes:
        assert "pmigctl: The destination was not reached: hostb does not answer\n" in err
        assert "  remedy: Check the network.\n" in err
    else:
        assert err == ""


@pytest.mark.parametrize(("state", "code", "changes"), ENDS)
def test_json_is_the_daemons_events_and_nothing_else(
    stub: Stub, run: Run, state: str, code: int, changes: dict[str, Any]
) -> None:
    """One object a line on standard output; standard error is silent."""
    told = story(state, **changes)
    stub.say(*told)
    got, out, err = run("migrate", "web1", "hostb", "--json")
    assert (got, err) == (code, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["migration"]["state"] == "queued"
    assert lines[1:] == told


def test_the_final_line_says_duration_downtime_amount_and_iterations(stub: Stub, run: Run) -> None:
    stub.say(*story("succeeded", result=RESULT))
    _, out, _ = run("migrate", "web1", "hostb")
    assert out.splitlines()[-1] == (
        "web1: succeeded hosta->hostb in 23s, downtime 85 ms, 4.2 GiB transferred, 5 iterations"
    )


def test_what_is_left_to_do_after_a_success_is_said_at_its_end(stub: Stub, run: Run) -> None:
    detail = "Autostart could not be switched on at hostb: access denied. Do: virsh autostart web1"
    refused = {
        "id": 2,
        "at": "2026-01-02T03:04:05Z",
        "action": "autostart",
        "by": "pmigd",
        "reason": "on at hostb, as it was at hosta",
        "outcome": "refused",
        "problem": {**PROBLEM, "detail": detail},
    }
    stub.say(*story("succeeded", result=RESULT, actions=[refused]))
    code, _, err = run("migrate", "web1", "hostb")
    assert code == 0
    assert detail in err


def test_options_become_request_fields_and_others_are_left_to_the_daemon(
    stub: Stub, run: Run
) -> None:
    arguments = (
        "--live --p2p --tunneled --persistent --no-undefinesource --bandwidth 200"
        " --timeout 600 --timeout-suspend --verbose --detach"
    )
    code, out, _ = run("migrate", "web1", "hostb", *arguments.split(), "--idempotency-key", "k1")
    assert (code, out) == (0, f"{ONE}\n")
    sent = stub.sent("POST", "/v1/migrations")
    assert sent.body == {
        "domain": "web1",
        "destination": "hostb",
        "live": True,
        "flow": "p2p",
        "transport": "tunnelled",
        "persistent": True,
        "undefinesource": False,
        "bandwidth_mib_s": 200,
        "timeout_s": 600,
        "on_timeout": "suspend",
    }
    assert sent.headers["idempotency-key"] == "k1"
    run("migrate", "web1", "hostb", "--detach")
    assert stub.sent("POST", "/v1/migrations", 2).body == {
        "domain": "web1",
        "destination": "hostb",
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("whatever it is: the daemon ignores it", True),
        ("", False),
        ("two\r\nX-Lines: 1", False),
        ("ünprintable in a header", False),
        ("0" * 10_000, False),
    ],
)
def test_the_trace_of_the_environment_is_passed_on(
    stub: Stub, run: Run, given: str, sent: bool
) -> None:
    code, out, err = run("migrate", "web1", "hostb", "--detach", TRACEPARENT=given)
    assert (code, out, err) == (0, f"{ONE}\n", "")
    headers = stub.sent("POST", "/v1/migrations").headers
    assert headers.get("traceparent") == (given if sent else None)


def test_detach_with_json_prints_the_migration(stub: Stub, run: Run) -> None:
    code, out, _ = run("--json", "migrate", "web1", "hostb", "--detach")
    assert code == 0
    assert json.loads(out) == stub.migrations[ONE]


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate", "web1"],
        ["migrate", "web1", "hostb", "--bandwidth", "fast"],
        ["migrate", "web1", "hostb", "--on-timeout", "panic"],
        ["migrate", "web1", "hostb", "--timeout-suspend", "--on-timeout", "abort"],
        ["migrate", "web1", "hostb", "--band", "3"],
        ["migrate", "web1", "hostb", "--timeout-suspend", "--timeout-postcopy"],
        ["migrate", "web1", "hostb", "--copy-storage-all", "--copy-storage-inc"],
        ["migrate", "web1", "hostb", "--p2p", "--direct"],
        ["migrate", "web1", "hostb", "--policy", "fast"],
        ["migrate", "web1", "hostb", "--priority", "high"],
        ["nonsense"],
        [],
    ],
)
def test_wrong_usage_is_exit_2(stub: Stub, run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")
    assert stub.requests == []


REFUSED = problem(
    422,
    "invalid_request",
    detail="2 fields are wrong",
    errors=[
        {"field": "bandwidth_mib_s", "message": "must be >= 1"},
        {"field": "timeout_s", "message": "must be >= 1"},
    ],
)


def test_a_refusal_is_shown_with_every_field_and_the_remedy(stub: Stub, run: Run) -> None:
    stub.answers["POST", "/v1/migrations"] = (422, REFUSED)
    code, out, err = run("migrate", "web1", "hostb", "--bandwidth", "0")
    assert (code, out) == (3, "")
    assert err == (
        "pmigctl: Invalid request: 2 fields are wrong\n"
        "  bandwidth_mib_s: must be >= 1\n"
        "  timeout_s: must be >= 1\n"
        "  remedy: Do something about it.\n"
    )


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422, 429, 500, 503])
def test_every_refusal_is_exit_3_and_in_json_the_problem_itself(
    stub: Stub, run: Run, status: int
) -> None:
    said = problem(status, "some_code")
    stub.answers["POST", "/v1/migrations"] = (status, said)
    code, out, err = run("migrate", "web1", "hostb", "--json")
    assert (code, err) == (3, "")
    assert json.loads(out) == said


def test_a_refusal_that_is_no_problem_object_is_shown_all_the_same(stub: Stub, run: Run) -> None:
    stub.answers["POST", "/v1/migrations"] = (502, b"oops\n")
    code, _, err = run("migrate", "web1", "hostb")
    assert (code, err) == (3, "pmigctl: Bad Gateway: oops\n")


def test_control_characters_from_elsewhere_never_reach_the_terminal(stub: Stub, run: Run) -> None:
    bad = {**PROBLEM, "detail": "first\nsecond \x1b[2Jthird"}
    stub.say(*story("failed", problem=bad, domain={"name": "we\x1b[2Jb", "uuid": "u"}))
    code, out, err = run("migrate", "web1", "hostb")
    assert code == 1
    assert "\x1b" not in out + err
    assert "first second \\x1b[2Jthird" in err


def test_a_broken_stream_is_taken_up_again_without_repeating_itself(stub: Stub, run: Run) -> None:
    told = story("succeeded", result=RESULT)
    stub.say(*told[:2], CUT, *told[2:3], CUT, told[3])
    code, out, err = run("migrate", "web1", "hostb")
    assert (code, err) == (0, "")
    assert [line.split()[1].rstrip(",") for line in out.splitlines()] == [
        "migration",
        "queued",
        "preparing",
        "precopy",
        "44%",
        "succeeded",
    ]
    assert len([r for r in stub.requests if r.path == EVENTS]) == 3


def test_a_restart_of_the_daemon_is_said_once_and_outlived(stub: Stub, start: Start) -> None:
    told = story("succeeded", result=RESULT)
    client = start("migrate", "web1", "hostb")
    stub.say(*told[:2])
    client.until("precopy")
    stub.stop()
    assert client.process.stderr is not None
    assert "lost the daemon" in client.process.stderr.readline()
    stub.start()
    stub.say(*told[2:])
    code, out, err = client.end()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("web1: succeeded")


def test_a_restart_that_hides_the_end_is_no_loss(stub: Stub, start: Start) -> None:
    client = start("migrate", "web1", "hostb", "--json")
    stub.say(*story("precopy")[:2])
    client.until("precopy")
    stub.stop()
    stub.migrations[ONE] = migration(1, state="failed", problem=PROBLEM, adopted=True)
    stub.start()
    code, out, _ = client.end()
    assert code == 1
    assert json.loads(out.splitlines()[-1])["migration"]["adopted"] is True


def test_while_streams_are_refused_it_asks_instead(stub: Stub, run: Run) -> None:
    stub.answers["GET", EVENTS] = (503, problem(503, "shutting_down"))
    stub.answers["GET", f"/v1/migrations/{ONE}"] = (
        200,
        migration(1, state="succeeded", result=RESULT),
    )
    code, out, _ = run("migrate", "web1", "hostb", "--json")
    assert code == 0
    only = json.loads(out)
    assert (only["event"], only["migration"]["state"]) == ("state", "succeeded")
    assert stub.sent("GET", f"/v1/migrations/{ONE}").query["wait"]


def test_a_daemon_that_stays_away_is_exit_6_with_the_way_to_look_later(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feed, "PATIENCE_S", 0.3)
    stub.answers["GET", EVENTS] = (503, problem(503, "shutting_down"))
    stub.answers["GET", f"/v1/migrations/{ONE}"] = (503, problem(503, "shutting_down"))
    code = main(["--socket", str(stub.socket), "migrate", "web1", "hostb"])
    assert code == 6
    assert "it only answers" in capsys.readouterr().err
    real = feed.Feed.__enter__

    def and_then_the_daemon_dies(self: feed.Feed) -> feed.Feed:
        stub.stop()
        return real(self)

    monkeypatch.setattr(feed.Feed, "__enter__", and_then_the_daemon_dies)
    code = main(["--socket", str(stub.socket), "migrate", "web2", "hostb"])
    err = capsys.readouterr().err
    assert code == 6
    assert f"pmigctl show {migration(2)['id']}" in err
    assert "goes on without pmigctl" in err


def test_a_lost_answer_is_asked_for_again_with_the_same_key(stub: Stub, run: Run) -> None:
    stub.break_next = 2
    code, out, err = run("migrate", "web1", "hostb", "--detach")
    assert (code, out) == (0, f"{ONE}\n")
    assert err.count("\n") == 1
    keys = {r.headers["idempotency-key"] for r in stub.requests}
    assert len(stub.requests) == 3
    assert len(keys) == 1
    assert len(stub.migrations) == 1


def test_an_answer_that_stays_lost_names_the_key(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calls, "RETRY_S", 0.2)
    stub.break_next = 100
    code = main(["--socket", str(stub.socket), "migrate", "web1", "hostb"])
    assert code == 6
    err = capsys.readouterr().err
    assert f"--idempotency-key {stub.requests[0].headers['idempotency-key']}" in err


def test_ctrl_c_in_a_pipe_leaves_it_running_and_says_so(stub: Stub, start: Start) -> None:
    client = start("migrate", "web1", "hostb")
    client.until("queued")
    client.process.send_signal(signal.SIGINT)
    code, _, err = client.end()
    assert code == 130
    assert err == (
        f"pmigctl: left it running; pmigctl watch {ONE} follows it, pmigctl abort {ONE} ends it\n"
    )
    assert not [r for r in stub.requests if r.path.endswith("/abort")]


def test_waiting_actions_and_policy_reasons_are_told(stub: Stub, run: Run) -> None:
    acted = {"at": "2026-11-21T10:00:07Z", "action": "abort", "reason": "deadline", "by": "policy"}
    stub.say(
        event("state", migration(1, state="queued", waiting_for=waits())),
        event("action", migration(1, state="precopy", actions=[acted])),
        event("state", migration(1, state="cancelled", actions=[acted])),
    )
    code, out, _ = run("migrate", "web1", "hostb", "--verbose")
    assert code == 4
    assert out.splitlines()[1:] == [
        "web1: queued",
        "web1: waits for an outgoing slot of hosta (1 of 1 in use), 3rd in line",
        "web1: 10:00:07 abort by policy: deadline",
        "web1: precopy",
        "web1: cancelled",
    ]


def test_verbose_shows_every_sample_in_a_pipe(stub: Stub, run: Run) -> None:
    samples = [
        event("progress", migration(1, state="precopy", progress=progress(p))) for p in (10, 20, 30)
    ]
    stub.say(event("state", migration(1)), *samples, event("state", migration(1, state="failed")))
    _, quiet, _ = run("migrate", "web1", "hostb")
    assert quiet.count("left") == 1
    stub.migrations.clear()
    stub.say(event("state", migration(1)), *samples, event("state", migration(1, state="failed")))
    _, full, _ = run("migrate", "web1", "hostb", "--verbose")
    assert full.count("left") == 3


def test_ctrl_c_in_post_copy_offers_no_abort(stub: Stub, start: Start) -> None:
    client = start("migrate", "web1", "hostb")
    stub.say(event("state", migration(1, state="postcopy")))
    client.until("web1: postcopy")
    client.process.send_signal(signal.SIGINT)
    code, _, err = client.end()
    assert code == 130
    assert err == f"pmigctl: left it running; pmigctl watch {ONE} follows it\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_broken_post_copy_is_told_once_with_the_way_out(
    stub: Stub, run: Run, as_json: bool
) -> None:
    broken = migration(1, state="postcopy_paused")
    stub.say(
        event("state", migration(1, state="postcopy")),
        event("state", broken),
        event("progress", {**broken, "progress": progress()}),
        event("state", migration(1, state="postcopy")),
        event("state", migration(1, state="succeeded", result=RESULT)),
    )
    code, out, err = run("migrate", "web1", "hostb", *(["--json"] if as_json else []))
    assert code == 0
    assert err.count(f"pmigctl recover {ONE}") == (0 if as_json else 1)
    assert as_json or "web1: postcopy_paused\n" in out


def test_a_reader_that_goes_away_ends_it_quietly(stub: Stub, start: Start) -> None:
    client = start("migrate", "web1", "hostb")
    client.until("queued")
    assert client.process.stdout is not None
    client.process.stdout.close()
    stub.say(*story("succeeded"))
    assert client.process.wait(20) == 141
    assert client.process.stderr is not None
    assert client.process.stderr.read() == ""


def test_a_migration_the_daemon_forgot_is_never_a_refusal(stub: Stub, run: Run) -> None:
    """Exit 3 says that nothing began, and a script may then try elsewhere."""
    stub.answers["GET", EVENTS] = (404, problem(404, "unknown_migration"))
    code, _, err = run("migrate", "web1", "hostb")
    assert code == 5
    assert f"migration {ONE} was accepted; its outcome is not known" in err
