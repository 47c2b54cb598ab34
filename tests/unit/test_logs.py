"""What is written to the log, in which form, and what never is."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from pmigd.adapters.system import logs
from pmigd.adapters.system.journald import Journald
from pmigd.core.canonical import migration_line
from pmigd.core.messages import HOST, MIGRATION
from pmigd.core.model import (
    Direction,
    Domain,
    Migration,
    MigrationId,
    Now,
    Request,
    Result,
    State,
)
from pmigd.core.problem import Code, Problem

Configure = Callable[..., None]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def counted() -> list[str]:
    return []


@pytest.fixture
def unsent() -> list[None]:
    """One for each line that the stream did not take."""
    return []


@pytest.fixture
def configure(out: io.StringIO, counted: list[str], unsent: list[None]) -> Iterator[Configure]:
    """Configure logging for one test and leave the process as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)

    def configure(
        level: str = "info",
        *,
        is_tty: bool = False,
        journald: Journald | None = None,
        stream: TextIO = out,
    ) -> None:
        logs.configure(
            level,
            stream=stream,
            is_tty=is_tty,
            count=counted.append,
            unsent=lambda: unsent.append(None),
            journald=journald,
        )

    yield configure
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.setLevel(level)
    root.handlers[:] = handlers


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_line_is_one_object_that_begins_with_time_level_and_event(
    configure: Configure, out: io.StringIO
) -> None:
    configure()
    structlog.get_logger().info("ready", domain="vm\n1", at=datetime(2026, 3, 1, tzinfo=UTC))
    (line,) = lines(out)
    assert list(line) == ["timestamp", "level", "event", "domain", "at"]
    assert (line["level"], line["event"], line["domain"]) == ("info", "ready", "vm\n1")
    assert line["at"] == "2026-03-01T00:00:00+00:00"
    assert datetime.fromisoformat(str(line["timestamp"])).utcoffset() == timedelta(0)


def test_what_libraries_log_comes_out_the_same_way(configure: Configure, out: io.StringIO) -> None:
    configure()
    logging.getLogger("asyncio").error("Task %s was lost", "t1")
    (line,) = lines(out)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["level"], line["event"]) == ("error", "Task t1 was lost")
    assert line["logger"] == "asyncio"


def test_lines_below_the_level_are_neither_written_nor_counted(
    configure: Configure, out: io.StringIO, counted: list[str]
) -> None:
    configure("warning")
    for log in (structlog.get_logger(), logging.getLogger("aiohttp")):
        log.debug("a")
        log.info("b")
        log.warning("c")
        log.error("d")
    assert [line["event"] for line in lines(out)] == ["c", "d", "c", "d"]
    assert counted == ["warning", "error", "warning", "error"]


def test_the_level_changes_at_run_time_for_loggers_that_exist_already(
    configure: Configure, out: io.StringIO
) -> None:
    configure("info")
    ours = structlog.get_logger().bind(migration="m1")
    theirs = logging.getLogger("aiohttp")
    ours.debug("1")
    logs.set_level("debug")
    ours.debug("2")
    theirs.debug("3")
    logs.set_level("error")
    ours.info("4")
    theirs.info("5")
    assert [line["event"] for line in lines(out)] == ["2", "3"]


def test_a_level_that_does_not_exist_is_refused_and_changes_nothing(
    configure: Configure, out: io.StringIO
) -> None:
    configure("info")
    with pytest.raises(ValueError, match="loud"):
        logs.set_level("loud")
    structlog.get_logger().info("still")
    assert len(lines(out)) == 1


def test_every_level_is_counted_under_one_of_five_names(
    configure: Configure, counted: list[str]
) -> None:
    configure("debug")
    log = structlog.get_logger()
    for method in ("debug", "info", "warn", "warning", "error", "exception", "critical", "fatal"):
        getattr(log, method)("x")
    logging.getLogger("x").log(25, "between")
    assert counted == [
        *("debug", "info", "warning", "warning"),
        *("error", "error", "critical", "critical", "info"),
    ]


@pytest.mark.parametrize("is_tty", [False, True])
def test_a_traceback_never_shows_local_variables(
    configure: Configure, out: io.StringIO, is_tty: bool
) -> None:
    configure(is_tty=is_tty)

    def fail(password: str) -> None:
        raise KeyError("no such peer")

    for log in (structlog.get_logger(), logging.getLogger("aiohttp")):
        try:
            fail("hunter" + "2")
        except KeyError:
            log.exception("failed")
    assert out.getvalue().count("no such peer") >= 2
    assert "hunter2" not in out.getvalue()


