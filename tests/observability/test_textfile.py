"""The metrics in a file: read by a real node_exporter, never in part."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from structlog.testing import capture_logs

from contrib.lab.deadlines import until
from pmigd.adapters.system.textfile import replace_text
from pmigd.config.schema import Config
from pmigd.daemon.textfile import Textfile
from tests.web.conftest import Daemon, free_port

NODE_EXPORTER: Final = "prometheus-node-exporter"


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.web.write_text("")
    daemon.start()
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()


@pytest.fixture
def node_exporter(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """What a node_exporter says that reads a folder, and nothing else of the host."""
    port = free_port("127.0.0.1")
    log = (tmp_path / "node_exporter.log").open("w+")
    started: list[subprocess.Popen[bytes]] = []

    def answer() -> str:
        try:
            return _get(port)
        except OSError:
            return ""

    def start(folder: Path) -> str:
        options = ["disable-defaults", "textfile", f"textfile.directory={folder}"]
        command = [NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{port}"]
        command += [f"--collector.{option}" for option in options]
        started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return until(answer, "an answer", timeout=20, evidence=Path(log.name).read_text)

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=10)
    log.close()


def test_a_node_exporter_serves_the_file_and_it_stays_when_pmigd_stops(
    daemon: Daemon, tmp_path: Path, node_exporter: Callable[[Path], str]
) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    file = folder / "pmigd.prom"
    daemon.reload(f'{daemon.config.read_text()}textfile = "{file}"\ntextfile_interval_s = 3600\n')
    until(file.exists, "the file", timeout=10, evidence=daemon.log)
    assert [path.name for path in folder.iterdir()] == ["pmigd.prom"]
    assert file.stat().st_mode & 0o777 == 0o644
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=file.read_bytes(), capture_output=True
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == (b"", b"", 0)

    said = node_exporter(folder)
    assert "\nnode_textfile_scrape_error 0\n" in said
    assert f'\nnode_textfile_mtime_seconds{{file="{file}"}} ' in said
    assert "\npmigd_libvirt_up 0\n" in said
    assert "\nprocess_cpu_seconds_total " in said  # node_exporter's own
    ours = {
        line.split("{")[0].split()[0] for line in file.read_text().splitlines() if line[0] != "#"
    }
    theirs = {line.split("{")[0].split()[0] for line in said.splitlines() if line[0] != "#"}
    assert ours
    assert ours <= theirs

    written = file.stat().st_ino, file.stat().st_mtime_ns
    daemon.stop()
    assert (file.stat().st_ino, file.stat().st_mtime_ns) != written


def test_a_reload_says_where_and_what_is_shown(daemon: Daemon, tmp_path: Path) -> None:
    before = daemon.config.read_text()
    first, second = tmp_path / "first.prom", tmp_path / "second.prom"
    daemon.reload(f'{before}textfile = "{first}"\ntextfile_interval_s = 1\n')
    until(first.exists, "the file", timeout=10, evidence=daemon.log)
    assert "pmigd_recent_migration_info" in first.read_text()
    daemon.reload(f'{before}textfile = "{second}"\nper_domain_metrics = false\n')
    until(second.exists, "the other file", timeout=10, evidence=daemon.log)
    for text in (second.read_text(), _get(daemon.ports[0])):
        assert "pmigd_migrations_active" in text
        assert "pmigd_recent_migration_info" not in text
        assert "pmigd_migration_phase" not in text


def _configured(path: Path) -> Config:
    metrics = msgspec.structs.replace(Config().metrics, textfile=str(path))
    return msgspec.structs.replace(Config(), metrics=metrics)


async def test_what_cannot_be_written_is_said_once_and_written_as_soon_as_it_can(
    tmp_path: Path,
) -> None:
    texts = iter([b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"])
    path = tmp_path / "node" / "pmigd.prom"
    textfile = Textfile(lambda: next(texts))
    textfile.configure(_configured(path))
    with capture_logs() as said:
        await textfile.write()
        await textfile.write()
        path.mkdir(parents=True)
        await textfile.write()
        path.rmdir()
        await textfile.write()
        assert path.read_bytes() == b"4\n"
        await textfile.stop()
    assert path.read_bytes() == b"5\n"
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("error", "metrics file cannot be written"),
        ("error", "metrics file cannot be written"),
        ("info", "metrics file is written again"),
    ]
    assert f"{path}: No such file or directory; its folder must be there" in said[0]["detail"]
    assert f"{path}: Is a directory; " in said[1]["detail"]


async def test_a_file_system_that_hangs_holds_up_the_file_and_nothing_else(
    tmp_path: Path,
) -> None:
    path, gate = tmp_path / "pmigd.prom", threading.Event()
    textfile = Textfile(lambda: b"1\n")
    textfile.configure(_configured(path))
    with capture_logs() as said:
        hangs = asyncio.create_task(textfile.pool.call("hangs", 60, gate.wait))
        await asyncio.sleep(0)
        await textfile.write(0.05)
        gate.set()
        await hangs
        await textfile.write()
    textfile.pool.stop()
    assert [line["log_level"] for line in said] == ["error", "info"]
    assert "no answer to 'textfile' within 0.05 s" in said[0]["detail"]
    assert path.read_bytes() == b"1\n"


def test_a_reader_sees_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    before = os.umask(0o077)
    try:
        replace_text(path, b"old\n")
        with path.open("rb") as reader:
            replace_text(path, b"new and longer\n")
            assert reader.read() == b"old\n"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new and longer\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_somebody_put_beside_it_is_not_written_to(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "x.prom"
    victim.write_text("mine")
    (tmp_path / ".x.prom.new").symlink_to(victim)
    path.symlink_to(victim)
    replace_text(path, b"ours\n")
    assert victim.read_text() == "mine"
    assert not path.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["victim", "x.prom"]
