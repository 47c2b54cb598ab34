"""The support bundle: no part keeps another from being told, and nothing in it is a secret."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from pmigd.adapters.system import logs
from pmigd.daemon.diagnosis import certificates, files_of, gathered, system, unit

NOW = datetime(2026, 11, 21, tzinfo=UTC)


async def test_a_part_that_hangs_or_fails_is_named_and_the_others_are_told() -> None:
    async def hangs() -> object:
        return await asyncio.Event().wait()

    def fails() -> object:
        raise OSError(5, "Input/output error")

    found = await gathered(
        {"system": hangs, "journal": fails, "unit": lambda: {"Id": "pmigd.service"}}, NOW, 0.05
    )
    assert found.at == NOW
    assert found.unit == {"Id": "pmigd.service"}
    assert (found.system, found.journal) == (None, None)
    assert found.failed == {
        "system": "no answer within 0.05 s",
        "journal": "OSError: [Errno 5] Input/output error",
    }


async def test_why_a_part_failed_has_no_secret_either() -> None:
    def fails() -> object:
        raise ValueError("qemu+ssh://root:hunter2@hostb/system")

    found = await gathered({"peers": fails}, NOW)
    assert "hunter2" not in str(found)
    assert "hostb" in found.failed["peers"]


def test_the_disk_is_told_and_a_key_only_named(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"12345")
    found = files_of(tmp_path)
    assert found["files"] == {"journal.sqlite": 5}
    assert found["free_bytes"] > 0
    assert found["filesystem"]["type"]

    class Peer:
        ca = cert = client_cert = str(tmp_path / "none.pem")
        key = client_key = str(tmp_path / "key.pem")

    (tmp_path / "key.pem").write_text("hunter2")
    (tmp_path / "key.pem").chmod(0o600)
    told = {entry["key"]: entry for entry in certificates(Peer)}
    assert told["peer.ca"]["problem"] == "No such file or directory"
    assert told["peer.key"]["mode"] == "0600"
    assert "hunter2" not in str(told)


def test_the_host_is_described() -> None:
    found = system()
    assert found["memory_bytes"]["MemTotal"] > 0
    assert found["open_files"] > 0
    assert unit() == {} or "Id" in unit()


def test_the_last_warnings_and_errors_are_kept_bounded_and_without_secrets() -> None:
    logs.recent.forget()
    try:
        for level in ("info", "debug"):
            logs.recent(None, level, {"level": level, "event": "not kept"})
        for number in range(logs.RecentLines.KEPT + 5):
            logs.recent(None, "warning", {"level": "warning", "event": "w", "number": number})
        kept = logs.recent.lines()
        assert len(kept) == logs.RecentLines.KEPT
        assert kept[-1]["number"] == str(logs.RecentLines.KEPT + 4)
        xml = "<graphics passwd='hunter2'/>"
        logs.recent(None, "error", {"level": "error", "event": "e", "detail": f"bad {xml}"})
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            logs.recent(None, "error", {"level": "error", "event": "x", "exc_info": True})
        told = str(logs.recent.lines()[-2:])
        assert "hunter2" not in told
        assert "ValueError" in told
        assert "test_diagnosis.py" in told
        logs.recent(None, "error", {"level": "error", "event": "y" * 10_000})
        assert len(logs.recent.lines()[-1]["event"]) <= logs.RecentLines.MOST
    finally:
        logs.recent.forget()
