"""Every option of ``migrate`` and ``check`` fills its field, and ``virsh migrate`` has no other."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pmigd.cli import options, parser
from tests.cli.conftest import environment
from tests.cli.stub import Stub
from tests.support.installed import lacks

Run = Callable[..., tuple[int, str, str]]
XML = "<domain type='kvm'>\n  <name>wéb1</name>\n</domain>\n"

FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("--live", {"live": True}),
    ("--no-live", {"live": False}),
    ("--offline", {"offline": True}),
    ("--p2p", {"flow": "p2p"}),
    ("--direct", {"flow": "direct"}),
    ("--tunnelled", {"transport": "tunnelled"}),
    ("--tunneled", {"transport": "tunnelled"}),
    ("--parallel", {"parallel_connections": 2}),
    ("--parallel-connections 4", {"parallel_connections": 4}),
    ("--zerocopy", {"zerocopy": True}),
    ("--rdma-pin-all", {"rdma_pin_all": True}),
    ("--persistent", {"persistent": True}),
    ("--no-persistent", {"persistent": False}),
    ("--undefinesource", {"undefinesource": True}),
    ("--no-undefinesource", {"undefinesource": False}),
    ("--autostart", {"autostart": True}),
    ("--no-autostart", {"autostart": False}),
    ("--leave-autostart", {"autostart": "leave"}),
    ("--suspend", {"suspend": True}),
    ("--dname web2", {"dname": "web2"}),
    ("--xml FILE", {"xml": XML}),
    ("--persistent-xml FILE", {"persistent_xml": XML}),
    ("--copy-storage-all", {"copy_storage": "all"}),
    ("--copy-storage-inc", {"copy_storage": "inc"}),
    ("--copy-storage-synchronous-writes", {"copy_storage_synchronous_writes": True}),
    ("--migrate-disks vda,vdb", {"migrate_disks": ["vda", "vdb"]}),
    ("--migrate-disks-detect-zeroes vda", {"migrate_disks_detect_zeroes": ["vda"]}),
    ("--migrate-disks-target-zero vda,vdb", {"migrate_disks_target_zero": ["vda", "vdb"]}),
    ("--disks-port 49500", {"disks_port": 49500}),
    ("--disks-uri tcp://10.0.0.2:49500", {"disks_uri": "tcp://10.0.0.2:49500"}),
    ("--max-downtime 500", {"max_downtime_ms": 500}),
    ("--auto-converge", {"auto_converge": {}}),
    ("--auto-converge-initial 20", {"auto_converge": {"initial": 20}}),
    ("--auto-converge-increment 10", {"auto_converge": {"increment": 10}}),
    ("--postcopy", {"postcopy": "allowed"}),
    ("--postcopy-after-precopy", {"postcopy": "after_precopy"}),
    ("--recover-attempts 3", {"recover_attempts": 3}),
    ("--priority 80", {"priority": 80}),
    ("--timeout 600", {"timeout_s": 600}),
    ("--timeout-suspend", {"on_timeout": "suspend"}),
    ("--timeout-postcopy", {"on_timeout": "postcopy"}),
    ("--on-timeout abort", {"on_timeout": "abort"}),
    ("--on-timeout suspend", {"on_timeout": "suspend"}),
    ("--on-timeout postcopy", {"on_timeout": "postcopy"}),
    ("--on-timeout continue", {"on_timeout": "continue"}),
    ("--bandwidth 200", {"bandwidth_mib_s": 200}),
    ("--postcopy-bandwidth 100", {"postcopy_bandwidth_mib_s": 100}),
    ("--available-switchover-bandwidth 900", {"available_switchover_bandwidth_mib_s": 900}),
    ("--compressed", {"compression": {}}),
    ("--comp-methods mt,xbzrle", {"compression": {"methods": ["mt", "xbzrle"]}}),
    ("--comp-mt-level 1", {"compression": {"mt_level": 1}}),
    ("--comp-mt-threads 4", {"compression": {"mt_threads": 4}}),
    ("--comp-mt-dthreads 2", {"compression": {"mt_dthreads": 2}}),
    ("--comp-xbzrle-cache 67108864", {"compression": {"xbzrle_cache_bytes": 67108864}}),
    ("--comp-zlib-level 3", {"compression": {"zlib_level": 3}}),
    ("--comp-zstd-level 5", {"compression": {"zstd_level": 5}}),
    ("--migrateuri tcp://10.0.0.2", {"migrate_uri": "tcp://10.0.0.2"}),
    ("--graphicsuri spice://h:1/?tlsPort=2", {"graphics_uri": "spice://h:1/?tlsPort=2"}),
    ("--listen-address ::", {"listen_address": "::"}),
    ("--tls", {"tls": True}),
    ("--no-tls", {"tls": False}),
    ("--tls-destination hostb", {"tls_destination": "hostb"}),
    ("--abort-on-error", {"abort_on_error": True}),
    ("--change-protection", {"change_protection": True}),
    ("--unsafe", {"unsafe": True}),
    ("--start-anyway", {"start_anyway": True}),
    # numbers with units, in the unit of the field; one alone is in virsh's
    ("--bandwidth 1GiB/s", {"bandwidth_mib_s": 1024}),
    ("--bandwidth 10M", {"bandwidth_mib_s": 10}),
    ("--bandwidth 0.5g", {"bandwidth_mib_s": 512}),
    ("--timeout 5m", {"timeout_s": 300}),
    ("--timeout 1.5h", {"timeout_s": 5400}),
    ("--timeout 500ms", {"timeout_s": 0.5}),
    ("--max-downtime 300ms", {"max_downtime_ms": 300}),
    ("--max-downtime 1.5s", {"max_downtime_ms": 1500}),
    ("--comp-xbzrle-cache 64MiB", {"compression": {"xbzrle_cache_bytes": 64 << 20}}),
    ("--comp-xbzrle-cache 1MB", {"compression": {"xbzrle_cache_bytes": 1_000_000}}),
    ("--auto-converge-initial 20%", {"auto_converge": {"initial": 20}}),
    # only the client's
    ("--detach", {}),
    ("--verbose", {}),
    ("--idempotency-key k1", {}),
    # several that fill the same field or object, in either order
    ("--parallel --parallel-connections 4", {"parallel_connections": 4}),
    ("--parallel-connections 4 --parallel", {"parallel_connections": 4}),
    ("--postcopy --postcopy-after-precopy", {"postcopy": "after_precopy"}),
    ("--postcopy-after-precopy --postcopy", {"postcopy": "after_precopy"}),
    ("--comp-mt-level 1 --compressed", {"compression": {"mt_level": 1}}),
    (
        "--compressed --comp-methods mt --comp-mt-threads 4",
        {"compression": {"methods": ["mt"], "mt_threads": 4}},
    ),
    (
        "--auto-converge-increment 5 --auto-converge --auto-converge-initial 30",
        {"auto_converge": {"initial": 30, "increment": 5}},
    ),
]


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[str, str], dict[str, Any]]:
    """The request that a command line makes; FILE in it is a definition's path."""
    file = tmp_path / "a definition.xml"
    file.write_text(XML, encoding="utf-8")

    def body(command: str, text: str) -> dict[str, Any]:
        words = [str(file) if word == "FILE" else word for word in text.split()]
        args = parser.build().parse_args([command, "web1", "hostb", *words])
        table = options.MIGRATE if command == "migrate" else options.CHECK
        return options.body(args, table)

    return body