def test_a_traceback_is_data_and_stays_on_its_line(configure: Configure, out: io.StringIO) -> None:
    configure()
    try:
        raise OSError("disk full")
    except OSError:
        structlog.get_logger().exception("failed")
    (line,) = lines(out)
    (raised,) = line["exception"]  # type: ignore[misc]
    assert (raised["exc_type"], raised["exc_value"]) == ("OSError", "disk full")
    assert raised["frames"]


def test_people_get_text_without_foreign_control_characters(
    configure: Configure, out: io.StringIO
) -> None:
    configure(is_tty=True)
    structlog.get_logger().info("migration", domain="vm\x1b[2J1")
    assert "migration" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_stream_that_is_gone_fails_nobody(configure: Configure, out: io.StringIO) -> None:
    configure()
    out.close()
    structlog.get_logger().error("to nobody")
    logging.getLogger("aiohttp").error("to nobody")


@pytest.mark.timeout(10)
def test_a_pipe_that_nobody_reads_holds_up_nobody(configure: Configure, unsent: list[None]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as stream:
        configure(stream=stream)
        log = structlog.get_logger()
        for number in range(100):
            log.info("said", number=number, detail="x" * 5000)
        assert 0 < len(unsent) < 100
        # Somebody reads again: of what was cut off nothing is left but its own line.
        os.set_blocking(reading, False)
        got = reader.read()
        log.info("after")
        got += reader.read()
    *whole, cut, after = got.splitlines()
    said = [json.loads(line) for line in whole]
    assert [line["number"] for line in said] == list(range(len(said)))
    assert len(said) + len(unsent) == 100
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)
    assert json.loads(after)["event"] == "after"


