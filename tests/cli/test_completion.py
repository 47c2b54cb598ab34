"""The shells offer what the parser accepts and what the daemon knows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pmigd.cli import commands, options, parser, shells
from tests.cli.conftest import ROOT, environment
from tests.cli.stub import Stub, migration
from tests.support.installed import needs

Run = Callable[..., tuple[int, str, str]]
FILES = {"bash": "pmigctl.bash", "zsh": "_pmigctl"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_files_are_what_the_generator_makes(shell: str, stub: Stub, run: Run) -> None:
    """If this fails: pmigctl completion SHELL > contrib/completions/FILE."""
    kept = (ROOT / "contrib" / "completions" / FILES[shell]).read_text()
    assert kept == shells.script(shell, parser.build())
    stub.stop()
    assert run("completion", shell) == (0, kept, "")


def test_candidates_come_from_the_daemon(stub: Stub, run: Run) -> None:
    stub.add(
        migration(1),
        migration(2, domain={"name": "db", "uuid": "u"}),
        migration(3, domain={"name": "db", "uuid": "u"}),
        migration(4, state="failed"),
    )
    stub.domains = [{"name": n} for n in ("web1", "we\x1b[2Jb", "")]
    assert run("_complete", "domains") == (0, "web1\n", "")
    assert run("_complete", "peers") == (0, "hostb\nhostc\n", "")
    ids = [migration(n)["id"] for n in (3, 2, 1)]
    assert run("_complete", "ids") == (0, "\n".join([*ids, "web1"]) + "\n", "")
    code, out, _ = run("--socket", str(stub.socket), "_complete", "peers", PMIGD_SOCKET="/no")
    assert (code, out) == (0, "hostb\nhostc\n")


def test_without_a_daemon_there_are_no_candidates_and_no_noise(stub: Stub, run: Run) -> None:
    stub.stop()
    for kind in ("domains", "peers", "ids"):
        assert run("_complete", kind) == (0, "", "")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """pmigctl as a command of that name."""
    import sys

    path = tmp_path / "pmigctl"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pmigd.cli "$@"\n')
    path.chmod(0o755)
    return path


Tab = Callable[..., list[str]]


@pytest.fixture
def tab(stub: Stub, program: Path) -> Tab:
    """What bash offers when Tab is pressed after these words."""

    def press(*words: str) -> list[str]:
        quoted = " ".join("'" + w + "'" for w in ("pmigctl", *words))
        script = (
            f"source {ROOT}/contrib/completions/pmigctl.bash\n"
            f"COMP_WORDS=({quoted})\nCOMP_CWORD={len(words)}\n"
            '_pmigctl\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "--norc", "-u", "-c", script],
            env=environment(PMIGD_SOCKET=str(stub.socket), PATH=f"{program.parent}:/usr/bin:/bin"),
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.stderr == ""
        return [line for line in done.stdout.splitlines() if line]

    return press


def test_bash_offers_commands_options_and_choices(tab: Tab) -> None:
    assert {"migrate", "list", "watch"} <= set(tab(""))
    assert "_complete" not in tab("")
    assert tab("re") == ["recover", "resolve"]
    assert tab("--j") == ["--json"]
    assert tab("--json", "ab") == ["abort"]
    for command in ("migrate", "check"):
        assert tab(command, "--time") == ["--timeout", "--timeout-suspend", "--timeout-postcopy"]
    assert tab("migrate", "--comp-z") == ["--comp-zlib-level", "--comp-zstd-level"]
    assert tab("migrate", "--comp-methods", "z") == ["zlib", "zstd"]
    assert tab("set", "web1", "--max") == ["--max-downtime"]
    assert tab("migrate", "--on-timeout", "s") == ["suspend"]
    assert tab("migrate", "--on-timeout", "=", "s") == ["suspend"]
    assert tab("migrate", "--on-timeout", "=") == ["abort", "suspend", "postcopy", "continue"]
    assert tab("list", "--state", "post") == ["postcopy", "postcopy_paused"]
    assert tab("resolve", "web1", "--as", "") == ["succeeded", "failed"]
    assert tab("completion", "") == ["bash", "zsh"]
    assert tab("migrate", "--bandwidth", "") == []


def test_bash_offers_guests_peers_and_migrations(stub: Stub, tab: Tab) -> None:
    stub.add(migration(1))
    stub.domains = [{"name": n} for n in ("web1", "web 2", "db")]
    assert tab("migrate", "w") == ["web1", r"web\ 2"]
    assert tab("migrate", "web1", "host") == ["hostb", "hostc"]
    assert tab("migrate", "--bandwidth", "3", "web1", "hostc") == ["hostc"]
    assert tab("migrate", "web1", "hostb", "") == []
    assert tab("check", "web1", "host") == ["hostb", "hostc"]
    for command in ("show", "abort", "postcopy", "suspend", "recover", "set", "get"):
        assert tab(command, "") == [migration(1)["id"], "web1"]
    assert tab("list", "--domain", "d") == ["db"]
    assert tab("--socket", "/nonexistent", "migrate", "") == []
    stub.stop()
    assert tab("migrate", "") == []


def test_a_guests_name_is_never_evaluated(stub: Stub, tab: Tab, tmp_path: Path) -> None:
    stub.domains = [{"name": f"x$(touch {tmp_path}/pwned)"}]
    (offered,) = tab("migrate", "x")
    assert offered.startswith(r"x\$\(touch")
    assert not (tmp_path / "pwned").exists()


def test_bash_offers_files_for_the_socket_and_for_xml(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "a socket").touch()
    for words in (["--socket"], ["migrate", "--xml"], ["check", "web1", "--persistent-xml"]):
        assert tab(*words, f"{tmp_path}/a") == [f"{tmp_path}/a socket"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_every_option_and_command_is_offered(shell: str) -> None:
    script = shells.script(shell, parser.build())
    for name in commands.HELP:
        assert re.search(rf"['=: ]{name}['=: ]", script), name
    for _, rows in (*options.MIGRATE, *options.SET):
        for flag in (flag for option in rows for flag in option.flags):
            assert flag in script


@needs("zsh")
def test_zsh_accepts_its_script() -> None:
    done = subprocess.run(
        ["zsh", "-n", str(ROOT / "contrib" / "completions" / "_pmigctl")],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
