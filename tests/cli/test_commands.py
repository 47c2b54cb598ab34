"""Every command but migrate, check and set: in a pipe and with --json."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pmigd
from pmigd.cli.main import main
from pmigd.cli.migration import ShownMigration, summary
from tests.cli.conftest import PMIGCTL, Running, environment
from tests.cli.stub import CUT, PROBLEM, RESULT, Stub, event, migration, problem, progress, waits

Run = Callable[..., tuple[int, str, str]]
Start = Callable[..., Running]
ONE, TWO, THREE = (migration(n)["id"] for n in (1, 2, 3))

HEADER = "ID DOMAIN STATE FROM->TO PROGRESS RATE DIRTY PAUSE ETA AGE"
ROW = "web1 precopy hosta->hostb 44% 118 MiB/s 12.0 MiB/s 90/300 ms 19s"


def test_list_shows_open_ones_newest_first_with_full_ids_in_a_pipe(stub: Stub, run: Run) -> None:
    stub.add(
        migration(1, progress=progress(45)),
        migration(2, state="queued", waiting_for=waits(position=1)),
        migration(3, state="succeeded", result=RESULT),
        migration(4, external=True),
    )
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == HEADER.split()
    assert [line[0] for line in lines[1:]] == [migration(4)["id"], TWO, ONE]
    assert lines[1][2:4] == ["precopy", "(external)"]
    assert "outgoing slot of hosta (1 of 1 in use), next in line" in out
    assert lines[3][1:-1] == ROW.split()


def test_list_asks_the_daemon_for_the_open_states_and_follows_every_page(
    stub: Stub, run: Run
) -> None:
    stub.page = 2
    stub.add(*(migration(n) for n in range(1, 8)), migration(9, state="failed"))
    code, out, _ = run("list", "--json")
    assert code == 0
    answer = json.loads(out)
    assert [m["id"] for m in answer["items"]] == [migration(n)["id"] for n in range(7, 0, -1)]
    assert answer["next_cursor"] is None
    query = stub.requests[0].query
    assert set(query["state"]) == {
        "queued",
        "preparing",
        "precopy",
        "postcopy",
        "postcopy_paused",
        "finishing",
        "unresolved",
    }
    assert stub.requests[-1].query["cursor"] == ["6"]
    assert stub.requests[-1].query["state"] == query["state"]


def test_list_all_state_and_domain_are_the_daemons_filters(stub: Stub, run: Run) -> None:
    run("list", "--all")
    run("list", "--state", "failed", "--state", "queued", "--domain", "web1")
    assert [r.query for r in stub.requests] == [
        {},
        {"state": ["failed", "queued"], "domain": ["web1"]},
    ]


def test_an_empty_list_in_a_pipe_is_the_header_alone(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert out.splitlines()[1:] == []


def test_show_groups_request_progress_problem_and_actions(stub: Stub, run: Run) -> None:
    acted = {
        "at": "2026-11-21T10:00:07Z",
        "action": "set_bandwidth",
        "mib_s": 50,
        "reason": "asked",
    }
    stub.add(
        migration(
            1,
            state="failed",
            progress=progress(45),
            result=RESULT,
            problem=PROBLEM,
            actions=[acted],
            brand_new_field="shown",
        )
    )
    code, out, err = run("show", ONE)
    assert (code, err) == (0, "")
    for line in [
        f"id:              {ONE}",
        "domain:          web1 (5f6b2a70-0000-4000-8000-000000000001)",
        "brand_new_field: shown",
        "progress:",
        "  memory_total_bytes:      4.0 GiB",
        "  bytes_per_second:        118 MiB/s",
        "result:",
        "  downtime_ms:       85 ms",
        "problem:",
        "  remedy:    Check the network.",
        "actions:",
        "  10:00:07 set_bandwidth mib_s=50 MiB/s: asked",
        "request:",
        "  destination: hostb",
    ]:
        assert line in out.splitlines(), out
    assert "migrate_uri" not in out


def test_what_was_asked_for_and_is_not_done_is_told(stub: Stub, run: Run) -> None:
    asked = {"id": 2, "at": "2026-11-21T10:00:07Z", "action": "abort", "by": "root"}
    silent = asked | {"outcome": "pending", "waits": "libvirt does not answer"}
    no = {"detail": "no job is active"}
    refused = asked | {"id": 3, "action": "suspend", "outcome": "refused", "problem": no}
    stub.add(migration(1, progress=progress(45), actions=[silent, refused]))
    _, out, _ = run("show", ONE)
    assert "asked for and not done yet:" in out.splitlines()
    assert any(
        line.startswith("  abort asked for") and line.endswith("ago, libvirt does not answer")
        for line in out.splitlines()
    )
    assert "  10:00:07 suspend by root (refused: no job is active)" in out.splitlines()
    _, out, _ = run("list")
    assert "libvirt does not answer" in out


def test_show_json_is_the_object_itself(stub: Stub, run: Run) -> None:
    stub.add(migration(1))
    code, out, _ = run("show", ONE, "--json")
    assert (code, json.loads(out)) == (0, migration(1))


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["watch"],
        ["abort"],
        ["postcopy"],
        ["suspend"],
        ["recover"],
        ["get"],
        ["set", "--max-downtime", "500"],
        ["resolve", "--as", "failed"],
    ],
    ids=lambda c: c[0],
)
class TestIds:
    """Every command that takes an ID takes the same short forms."""

    def sent(self, stub: Stub) -> str:
        """The migration that was meant, by the last address asked for."""
        return stub.requests[-1].path.split("/")[3]

    def test_a_unique_prefix(self, stub: Stub, run: Run, command: list[str]) -> None:
        other = migration(2, id="01aaaaaa-7a00-7000-8000-000000000002", state="failed")
        stub.add(migration(1, state="failed"), other)
        run(*command, "01AAaa")
        assert self.sent(stub) == other["id"]

    def test_a_guest_with_one_open_migration(
        self, stub: Stub, run: Run, command: list[str]
    ) -> None:
        stub.add(migration(1, state="failed"), migration(2), migration(3, state="succeeded"))
        # only where the stream ends by itself
        stub.say(event("state", migration(2, state="succeeded")))
        run(*command, "web1")
        assert self.sent(stub) == TWO

    @pytest.mark.parametrize("as_json", [False, True])
    def test_an_ambiguous_one_names_the_candidates(
        self, stub: Stub, run: Run, command: list[str], as_json: bool
    ) -> None:
        stub.add(migration(1), migration(2, state="queued"), migration(3, state="failed"))
        for text in ("0199c1d2", "web1"):
            code, out, err = run(*command, text, *(["--json"] if as_json else []))
            assert code == 3
            said = json.loads(out)["detail"] if as_json else err
            assert ONE in said
            assert TWO in said
            assert THREE not in said
            assert (err == "") is as_json
        assert {r.method for r in stub.requests} == {"GET"}

    def test_a_guest_without_an_open_one_is_not_guessed(
        self, stub: Stub, run: Run, command: list[str]
    ) -> None:
        stub.add(migration(1, state="failed"))
        code, _, err = run(*command, "web1")
        assert code == 3
        assert ONE in err
        assert {r.method for r in stub.requests} == {"GET"}

    def test_an_unknown_one(self, stub: Stub, run: Run, command: list[str]) -> None:
        assert run(*command, "web9")[0] == 3
        assert run(*command, "ffffffff-0000-7000-8000-000000000000")[0] == 3


def test_watch_of_one_ends_with_its_exit_code(stub: Stub, run: Run) -> None:
    stub.add(migration(1, progress=progress()))
    stub.say(CUT, event("state", migration(1, state="failed", problem=PROBLEM)))
    code, out, err = run("watch", ONE)
    assert code == 1
    assert out.splitlines() == ["web1: precopy", "web1: failed"]
    assert "remedy: Check the network." in err


def test_watch_of_a_finished_one_tells_its_end(stub: Stub, run: Run) -> None:
    stub.add(migration(1, state="succeeded", result=RESULT))
    code, out, _ = run("watch", ONE)
    assert code == 0
    assert out.startswith("web1: succeeded hosta->hostb in 23s")


def test_watch_of_one_with_json_is_ndjson(stub: Stub, run: Run) -> None:
    stub.add(migration(1))
    last = event("state", migration(1, state="cancelled"))
    stub.say(last)
    code, out, _ = run("watch", ONE, "--json")
    assert code == 4
    assert [json.loads(line) for line in out.splitlines()] == [event("state", migration(1)), last]


def test_watch_of_all_is_a_line_a_state_change(stub: Stub, start: Start) -> None:
    stub.add(migration(1))
    client = start("watch")
    assert client.line().endswith(f" {ONE} web1 hosta->hostb precopy")
    stub.sent("GET", "/v1/migrations", 2)  # the one after connecting, which must not know more
    stub.say(
        event("progress", migration(1, progress=progress())),
        event("state", migration(2, state="queued", external=True)),
        event("state", migration(1, state="failed", problem=PROBLEM)),
    )
    assert client.line() == f"2026-11-21T10:00:06Z {TWO} web1 hosta->hostb queued (external)"
    assert client.line() == (
        f"2026-11-21T10:00:06Z {ONE} web1 hosta->hostb failed destination_unreachable"
    )
    client.process.send_signal(signal.SIGINT)
    assert client.end() == (130, "", "")


def test_a_pipe_has_no_colours_whatever_the_environment_wants(stub: Stub, run: Run) -> None:
    """Build servers set these for all; what parses plain lines must not break there."""
    stub.add(migration(1, state="unresolved", problem=PROBLEM))
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        code, out, _ = run("list", **{name: "1"})
        assert code == 0
        assert "\x1b" not in out


def test_watch_of_all_says_each_time_that_the_daemon_is_lost(stub: Stub, start: Start) -> None:
    stub.add(migration(1))
    client = start("watch")
    client.until(ONE)
    for connection in (1, 2):
        stub.sent("GET", "/v1/events", connection)
        stub.sent("GET", "/v1/migrations", 1 + connection)
        stub.stop()
        assert client.process.stderr is not None
        assert client.process.stderr.readline().startswith("pmigctl: lost the daemon (")
        stub.start()
    client.process.send_signal(signal.SIGINT)
    assert client.end()[0] == 130


def test_watch_of_all_finds_out_what_a_restart_hid(stub: Stub, start: Start) -> None:
    stub.add(migration(1), migration(2))
    client = start("watch")
    client.until(TWO)
    # Both the list at the start and the one after connecting must be over before the daemon goes.
    stub.sent("GET", "/v1/events")
    stub.sent("GET", "/v1/migrations", 2)
    stub.stop()
    stub.add(migration(1, state="succeeded"), migration(3, state="queued"))
    stub.start()
    told = [client.line(), client.line()]
    assert any(line.endswith(f" {ONE} web1 hosta->hostb succeeded") for line in told)
    assert any(line.endswith(f" {THREE} web1 hosta->hostb queued") for line in told)
    client.process.send_signal(signal.SIGINT)
    assert client.end()[0] == 130


def test_watch_of_all_with_json_is_ndjson(stub: Stub, start: Start) -> None:
    client = start("watch", "--json")
    told = [event("state", migration(1)), event("progress", migration(1, progress=progress()))]
    stub.say(*told)
    assert [json.loads(client.line()) for _ in told] == told
    client.process.send_signal(signal.SIGINT)
    assert client.end()[0] == 130


ACTIONS = {
    "abort": ("precopy", "abort requested"),
    "postcopy": ("precopy", "post-copy requested"),
    "suspend": ("precopy", "pause of the guest requested"),
    "recover": ("postcopy_paused", "recovery requested"),
}


def test_what_has_become_of_a_guest_since_it_arrived_is_said_at_the_end() -> None:
    since = "It has since ended there: shut off (destroyed)."
    ended = ShownMigration(migration(1, state="succeeded", result={"afterwards": since}))
    assert summary(ended).endswith(since)
    assert "since" not in summary(ShownMigration(migration(1, state="succeeded")))


def test_recover_says_what_was_made_of_it(stub: Stub, run: Run) -> None:
    asked = {"id": 3, "action": "recover", "by": "root", "reason": "", "outcome": "pending"}
    waiting = {**asked, "waits": "the call before it has not come back yet"}
    stub.add(migration(1, state="postcopy_paused", actions=[waiting]))
    assert "recovery requested, but the call before it has" in run("recover", ONE)[1]
    stub.migrations[ONE] = migration(1, state="postcopy", actions=[{**asked, "outcome": "done"}])
    assert run("recover", ONE)[1].startswith("web1: nothing to recover, it goes on (postcopy)")


@pytest.mark.parametrize("action", ACTIONS)
class TestActions:
    """One line of what was asked for; the daemon's answer with --json."""

    def test_in_a_pipe(self, stub: Stub, run: Run, action: str) -> None:
        state, asked = ACTIONS[action]
        stub.add(migration(1, state=state))
        code, out, err = run(action, "web1")
        assert (code, err) == (0, "")
        assert out == f"web1: {asked} ({state}); pmigctl show {ONE}\n"
        assert stub.sent("POST", f"/v1/migrations/{ONE}/{action}").body is None

    def test_as_json(self, stub: Stub, run: Run, action: str) -> None:
        stub.add(migration(1))
        code, out, err = run(action, "web1", "--json")
        assert (code, err, json.loads(out)) == (0, "", migration(1))

    def test_what_is_over_meanwhile_is_said(self, stub: Stub, run: Run, action: str) -> None:
        stub.add(migration(1, state="cancelled"))
        assert run(action, ONE) == (0, "web1: cancelled\n", "")

    @pytest.mark.parametrize("as_json", [False, True])
    def test_one_that_makes_no_sense_is_exit_3(
        self, stub: Stub, run: Run, action: str, as_json: bool
    ) -> None:
        stub.add(migration(1, state="succeeded"))
        said = problem(409, "wrong_state", detail="it has succeeded already")
        stub.answers["POST", f"/v1/migrations/{ONE}/{action}"] = (409, said)
        code, out, err = run(action, ONE, *(["--json"] if as_json else []))
        assert code == 3
        if as_json:
            assert (json.loads(out), err) == (said, "")
        else:
            assert out == ""
            assert "Wrong state: it has succeeded already" in err