@pytest.mark.parametrize("command", ["migrate", "check"])
@pytest.mark.parametrize(("text", "fields"), FIELDS, ids=[text for text, _ in FIELDS])
def test_an_option_fills_its_field(
    parse: Callable[[str, str], dict[str, Any]], command: str, text: str, fields: dict[str, Any]
) -> None:
    assert parse(command, text) == {"domain": "web1", "destination": "hostb", **fields}


def test_no_option_is_left_out_above() -> None:
    tried = {word for text, _ in FIELDS for word in text.split() if word.startswith("--")}
    assert tried == _flags("migrate") - {"--help", "--socket", "--json"}
    assert _flags("check") == _flags("migrate")


def test_they_are_sent_as_they_are_to_either_address(stub: Stub, run: Run, tmp_path: Path) -> None:
    """Conflicts are for the daemon to say: these make no sense together."""
    (tmp_path / "x.xml").write_text(XML, encoding="utf-8")
    words = (
        f"--tunnelled --zerocopy --comp-zstd-level 5 --xml {tmp_path / 'x.xml'} --detach"
        " --idempotency-key k1"
    ).split()
    wanted = {
        "domain": "web1",
        "destination": "hostb",
        "transport": "tunnelled",
        "zerocopy": True,
        "xml": XML,
        "compression": {"zstd_level": 5},
    }
    assert run("migrate", "web1", "hostb", *words)[0] == 0
    assert run("check", "web1", "hostb", *words)[0] == 0
    assert stub.sent("POST", "/v1/migrations").body == wanted
    checked = stub.sent("POST", "/v1/check")
    assert checked.body == wanted
    assert "idempotency-key" not in checked.headers


