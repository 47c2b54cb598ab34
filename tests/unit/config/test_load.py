"""Reading the configuration: defaults, good files, unreadable files, and all faults at once."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pmigd.config.load import (
    MAX_FILE_BYTES,
    ConfigRefused,
    check,
    check_text,
    format_finding,
    load,
)
from pmigd.config.reload import restart_needed
from pmigd.config.schema import Config
from pmigd.core.address import ListenAddress
from pmigd.core.uri import PeerUri, UriPattern

GOOD = b"""
[daemon]
name = "hosta"
log_level = "debug"
[libvirt]
uri = "qemu+unix:///system?socket=/run/lab/libvirt-sock"
[api]
mode = "0600"
group = ""
[api.roles]
admin = ["root", "alice@EXAMPLE.COM"]
viewer = ["@monitoring", "nagios"]
[metrics]
listen = ["[::1]:9718", "0.0.0.0:0", "0.0.0.0:0"]
[peers.hostb]
uri = "qemu+tls://hostb.example.com/system"
migrate_uri = "tcp://10.0.0.2"
[peers."c.example.com"]
uri = "qemu+tcp://c.example.com:16509/system"
[security]
allow_uris = ["qemu+tls://*.example.com/system"]
[limits]
max_outgoing = 3
[migration]
timeout_s = 600
on_timeout = "continue"
"""


def good(text: bytes, host_name: str = "thishost") -> Config:
    config, findings = check_text(text, "pmigd.toml", host_name=host_name)
    assert findings == []
    assert config is not None
    return config


def faults(text: bytes) -> list[str]:
    config, findings = check_text(text, "FILE", host_name="thishost")
    assert config is None
    return [format_finding(finding) for finding in findings]


def test_an_empty_file_is_all_defaults_as_the_contract_writes_them() -> None:
    config = good(b"")
    assert config.daemon.state_dir == "/var/lib/pmigd"
    assert config.libvirt.uri == "qemu:///system"
    assert (config.api.socket, config.api.mode_bits, config.api.group) == (
        "/run/pmigd/pmigd.sock",
        0o660,
        "pmigd",
    )
    assert config.api.roles.admin == ("root",)
    assert config.api.roles.operator == ("@pmigd",)
    assert config.api.roles.viewer == ()
    assert config.metrics.addresses == (ListenAddress("127.0.0.1", 9718),)
    limits = config.limits
    assert (limits.source, limits.libvirtd_conf) == ("auto", "")
    assert (limits.max_outgoing, limits.max_incoming, limits.max_preparing) == (1, 1, 2)
    assert (limits.reserve_workers, limits.reserve_clients) == (5, 100)
    assert (limits.queue_max, limits.ssh_startups) == (10000, 10)
    assert (config.migration.transport, config.migration.timeout_s) == ("native", 0)
    assert config.migration.on_timeout == "abort"


def test_an_empty_name_becomes_the_hosts_name() -> None:
    assert good(b"", host_name="hypervisor7").daemon.name == "hypervisor7"
    assert good(b'daemon.name = "a"', host_name="hypervisor7").daemon.name == "a"
    assert check_text(b"", "f")[0] is not None


def test_a_good_file_gives_its_values_parsed() -> None:
    config = good(GOOD)
    assert config.libvirt.local_uri.socket == "/run/lab/libvirt-sock"
    assert config.api.mode_bits == 0o600
    hostb = config.peers["hostb"]
    assert hostb.peer_uri == PeerUri("qemu+tls", None, "hostb.example.com", None, "/system")
    assert config.security.allowed_patterns == (
        UriPattern("qemu+tls", None, "*.example.com", None, "/system"),
    )


def test_only_the_default_file_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "pmigd.toml"
    monkeypatch.setattr("pmigd.config.load.DEFAULT_PATH", missing)
    assert load(host_name="a") == good(b"", host_name="a")
    with pytest.raises(ConfigRefused) as refused:
        load(missing)
    assert str(refused.value) == f"{missing}: there is no such file"


def test_what_is_not_a_private_regular_file_is_a_finding(tmp_path: Path) -> None:
    fifo, shared, huge = tmp_path / "fifo", tmp_path / "shared", tmp_path / "huge"
    os.mkfifo(fifo)
    shared.touch()
    shared.chmod(0o666)
    huge.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    for path, message in (
        (tmp_path, "is not a regular file"),
        (fifo, "is not a regular file"),
        (shared, "can be written by everyone; run chmod o-w on it"),
        (huge, f"is larger than {MAX_FILE_BYTES} bytes"),
        (tmp_path / "shared" / "x", "cannot be read: Not a directory"),
    ):
        config, findings = check(path)
        assert config is None
        assert [finding.message for finding in findings] == [message]


def test_a_file_in_another_encoding_is_a_finding_with_its_line() -> None:
    assert faults(b'[daemon]\nname = "\xe4"\n') == ["FILE:2: is not UTF-8 text"]


def test_deep_nesting_is_a_finding() -> None:
    assert faults(b"x = " + b"[" * 100_000)[0].startswith("FILE: is nested too deeply")


def test_faults_in_one_section_hide_none_in_another() -> None:
    text = b'[daemon]\nlog_level = 1\nstate_dir = "x"\n[limits]\nbad = 1\n[libvirt]\nuri = "x"\n'
    keys = {line.split(" = ")[0] for line in faults(text)}
    assert keys == {
        "FILE: daemon.log_level",
        "FILE: daemon.state_dir",
        "FILE: limits.bad",
        "FILE: libvirt.uri",
    }


def test_items_of_a_list_keep_their_number_when_others_are_of_the_wrong_type() -> None:
    lines = faults(b'[metrics]\nlisten = [1, "a:1", 2, "bad", 3, "bad2"]\n')
    assert sorted(line.split(" = ")[0] for line in lines) == [
        f"FILE: metrics.listen[{index}]" for index in (0, 2, 3, 4, 5)
    ]


def test_a_password_in_a_uri_is_not_repeated() -> None:
    lines = faults(b'[peers.b]\nuri = "qemu+ssh://root:hunter2@b/system"\n')
    assert "hunter2" not in lines[0]
    assert "root" in lines[0]


def test_very_many_faults_are_told_up_to_a_bound() -> None:
    lines = faults(b"[limits]\n" + b"".join(b"k%d = 1\n" % n for n in range(5000)))
    assert len(lines) == 100


# Keys from the schema with values of every kind find more than pure noise does.
SECTIONS = st.sampled_from(
    ["daemon", "libvirt", "api", "api.roles", "metrics", "peers.b", "peers", "security", "limits"]
)
KEYS = st.sampled_from(
    ["name", "uri", "mode", "group", "roles", "admin", "listen", "allow_uris", "max_outgoing", "x"]
)
VALUES = st.sampled_from(
    ['""', '"\\u0000"', "0", "-1", "1e400", "nan", "true", "[]", "[[]]", "{}", "{a=1}", "07:32:00"]
)


@given(st.dictionaries(SECTIONS, st.dictionaries(KEYS, VALUES)))
def test_any_document_gives_a_config_or_printable_findings(
    document: dict[str, dict[str, str]],
) -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        for section, table in document.items()
    )
    config, findings = check_text(text.encode(), "FILE", host_name="thishost")
    assert (config is None) == bool(findings)
    assert all(format_finding(finding).isprintable() for finding in findings)


@given(st.binary())
@example(b"\xff")
@example(b'"\x00" = 1')
@example(b"a = 1_0e-99999")
@example(b"a = 0x" + b"f" * 100_000)
def test_any_bytes_give_a_config_or_printable_findings(raw: bytes) -> None:
    config, findings = check_text(raw, "FILE", host_name="thishost")
    assert (config is None) == bool(findings)
    assert all(format_finding(finding).isprintable() for finding in findings)


def test_changes_that_need_a_restart_are_named() -> None:
    changed = good(GOOD)
    assert restart_needed(changed, changed) == []
    assert restart_needed(good(b""), changed) == [
        "daemon.name",
        "libvirt.uri",
        "api.mode",
        "api.group",
        "metrics.listen",
    ]
    assert restart_needed(good(b""), good(b"[limits]\nmax_outgoing = 2\n")) == []
    assert restart_needed(good(b""), good(b"[peer]\nlisten = '[::]:9717'\n")) == ["peer.listen"]
    assert restart_needed(good(b""), good(b"[peer]\nallowed_names = ['hostb']\n")) == []


PEERS = b"""
[peers.b]
uri = "qemu+tls://HostB.example.com:1/system"
pmigd = "https://b.example.net"
[peers.c]
uri = "qemu+ssh://root@10.0.0.3/system"
[peers.d]
uri = "qemu+unix:///system?socket=/run/d"
pmigd = "https://[FE80::1]:99"
"""


def test_the_hosts_of_the_peers_may_ask_and_nobody_else() -> None:
    config = good(PEERS)
    assert config.admitted_names == {"hostb.example.com", "b.example.net", "10.0.0.3", "fe80::1"}
    urls = {name: peer.pmigd_url for name, peer in config.peers.items()}
    assert {name: url.text for name, url in urls.items() if url is not None} == {
        "b": "https://b.example.net:9717",
        "d": "https://[fe80::1]:99",
    }
    assert good(b"").admitted_names == frozenset()


def test_names_that_are_given_replace_those_of_the_peers() -> None:
    given = b"[peer]\nallowed_names = ['*.Example.com', 'HostX', '[::1]']\n"
    assert good(given + PEERS).admitted_names == {"*.example.com", "hostx", "::1"}


@pytest.mark.parametrize("text", [b"x = " + b"9" * 100_000, b"[limits]\nx = " + b"1" * 5000])
def test_a_number_that_nobody_could_read_is_a_finding(text: bytes) -> None:
    assert faults(text) == ["FILE: has a number of thousands of digits"]