def test_resolve_sends_the_verdict(stub: Stub, run: Run) -> None:
    stub.add(migration(1, state="unresolved"))
    code, out, _ = run("resolve", "web1", "--as", "succeeded")
    assert (code, out) == (0, "web1: succeeded\n")
    assert stub.sent("POST", f"/v1/migrations/{ONE}/resolve").body == {"as": "succeeded"}
    assert run("resolve", ONE)[0] == 2
    assert run("resolve", ONE, "--as", "maybe")[0] == 2
    code, out, _ = run("--json", "resolve", ONE, "--as", "failed")
    assert (code, json.loads(out)["state"]) == (0, "failed")


COMMANDS: list[list[str]] = [
    ["migrate", "web1", "hostb"],
    ["list"],
    ["show", ONE],
    ["watch"],
    ["abort", ONE],
    ["postcopy", ONE],
    ["suspend", ONE],
    ["recover", ONE],
    ["set", ONE, "--bandwidth", "1"],
    ["get", ONE],
    ["resolve", ONE, "--as", "failed"],
    ["check", "web1", "hostb"],
    ["limits"],
    ["peers"],
    ["status"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
class TestWithoutADaemon:
    """Exit 6, which socket it was, and what to do about it."""

    def test_in_words(self, stub: Stub, run: Run, command: list[str]) -> None:
        stub.stop()
        code, out, err = run(*command)
        assert (code, out) == (6, "")
        assert f"{stub.socket}: no such socket" in err
        assert "remedy: is the daemon running? systemctl status pmigd" in err

    def test_as_json(self, stub: Stub, run: Run, command: list[str]) -> None:
        stub.stop()
        code, out, err = run(*command, "--json")
        assert (code, err) == (6, "")
        assert json.loads(out)["code"] == "daemon_unreachable"

    def test_permission(self, stub: Stub, run: Run, command: list[str]) -> None:
        stub.answers.clear()
        one = f"/v1/migrations/{ONE}"
        actions = [f"{one}/{a}" for a in (*ACTIONS, "resolve", "settings")]
        reads = [f"/v1/{name}" for name in ("migrations", "limits", "peers", "status", "check")]
        paths = [*reads, one, *actions]
        for path in paths:
            for method in ("GET", "POST", "PATCH"):
                stub.answers[method, path] = (403, problem(403, "forbidden"))
        code, out, err = run(*command)
        assert (code, out) == (3, "")
        assert err.startswith("pmigctl: Forbidden: something is wrong\n")


def test_a_socket_without_a_listener_and_one_that_is_none(stub: Stub, run: Run) -> None:
    stub.stop()
    stub.socket.write_text("")
    code, _, err = run("list")
    assert code == 6
    assert "nobody listens" in err
    code, _, err = run("list", "--socket", "/" + "x" * 200)
    assert code == 6
    assert "too long" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_socket_one_may_not_open_names_the_group(stub: Stub) -> None:
    stub.socket.chmod(0o600)
    stub.socket.parent.chmod(0o755)
    program = (
        "import os, sys; from pmigd.cli.main import main; "
        "import pmigd.cli.parser, pmigd.cli.commands;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--socket", str(stub.socket), "list"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 6
    assert "permission denied" in done.stderr
    assert "group pmigd" in done.stderr


def test_something_else_at_the_socket(stub: Stub, run: Run) -> None:
    stub.answers["GET", "/v1/migrations"] = (200, b"<html>")
    code, _, err = run("list")
    assert code == 6
    assert "not pmigd" in err


def test_global_options_before_and_after_the_command(stub: Stub, run: Run) -> None:
    stub.add(migration(1))
    nowhere = {"PMIGD_SOCKET": "/nonexistent"}
    for arguments in (
        ["--socket", str(stub.socket), "--json", "show", ONE],
        ["show", ONE, "--json", "--socket", str(stub.socket)],
        ["--json", "show", "--socket", str(stub.socket), ONE],
    ):
        code, out, _ = run(*arguments, **nowhere)
        assert (code, json.loads(out)) == (0, migration(1))


def test_version_and_help_need_no_daemon(stub: Stub, run: Run) -> None:
    stub.stop()
    assert run("--version") == (0, f"pmigctl {pmigd.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert "exit codes:" in out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_the_help_of_every_command_needs_no_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("PMIGD_SOCKET", "/nonexistent")
    with pytest.raises(SystemExit) as ended:
        main([command[0], "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: pmigctl {command[0]}")


def test_output_that_cannot_be_written_is_no_traceback(stub: Stub) -> None:
    stub.add(migration(1))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PMIGCTL, "--socket", str(stub.socket), "list"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
        )
    assert done.returncode == 74
    assert done.stderr.startswith("pmigctl: cannot write the answer: No space left")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", ONE], ["list", "--json"]])
def test_it_starts_with_the_standard_library_alone(
    stub: Stub, run: Run, arguments: list[str]
) -> None:
    """In a pipe not even rich is loaded: scripts call pmigctl in loops."""
    stub.add(migration(1))
    code, _, err = run(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert code == 0
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in err.splitlines()}
    assert "pmigd" in loaded
    heavy = "rich aiohttp structlog libvirt msgspec lxml prometheus_client asyncio threading"
    assert loaded.isdisjoint(heavy.split())


@pytest.mark.long  # where nothing else runs
def test_it_starts_in_under_150_ms(stub: Stub, run: Run) -> None:
    """Its own processor time, the best of several: a busy machine must not decide."""
    stub.add(migration(1))
    spent: list[float] = []
    while len(spent) < 10 and (not spent or min(spent) >= 0.150):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("list")[0] == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert 0 < min(spent) < 0.150


def test_an_unforeseen_answer_is_not_a_traceback(stub: Stub, run: Run) -> None:
    odd: dict[str, Any] = {"id": ONE, "domain": None, "state": None, "progress": [], "actions": 3}
    stub.migrations[ONE] = odd
    stub.answers["GET", "/v1/migrations"] = (200, {"items": [odd, "text", None]})
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert ONE in out
    code, _, err = run("show", ONE)
    assert (code, err) == (0, "")