@pytest.mark.parametrize("command", ["migrate", "check"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parallel-connections", "many"], "'many' is not a whole number"),
        (["--parallel-connections", "2s"], "'2s' is not a whole number"),
        (["--bandwidth", "1.5"], "'1.5' is 1.5 MiB/s, not a whole number"),
        (["--bandwidth", "500K"], "'500K' is 0.488281 MiB/s, not a whole number"),
        (["--bandwidth", "10Gb"], "a whole number of MiB/s, nor one with its unit: KiB/s, MiB/s"),
        (["--bandwidth", "10m/s/s"], "'10m/s/s' is not a whole number of MiB/s"),
        (["--timeout", "5 minutes"], "a number of seconds, nor one with its unit: ms, s, m, h, d"),
        (["--max-downtime", "s"], "'s' is not a whole number of ms"),
        (["--max-downtime", "1.2.3"], "'1.2.3' is not a whole number of ms"),
        (["--migrate-disks", "vda,,vdb"], "empty name between its commas"),
        (["--comp-methods", ""], "empty name"),
        (["--on-timeout", "panic"], "invalid choice: 'panic'"),
    ],
)
def test_a_value_of_the_wrong_type_is_exit_2(
    stub: Stub, run: Run, command: str, words: list[str], said: str
) -> None:
    code, out, err = run(command, "web1", "hostb", *words)
    assert (code, out) == (2, "")
    assert said in err
    # not the sixty options: what is wrong must not be scrolled away
    assert len(err.splitlines()) == 2
    assert stub.requests == []


@pytest.mark.parametrize("option", ["--xml", "--persistent-xml"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("a directory", "Is a directory"),
        (b"<domain name='\xe9'/>", "is not UTF-8 text"),
        (b"x" * (1024**2 + 1), "is larger than 1 MiB"),
    ],
    ids=["missing", "directory", "encoding", "size"],
)
def test_a_file_that_cannot_be_sent_is_exit_2(
    stub: Stub, run: Run, tmp_path: Path, option: str, content: bytes | str | None, said: str
) -> None:
    path = tmp_path / "definition.xml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    code, out, err = run("migrate", "web1", "hostb", option, str(path))
    assert (code, out) == (2, "")
    assert f"argument {option}: " in err
    assert str(path) in err
    assert said in err
    assert stub.requests == []


def test_a_file_without_end_is_not_read_to_the_end(stub: Stub, run: Run) -> None:
    code, _, err = run("check", "web1", "hostb", "--xml", "/dev/zero")
    assert code == 2
    assert "larger than 1 MiB" in err


def test_help_of_every_option_teaches_something() -> None:
    for _, rows in (*options.CHECK, *options.MIGRATE, *options.SET):
        for option in rows:
            assert len(option.help.split()) >= 4, option.flags
            assert "%" not in option.help  # argparse would take it for a format


ELSEWHERE = {
    "--domain": "the first argument",
    "--desturi": "the second argument, a peer's name or a URI",
    "--postcopy-resume": "pmigctl recover",
}
"""Options of virsh that pmigctl migrate has not, and why."""


class TestYardstick:
    """What the installed virsh can be asked for, pmigctl can be asked for."""

    @pytest.fixture
    def theirs(self) -> dict[str, bool]:
        """virsh's options, and which take a value."""
        if shutil.which("virsh") is None:
            lacks("virsh")
        done = subprocess.run(
            ["virsh", "migrate", "--help"],
            env=environment(LC_ALL="C"),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        lines = done.stdout.partition("OPTIONS")[2].splitlines()
        found = [re.match(r"\s+\[?(--[a-z0-9-]+)\]?( <)?", line) for line in lines]
        return {match[1]: match[2] is not None for match in found if match is not None}

    def test_none_is_missing(self, run: Run, theirs: dict[str, bool]) -> None:
        assert len(theirs) >= 40, "virsh's help is not read rightly any more"
        for command in ("migrate", "check"):
            code, out, _ = run(command, "--help")
            assert code == 0
            ours = set(re.findall(r"(?<![\w-])--[a-z0-9-]+", re.sub(r"-\n\s+", "-", out)))
            missing = set(theirs) - ours - set(ELSEWHERE)
            assert not missing, f"pmigctl {command} has no {sorted(missing)}: add them, or say why"

    def test_they_take_a_value_where_virsh_does(self, theirs: dict[str, bool]) -> None:
        ours = {
            flag: action.nargs != 0
            for action in _actions("migrate")
            for flag in action.option_strings
        }
        assert {flag: ours[flag] for flag in theirs if flag in ours} == {
            flag: takes for flag, takes in theirs.items() if flag in ours
        }

    def test_no_reason_is_stale(self) -> None:
        assert _flags("migrate").isdisjoint(ELSEWHERE)
        assert all(ELSEWHERE.values())


def _actions(command: str) -> list[argparse.Action]:
    for action in parser.build()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices[command]._actions)
    raise AssertionError("no commands")


def _flags(command: str) -> set[str]:
    found = {flag for action in _actions(command) for flag in action.option_strings}
    return {flag for flag in found if flag.startswith("--")}