def test_a_line_that_the_stream_takes_is_written_whole(
    configure: Configure, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as stream:
        configure(stream=stream)
        structlog.get_logger().info("long", detail="ü" * 100_000)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["detail"] == "ü" * 100_000


def test_configuring_again_replaces_the_first_one(configure: Configure, out: io.StringIO) -> None:
    log = structlog.get_logger()
    configure()
    log.info("first")
    configure()
    log.info("second")
    logging.getLogger("aiohttp").warning("third")
    assert [line["event"] for line in lines(out)] == ["first", "second", "third"]


# systemd's journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(5)
        yield journal


@pytest.fixture
def journald(tmp_path: Path) -> Journald:
    return Journald(lambda: None, tmp_path / "socket")


def test_the_journal_gets_a_sentence_with_everything_and_a_field_for_each_value(
    configure: Configure,
    out: io.StringIO,
    counted: list[str],
    journald: Journald,
    journal: socket.socket,
) -> None:
    configure(journald=journald)
    structlog.get_logger().error("libvirt lost", detail="end of file", tries=2, at=None, ok=True)
    assert journal.recv(1 << 16).decode().splitlines() == [
        "MESSAGE=libvirt is away detail='end of file' tries=2 ok=true",
        "PRIORITY=3",
        "SYSLOG_IDENTIFIER=pmigd",
        f"MESSAGE_ID={HOST['libvirt lost'].id}",
        "PMIGD_DETAIL=end of file",
        "PMIGD_TRIES=2",
        "PMIGD_OK=true",
    ]
    assert (out.getvalue(), counted) == ("", ["error"])


def test_the_journal_gets_what_libraries_log_too(
    configure: Configure, out: io.StringIO, journald: Journald, journal: socket.socket
) -> None:
    configure(journald=journald)
    logging.getLogger("asyncio").warning("slow")
    assert journal.recv(1 << 16).decode().splitlines() == [
        "MESSAGE=slow logger=asyncio",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=pmigd",
        "PMIGD_LOGGER=asyncio",
    ]
    assert out.getvalue() == ""


def test_each_state_of_a_migration_has_its_own_message_in_the_journal(
    configure: Configure, journald: Journald, journal: socket.socket
) -> None:
    configure(journald=journald)
    for state in State:
        structlog.get_logger().info(**migration_line(None, replace(QUEUED, state=state), at(0)))
        fields = journal.recv(1 << 16).decode().splitlines()
        assert f"MESSAGE_ID={MIGRATION[state].id}" in fields
        assert {"PMIGD_DOMAIN=vm1", "PMIGD_PEER=hostb", f"PMIGD_STATE={state}"} <= set(fields)


def test_a_traceback_in_the_journal_is_text_without_local_variables(
    configure: Configure, journald: Journald, journal: socket.socket
) -> None:
    configure(journald=journald)

    def fail(password: str) -> None:
        raise KeyError("no such peer")

    try:
        fail("hunter" + "2")
    except KeyError:
        structlog.get_logger().exception("failed")
    entry = journal.recv(1 << 16)
    assert entry.startswith(b"MESSAGE\n")
    assert b"failed\nTraceback" in entry
    assert b"KeyError: 'no such peer'" in entry
    assert b"hunter2" not in entry


def test_nothing_that_would_hide_the_line_gets_into_the_message(
    configure: Configure, journald: Journald, journal: socket.socket
) -> None:
    configure(journald=journald)
    structlog.get_logger().info("check", domain="vm\x1b[2J1")
    message, *_ = journal.recv(1 << 16).decode().splitlines()
    assert message == "MESSAGE=check domain='vm\\x1b[2J1'"


@pytest.mark.timeout(10)
def test_what_the_journal_does_not_take_goes_to_stderr_as_long_as_that_takes_it(
    configure: Configure, journald: Journald
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "w") as stderr:
        configure(journald=journald, stream=stderr)
        structlog.get_logger().error("libvirt lost", detail="gone")
        assert os.read(reading, 4096) == b"<3>libvirt is away detail=gone\n"
        # Nobody reads any more: who waited for the pipe would wait for ever.
        for _ in range(2000):
            structlog.get_logger().error("libvirt lost", detail="x" * 100)
        assert reader.read(100)


# The canonical line

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUEUED = Migration(
    id=MigrationId("0195a000-0000-7000-8000-000000000001"),
    request=Request("vm1", "hostb"),
    domain=Domain("vm1", "6b1f0d7e-0000-4000-8000-000000000001"),
    source="hosta",
    destination="hostb",
    created_at=BEGAN,
)
RUNNING = replace(QUEUED, state=State.PRECOPY, started_at=BEGAN, started_mono=100.0)


def at(seconds: float) -> Now:
    return Now(100 + seconds, BEGAN + timedelta(seconds=seconds))


def test_a_change_of_state_is_one_line_with_fixed_keys() -> None:
    assert migration_line(QUEUED, RUNNING, at(1.23456)) == {
        "event": "migration",
        "migration": "0195a000-0000-7000-8000-000000000001",
        "domain": "vm1",
        "uuid": "6b1f0d7e-0000-4000-8000-000000000001",
        "trace_id": None,
        "peer": "hostb",
        "direction": "outgoing",
        "state": "precopy",
        "from": "queued",
        "elapsed_s": 1.235,
        "reason": None,
        "external": False,
        "adopted": False,
    }


def test_before_its_start_nothing_has_elapsed_and_there_may_be_no_earlier_state() -> None:
    line = migration_line(None, QUEUED, at(5))
    assert (line["from"], line["elapsed_s"]) == (None, None)


def test_the_peer_of_an_incoming_migration_is_its_source_if_known() -> None:
    incoming = replace(RUNNING, direction=Direction.INCOMING, source="hostc", destination="hosta")
    assert migration_line(None, incoming, at(0))["peer"] == "hostc"
    assert migration_line(None, replace(incoming, source=""), at(0))["peer"] is None


def test_a_failure_says_why_in_code_and_in_words() -> None:
    problem = Problem(Code.CONNECTION_BROKE, "end of file")
    failed = replace(RUNNING, state=State.FAILED, problem=problem, result=Result(3.0))
    line = migration_line(RUNNING, failed, at(3))
    assert (line["reason"], line["detail"]) == ("connection_broke", "end of file")
    assert (line["duration_s"], line["downtime_ms"]) == (3.0, None)


def test_the_last_line_has_the_final_figures() -> None:
    result = Result(12.34567, 90, 80, 1 << 30, 5)
    line = migration_line(RUNNING, replace(RUNNING, state=State.SUCCEEDED, result=result), at(13))
    assert {
        "duration_s": 12.346,
        "downtime_ms": 90,
        "downtime_net_ms": 80,
        "transferred_bytes": 1 << 30,
        "iterations": 5,
        "mode": "precopy",
    }.items() <= line.items()


def test_the_line_is_plain_data_that_the_log_writes_as_it_is(
    configure: Configure, out: io.StringIO
) -> None:
    configure()
    expected = migration_line(QUEUED, RUNNING, at(1))
    structlog.get_logger().info(**expected)
    (line,) = lines(out)
    assert expected.items() <= line.items()


def test_the_line_never_holds_what_was_asked_for() -> None:
    secret = "<domain><secret>hunter2</secret></domain>"
    request = Request("vm1", "hostb", xml=secret, persistent_xml=secret, disks_uri="tcp://hunter2")
    for state in State:
        migration = replace(QUEUED, request=request, state=state, result=Result(1.0))
        assert "hunter2" not in str(migration_line(None, migration, at(1)))
